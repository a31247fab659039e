// The space-time diagram: nodes as lines, messages as arrows, around the moments that messages bear on.

const drawn = { arrows: [], events: [] } // What can be pointed at, with its place.

function showMessagesBar() {
  $('messages').hidden = !P.windows.length
  if (!P.windows.length) return
  $('messages-bar').replaceChildren(el('span', {}, 'around'), ...P.windows.map((each, i) => el('button', { type: 'button', 'aria-pressed': String(i === state.window), on: { click: () => { state.window = i; showMessagesBar(); drawMessages() } } }, `${clipped(each.name, 60)} (${seconds(each.from_ns)})`)))
  $('messages-legend').replaceChildren(el('span', {}, '✕ lost'), el('span', {}, '◇ written, ◆ on disk'), el('span', {}, '▼ request, ▲ reply'), el('span', {}, '▨ node down'), el('span', {}, 'point at an arrow for its content'))
}

function showWindowAt(time) {
  const i = P.windows.findIndex(each => each.from_ns <= time && time <= each.until_ns)
  if (i < 0 || i === state.window) return
  state.window = i
  showMessagesBar()
  drawMessages()
}

function drawMessages() {
  const shown = P.windows[state.window]
  if (!shown) return
  const canvas = $('space-time'), small = canvas.clientWidth < 560, left = small ? 40 : 92, row = small ? 44 : 54, height = P.nodes.length * row + 22
  const c = prepared(canvas, height), width = canvas.clientWidth - left - 14
  const X = time => left + (time - shown.from_ns) / (shown.until_ns - shown.from_ns) * width, Y = node => 42 + P.nodes.indexOf(node) * row
  const [times, digits] = ticks(shown.from_ns, shown.until_ns, small ? 3 : 8)
  c.textAlign = 'center'
  for (const time of times) { c.fillStyle = css('grid'); c.fillRect(X(time), 16, 1, height); c.fillStyle = css('ink2'); c.fillText(`${(time / 1e9).toFixed(Math.max(3, digits))} s`, X(time), 8) }
  drawn.arrows = []
  drawn.events = []
  for (const node of P.nodes) drawNodeLine(c, node, shown, X, Y(node), left, left + width, small)
  c.save()
  c.beginPath()
  c.rect(left - 4, 14, width + 18, height)
  c.clip()
  const labels = []
  const counts = new Map()
  for (const arrow of shown.arrows) counts.set(arrow[4], (counts.get(arrow[4]) || 0) + 1)
  for (const arrow of shown.arrows) drawArrow(c, arrow, X, Y, labels, small, counts)
  for (const event of shown.events) drawEvent(c, event, X, Y, labels, small)
  drawWindowMoments(c, shown, X, height)
  c.restore()
  $('message-says').textContent = shown.left_out ? `${counted(shown.left_out, 'earlier entry').replace('entrys', 'entries')} left out.` : ''
}

function drawNodeLine(c, node, shown, X, y, left, right, small) {
  c.fillStyle = css('ink')
  c.textAlign = 'right'
  c.fillText(clipped(node, 12), left - 8, y)
  const life = P.lives[node]
  for (const [from, until, what, term, leads] of life && life.spans.length ? life.spans : [[V.a0, null, 'up', null, false]]) {
    const to = until == null ? V.b0 : until
    if (to < shown.from_ns || from > shown.until_ns) continue
    const a = Math.max(X(from), left), b = Math.min(X(to), right)
    if (what === 'down') {
      c.strokeStyle = css('down')
      c.setLineDash([2, 4])
      c.beginPath(); c.moveTo(a, y); c.lineTo(b, y); c.stroke()
      c.setLineDash([])
    } else { c.fillStyle = css(leads ? 'leader' : 'follower'); c.fillRect(a, y - (leads ? 2.5 : 0.75), b - a, leads ? 5 : 1.5) }
    if (b - a > 90 && !small && what !== 'up') { c.fillStyle = css(leads ? 'leader' : 'ink2'); c.textAlign = 'left'; c.fillText(term == null ? what : `${what}, term ${term}`, a + 4, y + 11) }
  }
}

function drawArrow(c, arrow, X, Y, labels, small, counts) {
  const [sent, from, arrived, to, what, why] = arrow, isLost = arrived == null
  if (P.nodes.indexOf(from) < 0 || P.nodes.indexOf(to) < 0) return
  const x0 = X(sent), y0 = Y(from), y1 = Y(to), x1 = isLost ? x0 + 26 : X(arrived)
  const ex = isLost ? x0 + (x1 - x0) * 0.55 : x1, ey = isLost ? y0 + (y1 - y0) * 0.4 : y1
  c.strokeStyle = c.fillStyle = css(isLost ? 'bad' : 'ink2')
  c.lineWidth = isLost ? 1.6 : 1.1
  c.setLineDash(isLost ? [4, 3] : [])
  c.beginPath(); c.moveTo(x0, y0); c.lineTo(ex, ey); c.stroke()
  c.setLineDash([])
  if (isLost) {
    c.lineWidth = 2.4
    c.beginPath(); c.moveTo(ex - 4, ey - 4); c.lineTo(ex + 4, ey + 4); c.moveTo(ex - 4, ey + 4); c.lineTo(ex + 4, ey - 4); c.stroke()
  } else {
    const angle = Math.atan2(y1 - y0, x1 - x0)
    c.beginPath(); c.moveTo(x1, y1); c.lineTo(x1 - 7 * Math.cos(angle - 0.35), y1 - 7 * Math.sin(angle - 0.35)); c.lineTo(x1 - 7 * Math.cos(angle + 0.35), y1 - 7 * Math.sin(angle + 0.35)); c.fill()
  }
  drawn.arrows.push({ x0, y0, x1: ex, y1: ey, arrow })
  if (small) return
  place1(c, labels, isLost ? ex + 8 : x0 + (x1 - x0) * 0.6 + 4, isLost ? ey : y0 + (y1 - y0) * 0.6, isLost ? `${what} lost${why ? `: ${why}` : ''}` : what)
}

