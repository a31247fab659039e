// The proof: witness operations, what a node held when, and faults, on a time axis that is folded where nothing bears on the failure.

function foldedAxis(instants, width, rooms) {
  const times = [...new Set(instants)].sort((x, y) => x - y)
  if (times.length < 2) times.push((times[0] || 0) + 1e6)
  const gaps = times.slice(1).map((time, i) => time - times[i]), span = times[times.length - 1] - times[0]
  const median = [...gaps].sort((x, y) => x - y)[gaps.length >> 1] || 1
  const isFold = gaps.map(gap => gap > 10 * median && gap > 0.02 * span && gap > 1e8)
  const foldWidth = Math.min(118, width * 0.6 / Math.max(3, isFold.filter(Boolean).length)), rest = width - isFold.filter(Boolean).length * foldWidth
  const weights = gaps.map((gap, i) => isFold[i] ? 0 : 1 + Math.log10(1 + gap / 2e5) * 0.55), total = weights.reduce((x, y) => x + y, 0) || 1
  const widths = gaps.map((_, i) => isFold[i] ? foldWidth : rest * weights[i] / total)
  // An operation gets room for its words; segments of others give it.
  for (let round = 0; round < 10; round++) for (const room of rooms) {
    const first = times.indexOf(room.a), last = times.indexOf(room.b)
    if (first < 0 || last <= first) continue
    const mine = [], others = []
    let have = 0
    widths.forEach((w, i) => { if (i >= first && i < last) { have += w; if (!isFold[i]) mine.push(i) } else if (!isFold[i]) others.push(i) })
    const spare = others.reduce((sum, i) => sum + Math.max(0, widths[i] - 16), 0), take = Math.min(room.width - have, spare * 0.5)
    if (!mine.length || take < 1) continue
    for (const i of others) widths[i] -= take * Math.max(0, widths[i] - 16) / spare
    const sum = mine.reduce((s, i) => s + widths[i], 0)
    for (const i of mine) widths[i] += take * widths[i] / sum
  }
  const places = [0]
  for (const w of widths) places.push(places[places.length - 1] + w)
  const folds = []
  isFold.forEach((fold, i) => { if (fold) folds.push({ a: times[i], b: times[i + 1], x0: places[i], x1: places[i + 1] }) })
  const at = time => {
    const end = times.length - 1
    if (time <= times[0]) return time < times[0] ? -12 : 0
    if (time >= times[end]) return time > times[end] ? width + 12 : width
    let low = 0, high = end
    while (high - low > 1) { const middle = (low + high) >> 1; if (times[middle] <= time) low = middle; else high = middle }
    return places[low] + (places[low + 1] - places[low]) * (time - times[low]) / (times[low + 1] - times[low])
  }
  return { at, folds, first: times[0], last: times[times.length - 1] }
}

function instantsOf(failure) {
  const found = failure.moments.map(moment => moment.time_ns)
  for (const op of shownOps(failure)) found.push(op.begin, op.end == null ? Math.max(op.begin + 1e6, failure.time || 0) : op.end)
  for (const [, time] of Object.values(failure.served)) found.push(time)
  for (const moment of failure.moments) if (moment.kind === 'fault') {
    const fault = P.faults.find(each => each.began === moment.time_ns)
    if (fault && fault.lifted != null && failure.time != null && fault.lifted <= failure.time) found.push(fault.lifted)
  }
  return found
}

function shownOps(failure) {
  const witnesses = failure.ops.filter(op => op.roles.some(role => role === 'failed' || role === 'core' || role === 'shown') || op.invoke === failure.write)
  return witnesses.slice(-24)
}

function pattern(defs, id, kind, colour) {
  const made = svg(defs, 'pattern', { id, width: 6, height: 6, patternUnits: 'userSpaceOnUse', patternTransform: kind === 'stripes' ? 'rotate(45)' : 'rotate(0)' })
  svg(made, 'rect', { width: 6, height: 6, fill: css('bg') })
  if (kind === 'stripes') svg(made, 'rect', { width: 2.4, height: 6, fill: colour, opacity: 0.55 })
  else if (kind === 'dots') svg(made, 'circle', { cx: 2, cy: 2, r: 1.2, fill: colour })
  else if (kind === 'cross') svg(made, 'path', { d: 'M0 3H6M3 0V6', stroke: colour, 'stroke-width': 1, opacity: 0.7 })
  else if (kind === 'down') svg(made, 'path', { d: 'M0 6L6 0', stroke: colour, 'stroke-width': 1 })
  else svg(made, 'rect', { width: 6, height: 6, fill: colour, opacity: 0.42 })
}

