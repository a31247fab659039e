// The nodes' logs, each scrolled to the time that is looked at.

function showLogs() {
  $('logs').hidden = !P.logs.length
  $('node-logs').replaceChildren(...P.logs.map((log, number) => el('div', {},
    el('h3', {}, log.name === 'node.log' ? log.node : `${log.node} ${log.name}`, log.left_out ? el('small', {}, ` ${grouped(log.left_out)} lines are left out`) : ''),
    el('pre', { tabindex: 0, id: `log-${number}` }, log.lines.map(line => el('span', {}, line + '\n'))))))
}

function showLogsAt(time) {
  if (!P.logs.length) return
  $('logs-say').textContent = `at ${seconds(time)}`
  P.logs.forEach((log, number) => {
    if (!log.times[log.times.length - 1]) return // Its lines do not tell the run's time.
    let low = 0, high = log.times.length
    while (low < high) { const middle = (low + high) >> 1; if (log.times[middle] * 1e9 <= time + 1e6) low = middle + 1; else high = middle }
    const box = $(`log-${number}`)
    for (const marked of box.querySelectorAll('.now')) marked.classList.remove('now')
    const line = box.children[low - 1]
    if (!line) return
    line.classList.add('now')
    box.scrollTop = line.offsetTop - box.offsetTop - box.clientHeight / 2
  })
}