// A label where there is room for it.
function place1(c, labels, x, y, words) {
  const width = c.measureText(words).width
  if (labels.some(each => Math.abs(each.y - y) < 11 && x < each.x + each.width + 4 && x + width + 4 > each.x)) return
  labels.push({ x, y, width })
  const colour = c.fillStyle
  c.globalAlpha = 0.85
  c.fillStyle = css('bg')
  c.fillRect(x - 2, y - 6, width + 4, 12)
  c.globalAlpha = 1
  c.fillStyle = colour
  c.textAlign = 'left'
  c.fillText(words, x, y)
}

function drawEvent(c, event, X, Y, labels, small) {
  const [time, node, kind, what] = event, x = X(time), y = Y(node)
  if (P.nodes.indexOf(node) < 0) return
  drawn.events.push({ x, y, event })
  c.fillStyle = c.strokeStyle = css('ink')
  c.lineWidth = 1.2
  if (kind === 'persist' || kind === 'sync') {
    c.beginPath(); c.moveTo(x, y - 4); c.lineTo(x + 4, y); c.lineTo(x, y + 4); c.lineTo(x - 4, y); c.closePath()
    if (kind === 'persist') { c.fillStyle = css('bg'); c.fill(); c.stroke() } else c.fill()
  } else if (kind === 'request' || kind === 'reply') {
    const top = y - 13, bottom = y - 5
    c.beginPath()
    if (kind === 'request') { c.moveTo(x - 4, top); c.lineTo(x + 4, top); c.lineTo(x, bottom) } else { c.moveTo(x - 4, bottom); c.lineTo(x + 4, bottom); c.lineTo(x, top) }
    c.fill()
    if (!small) place1(c, labels, x + 6, y - 15, `${kind} ${what}`.slice(0, 40))
  } else if (kind === 'crash') {
    c.strokeStyle = c.fillStyle = css('bad')
    c.lineWidth = 3
    c.beginPath(); c.moveTo(x - 5, y - 5); c.lineTo(x + 5, y + 5); c.moveTo(x - 5, y + 5); c.lineTo(x + 5, y - 5); c.stroke()
    place1(c, labels, x + 8, y - 9, 'crash')
  } else if (kind === 'start') { c.fillRect(x - 1.5, y - 9, 3, 18); place1(c, labels, x + 6, y - 9, `starts ${what}`) }
}

function drawWindowMoments(c, shown, X, height) {
  for (const [i, moment] of (F ? F.moments : []).entries()) {
    if (moment.time_ns < shown.from_ns || moment.time_ns > shown.until_ns) continue
    const x = X(moment.time_ns)
    c.fillStyle = css(moment.is_grave ? 'bad' : 'ink2')
    c.globalAlpha = 0.6
    c.fillRect(x, 18, 1.5, height)
    c.globalAlpha = 1
    c.beginPath(); c.arc(x, 23, 8, 0, 7); c.fill()
    c.fillStyle = css('bg')
    c.textAlign = 'center'
    c.fillText(String(i + 1), x, 23.5)
  }
}

function listenToMessages() {
  const canvas = $('space-time')
  canvas.addEventListener('pointermove', event => {
    const box = canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top
    let best = null, nearest = 9
    for (const each of drawn.events) { const distance = Math.hypot(each.x - x, each.y - y); if (distance < nearest) { nearest = distance; best = each } }
    if (!best) for (const each of drawn.arrows) {
      const dx = each.x1 - each.x0, dy = each.y1 - each.y0, share = Math.max(0, Math.min(1, ((x - each.x0) * dx + (y - each.y0) * dy) / (dx * dx + dy * dy || 1))), distance = Math.hypot(each.x0 + share * dx - x, each.y0 + share * dy - y)
      if (distance < nearest) { nearest = distance; best = each }
    }
    if (!best) return
    if (best.event) { const [time, node, kind, what, body] = best.event; $('message-says').textContent = `${seconds(time, 6)} ${node} ${kind} ${what} ${body === 'null' ? '' : body}`; return }
    const [sent, from, arrived, to, what, why, number, body] = best.arrow
    $('message-says').textContent = `#${number} ${what}, ${from} to ${to}, sent ${seconds(sent, 6)}, ${arrived == null ? `lost${why ? `: ${why}` : ''}` : `there ${seconds(arrived, 6)}`}: ${body}`
  })
}