function cross(parent, x, y, size, colour) {
  svg(parent, 'path', { d: `M${x - size} ${y - size}L${x + size} ${y + size}M${x - size} ${y + size}L${x + size} ${y - size}`, stroke: colour, 'stroke-width': 3.2, 'stroke-linecap': 'round', fill: 'none' })
}

function showFigure() {
  const box = $('figure'), full = box.clientWidth || 900, small = full < 560, left = small ? 56 : 92, right = small ? 40 : 96, width = full - left - right
  const ops = shownOps(F), label = op => op.text + (op.result == null ? '' : ` → ${op.result}`)
  const axis = foldedAxis(instantsOf(F), width, ops.map(op => ({ a: op.begin, b: op.end, width: small ? 24 : Math.min(180, 26 + 7 * label(op).length) })))
  const X = time => left + axis.at(time), edge = left + width + 12
  const faults = F.time == null && !ops.length ? [] : faultsBetween(axis.first, axis.last)
  const rows = []
  let y = 38
  const add = (kind, name, height, gap = 4) => { rows.push({ kind, name, y, height }); y += height + gap }
  const kinds = [...new Set(faults.map(fault => fault.kind))]
  kinds.forEach(kind => add('fault', kind, 19))
  if (!kinds.length) add('none', 'faults', 19)
  y += 5
  for (const process of [...new Set(ops.map(op => op.process))]) add('process', process, 24, 5)
  if (F.states.length && ops.some(op => op.roles.includes('failed'))) add('state', F.key == null ? 'state' : `key ${F.key}`, 22, 8)
  const clash = new Set(F.nodes), held = F.custody
  const nodes = P.nodes.filter(node => (P.lives[node] && P.lives[node].spans.length) || held[node] || clash.has(node))
  nodes.forEach(node => add('node', node, 19))
  if (!ops.length && axis.folds.length) add('folds', '', 38)
  const height = y + 4
  const root = svg(el('div'), 'svg', { role: 'img', viewBox: `0 0 ${full} ${height}`, height, 'aria-label': 'The proof, told beside it: ' + F.moments.map(moment => moment.head).join('; ') })
  const defs = svg(root, 'defs', {})
  kinds.forEach((kind, i) => pattern(defs, `fault-${i}`, faultPattern(kind), faultColour(kind)))
  pattern(defs, 'is-down', 'down', css('down'))
  drawFolds(root, axis, left, height, rows)
  for (const row of rows) {
    const words = { fault: row.name, none: row.name, process: small ? `p${row.name}` : `process ${row.name}`, state: row.name, node: row.name, folds: '' }[row.kind]
    svg(root, 'text', { x: left - 8, y: row.y + row.height / 2 + 4, 'text-anchor': 'end', class: row.kind === 'node' || row.kind === 'process' ? '' : 's' }, clipped(String(words), small ? 7 : 13))
    if (row.kind !== 'fault' && row.kind !== 'folds') svg(root, 'line', { x1: left - 2, x2: edge, y1: row.y + row.height / 2, y2: row.y + row.height / 2, stroke: css('grid') })
    if (row.kind === 'none') svg(root, 'text', { x: left + 4, y: row.y + 14, class: 's' }, 'none in force')
    if (row.kind === 'fault') drawFaultRow(root, row, faults.filter(fault => fault.kind === row.name), `url(#fault-${kinds.indexOf(row.name)})`, X, left, edge)
    if (row.kind === 'node') drawNodeRow(root, row, X, axis, left, edge, small)
  }
  const places = {}
  for (const row of rows) if (row.kind === 'process') for (const op of ops.filter(each => each.process === row.name)) places[op.invoke] = drawOp(root, row, op, label(op), X, full)
  drawStateRow(root, rows.find(row => row.kind === 'state'), ops, places, X, left, small)
  drawServed(root, rows, ops, places, X)
  drawEdges(root, places)
  drawMoments(root, X, height, full, small)
  box.replaceChildren(root)
  figureWords(axis, ops)
}

function drawFolds(root, axis, left, height, rows) {
  const above = rows.find(row => row.kind === 'process' || row.kind === 'folds') || rows[rows.length - 1]
  for (const fold of axis.folds) {
    const a = left + fold.x0 + 4, b = left + fold.x1 - 4, top = 32
    svg(root, 'rect', { x: a, y: top, width: b - a, height: height - top, fill: css('fold') })
    for (const x of [a, b]) {
      let d = `M${x} ${top}`
      for (let y = top, side = 1; y < height; y += 6, side = -side) d += `L${x + 3 * side} ${y + 3}`
      svg(root, 'path', { d, fill: 'none', stroke: css('line') })
    }
    const ops = firstFrom(fold.b) - firstFrom(fold.a), began = P.faults.filter(fault => fault.began > fold.a && fault.began < fold.b).length
    const over = P.faults.filter(fault => fault.began <= fold.a && fault.lifted != null && fault.lifted > fold.a && fault.lifted < fold.b).length
    const words = [`${lasting(fold.b - fold.a)} folded`, counted(ops, 'op'), [began ? counted(began, 'fault') : '', over ? `${over} lifted` : ''].filter(Boolean).join(', ')]
    words.forEach((line, i) => { if (line && b - a > 50) svg(root, 'text', { x: (a + b) / 2, y: above.y + 10 + 13 * i, 'text-anchor': 'middle', class: i ? 's' : 's b' }, clipped(line, Math.floor((b - a) / 5.6))) })
    const catcher = svg(root, 'rect', { x: a, y: top, width: b - a, height: height - top, fill: 'transparent', class: 'click' })
    svg(catcher, 'title', {}, 'Click: show this time in the whole run')
    catcher.addEventListener('click', () => { showRange(fold.a, fold.b); $('run').scrollIntoView({ block: 'start' }) })
  }
}

function drawFaultRow(root, row, faults, fill, X, left, edge) {
  for (const fault of faults) {
    const a = Math.max(X(fault.began), left - 2), b = Math.min(fault.lifted == null ? edge : X(fault.lifted), edge), bar = svg(root, 'g', { class: 'click' })
    svg(bar, 'rect', { x: a, y: row.y, width: Math.max(b - a, 2), height: row.height, fill, stroke: faultColour(fault.kind), 'stroke-width': 1.2, rx: 2, ...(fault.status === 'installed' ? {} : { 'stroke-dasharray': '3 2' }) })
    svg(bar, 'title', {}, `${fault.title}, ${seconds(fault.began)} to ${fault.lifted == null ? 'the end' : seconds(fault.lifted)}, ${fault.status}`)
    bar.addEventListener('click', () => showFault(fault))
    const name = fault.name.includes(':') ? `${fault.name.split(':')[1]} ${fault.words}` : fault.words, words = clipped(name, Math.floor((b - a - 10) / 6.4))
    if (b - a > 40 && words.length > 1) {
      svg(bar, 'rect', { x: a + 3, y: row.y + 3, width: Math.min(words.length * 6.6 + 4, b - a - 6), height: row.height - 6, fill: css('bg'), opacity: 0.9, rx: 2 })
      svg(bar, 'text', { x: a + 6, y: row.y + 13.5, class: 's b' }, words)
    }
  }
}

function drawOp(root, row, op, words, X, full) {
  const isWrong = op.roles.includes('failed'), end = op.end == null ? Math.max(op.begin, F.time || op.begin) : op.end, a = X(op.begin), b = Math.max(X(end), a + 8), type = op.type || 'info'
  const bar = svg(root, 'g', { tabindex: 0, role: 'button', class: 'click', 'aria-label': words })
  bar.addEventListener('click', () => jumpTo(op.invoke))
  bar.addEventListener('keydown', event => { if (event.key === 'Enter') jumpTo(op.invoke) })
  svg(bar, 'rect', { x: a, y: row.y, width: b - a, height: row.height, rx: 3, fill: css(type), stroke: css(isWrong ? 'bad' : type + '-edge'), 'stroke-width': isWrong ? 3 : 1.4, ...(type === 'info' ? { 'stroke-dasharray': '4 2' } : {}) })
  const mark = type === 'fail' ? '× ' : type === 'info' ? '▲ ' : '', short = clipped(mark + words, 40), wide = short.length * 7, isInside = wide < b - a - 8
  const x = isInside ? (a + b) / 2 : b + 6 + wide < full ? b + 6 : a - 6
  svg(bar, 'text', { x, y: row.y + 16.5, 'text-anchor': isInside ? 'middle' : x > b ? 'start' : 'end', class: 'op' + (isInside ? ' in' : isWrong ? ' wrong' : '') }, short)
  svg(bar, 'title', {}, `process ${op.process}: ${words}, ${op.type || 'never answered'}${op.node ? ` at ${op.node}` : ''}, ${seconds(op.begin, 6)} to ${op.end == null ? 'the end' : seconds(op.end, 6)}${op.note ? '; ' + op.note : ''}`)
  return { a, b, y: row.y, height: row.height, op }
}

function drawStateRow(root, row, ops, places, X, left, small) {
  const wrong = ops.find(op => op.roles.includes('failed'))
  if (!row || !wrong || !places[wrong.invoke]) return
  const write = F.write == null ? null : places[F.write], end = places[wrong.invoke].b, served = F.served[F.write]
  const from = write ? (served ? X(served[1]) : write.b) : left
  svg(root, 'rect', { x: from, y: row.y, width: Math.max(end - from, 4), height: row.height, fill: css('panel'), stroke: css('ink2') })
  const words = F.states.map(each => each.in_words).join(' or '), room = Math.max(8, Math.floor((end - from - 10) / 7))
  svg(root, 'text', { x: from + 6, y: row.y + 15, class: 'b' }, clipped(`only: ${words}`, room))
  svg(root, 'text', { x: end + 6, y: row.y + 15, class: 'wrong b' }, small ? '✕' : clipped(`✕ got ${wrong.result == null ? wrong.text : wrong.result}`, 14))
}

function drawNodeRow(root, row, X, axis, left, edge, small) {
  const middle = row.y + row.height / 2, life = P.lives[row.name], held = F.custody[row.name], late = []
  const inside = (a, b) => a <= axis.last && (b == null || b >= axis.first)
  for (const [from, until, what, term, leads] of life ? life.spans : []) {
    if (!inside(from, until)) continue
    const a = Math.max(X(from), left - 2), b = Math.min(until == null ? edge : X(until), edge)
    if (what === 'down') {
      const bar = svg(root, 'rect', { x: a, y: row.y + 1, width: Math.max(b - a, 2), height: row.height - 2, fill: 'url(#is-down)', stroke: css('down'), 'stroke-width': 0.8 })
      svg(bar, 'title', {}, `${row.name} is down, ${seconds(from)} to ${until == null ? 'the end' : seconds(until)}`)
      if (b - a > 44) { svg(root, 'rect', { x: a + 4, y: row.y + 3, width: 34, height: row.height - 6, fill: css('bg') }); svg(root, 'text', { x: a + 6, y: row.y + 13.5, class: 's' }, 'down') }
      continue
    }
    svg(root, 'line', { x1: a, x2: b, y1: leads ? row.y : middle, y2: leads ? row.y : middle, stroke: css(leads ? 'leader' : what === 'up' ? 'line' : 'follower'), 'stroke-width': leads ? 4 : 1.5, ...(what === 'up' || what === 'follower' || leads ? {} : { 'stroke-dasharray': '4 2' }) })
    const words = b - a > 100 ? `${clipped(what, 10)}, term ${term}` : `term ${term}`
    if (b - a > 44 && !small && term != null && (leads || !held)) late.push([Math.max(a + 4, b - 6 * words.length), row.y + (leads ? 14 : 8), words, leads ? 'leads' : 's'])
  }
  if (held) {
    for (const [from, until, what] of held.spans) {
      if (!inside(from, until) || what === 'down') continue
      const a = Math.max(X(from), left - 2), b = Math.min(until == null ? edge : X(until), edge)
      const bar = svg(root, 'rect', { x: a, y: row.y + 2, width: Math.max(b - a, 3), height: row.height - 4, rx: 3, fill: css(what === 'applied' ? 'applied' : 'held'), stroke: css('held-edge'), 'stroke-width': 1.4 })
      svg(bar, 'title', {}, `${row.name} has it ${what === 'applied' ? 'and has applied it' : 'in its log'}, ${seconds(from, 4)} to ${until == null ? 'the end' : seconds(until, 4)}`)
      if (b - a > 56) svg(root, 'text', { x: a + 8, y: row.y + 13.5, class: what === 'applied' ? 's b inverse' : 's b' }, what === 'applied' ? 'applied' : 'has it in its log'.slice(0, b - a > 110 ? 17 : 6))
    }
    for (const [time, why] of held.losses) if (time >= axis.first && time <= axis.last) {
      cross(root, X(time), middle, 5, css('bad'))
      const isLast = F.is_lost && F.moments.some(moment => moment.tag === 'data lost' && moment.node === row.name && moment.time_ns === time)
      if (isLast) late.push([X(time) + 9, row.y + 14, small ? 'lost' : { crash: 'lost in the crash', truncated: 'lost: removed', replaced: 'lost: overwritten' }[why], 'wrong b'])
    }
  }
  for (const moment of F.moments) if (moment.kind === 'wrong' && moment.node === row.name && moment.op == null) cross(root, X(moment.time_ns), middle, 5, css('bad'))
  for (const [x, y, words, kind] of late) svg(root, 'text', { x, y, class: kind + ' halo' }, words)
}

function drawServed(root, rows, ops, places, X) {
  for (const op of ops) {
    const served = F.served[op.invoke], place = places[op.invoke], name = served ? served[0] : op.node, row = rows.find(each => each.kind === 'node' && each.name === name)
    if (!place || !row) continue
    const isWrong = op.roles.includes('failed'), x = served ? Math.min(Math.max(X(served[1]), place.a), place.b) : (place.a + place.b) / 2, y = row.y + row.height / 2, colour = css(isWrong ? 'bad' : 'ink')
    svg(root, 'line', { x1: x, x2: x, y1: place.y + place.height, y2: y, stroke: css('bg'), 'stroke-width': 5, opacity: 0.8 })
    svg(root, 'line', { x1: x, x2: x, y1: place.y + place.height, y2: y, stroke: colour, 'stroke-width': 1.8, ...(served ? {} : { 'stroke-dasharray': '3 3' }) })
    svg(root, 'circle', { cx: x, cy: y, r: 4.5, fill: colour, stroke: css('bg'), 'stroke-width': 1.5 })
    if (!isWrong || !Object.keys(F.custody).length) continue
    const span = (F.custody[name] || { spans: [] }).spans.find(each => each[0] <= served?.[1] && (each[1] == null || served?.[1] < each[1]))
    const words = !served ? '' : !span ? 'does not have it' : span[2] === 'in-log' ? 'not applied yet' : ''
    if (words) svg(root, 'text', { x: x + 9, y: row.y + 14, class: 'wrong b halo' }, words)
  }
}

function drawEdges(root, places) {
  for (const edge of F.edges.slice(0, 24)) {
    const from = places[edge.before], to = places[edge.after]
    if (!from || !to) continue
    const x0 = from.b, y0 = from.y + from.height / 2, x1 = to.a, y1 = to.y + to.height / 2, bend = Math.max(14, Math.abs(x1 - x0) / 3)
    const path = svg(root, 'path', { d: `M${x0} ${y0}C${x0 + bend} ${y0} ${x1 - bend} ${y1} ${x1} ${y1}`, fill: 'none', stroke: css('ink2'), 'stroke-width': 1.4 })
    svg(path, 'title', {}, edge.why)
    svg(root, 'path', { d: `M${x1} ${y1}l-7 -3.5v7z`, fill: css('ink2') })
  }
}

function drawMoments(root, X, height, full, small) {
  let busy = -99
  F.moments.forEach((moment, i) => {
    const at = X(moment.time_ns), colour = css(moment.is_grave ? 'bad' : 'ink2'), next = F.moments[i + 1]
    svg(root, 'line', { x1: at, x2: at, y1: 22, y2: height, stroke: colour, 'stroke-width': moment.is_grave ? 1.4 : 1, 'stroke-dasharray': moment.is_grave ? 'none' : '2 3', opacity: 0.75, class: 'through' })
    const x = Math.max(at, busy + 21)
    busy = x
    const pill = svg(root, 'g', { class: 'click', tabindex: 0, role: 'button', 'aria-label': moment.head })
    pill.addEventListener('click', () => pick(i))
    pill.addEventListener('keydown', event => { if (event.key === 'Enter') pick(i) })
    svg(pill, 'circle', { cx: x, cy: 12, r: 10, fill: colour })
    svg(pill, 'text', { x, y: 16, 'text-anchor': 'middle', class: 'b inverse' }, String(i + 1))
    if (!small && (!next || Math.max(X(next.time_ns), x + 21) - x > 76)) svg(root, 'text', { x: x + 13, y: 16, class: 's' }, seconds(moment.time_ns))
  })
}

function figureWords(axis, ops) {
  const title = F.cycle.length ? 'The circle' : ops.length ? 'The proof' : 'The nodes and the faults'
  const says = [ops.length ? counted(ops.length, 'operation') : '', axis.folds.length ? 'time is folded where nothing bears on the failure' : ''].filter(Boolean).join('; ')
  $('proof-title').replaceChildren(title, el('small', {}, says))
  const items = []
  if (Object.keys(F.custody).length) {
    const name = clipped(F.held || 'the write', 40)
    items.push(legendItem('held', 'held-edge', `node has ${name} in its log`), legendItem('applied', 'held-edge', '… and has applied it'), el('span', {}, '✕ no longer has it'))
  }
  const spans = Object.values(P.lives).flatMap(life => life.spans)
  if (spans.some(([, , , , leads]) => leads)) items.push(legendItem('leader', 'leader', 'leads'))
  if (spans.some(([, , what]) => what === 'down')) items.push(el('span', {}, '▨ node down'))
  items.push(el('span', {}, '● which node answered'))
  $('figure-legend').replaceChildren(...items)
}
