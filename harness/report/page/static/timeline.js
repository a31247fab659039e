// The whole run on one canvas: a minimap, the strips, and every operation; zoom, pan, click, search, jump.

const place = {} // Where each strip begins, in CSS pixels from the top.
const pixelsCanvas = document.createElement('canvas')
const IN_VIEW_MAX = 6000 // More operations than that are drawn as pixels of counts.
const shown = { more: false }
let frame = 0
function soon() { if (!frame) frame = requestAnimationFrame(() => { frame = 0; drawTimeline() }) }

function layout(width) {
  const small = width < 560
  view.left = small ? 52 : 92
  view.width = Math.max(50, width - view.left - 8)
  place.kinds = [...new Set(P.faults.map(fault => fault.kind))]
  place.lane = lanes.names.length > 60 ? 5 : small ? 9 : 12
  let y = 30
  const take = (name, height) => { place[name] = y; y += height }
  take('axis', 20)
  take('faults', place.kinds.length * 17 + 4)
  take('nodes', P.nodes.length * 17 + 6)
  take('latency', 76)
  take('rate', 48)
  place.clocks = shown.more ? Object.entries(P.clocks) : []
  place.commits = shown.more ? Object.entries(P.lives).map(([node, life]) => [node, life.committed.length ? life.committed : life.applied]).filter(([, points]) => points.length) : []
  place.sides = shown.more ? P.faults.filter(fault => fault.sides.length > 1) : []
  place.sideRows = Math.max(0, ...place.sides.map(fault => fault.sides.length))
  place.fs = shown.more ? strips.fs.names : []
  if (place.sideRows) take('side', place.sideRows * 17 + 8)
  for (const [i] of place.fs.entries()) take('f' + i, 34)
  if (shown.more && P.stale) take('stale', 70)
  if (place.clocks.length) take('clock', 70)
  if (place.commits.length) take('commit', 70)
  take('ops', lanes.names.length * place.lane + 8)
  place.height = y
  return small
}

function drawTimeline() {
  const canvas = $('timeline'), small = layout(canvas.clientWidth), c = prepared(canvas, place.height), { left, width } = view
  const inView = firstFrom(V.b) - firstFrom(V.a), isCoarse = inView > IN_VIEW_MAX && !found.match
  drawMinimap(c)
  c.save()
  c.beginPath()
  c.rect(left, 0, width + 8, place.height)
  c.clip()
  const [times, digits] = ticks(V.a, V.b, small ? 4 : 9), pills = momentPills()
  c.textAlign = 'center'
  for (const time of times) {
    const x = xOf(time), at = Math.max(left + 18, Math.min(x, left + width - 20))
    c.fillStyle = css('grid')
    c.fillRect(x, place.axis + 14, 1, place.height)
    if (pills.some(pill => Math.abs(pill.x - at) < 36)) continue
    c.fillStyle = css('ink2')
    c.fillText(`${(time / 1e9).toFixed(digits)} s`, at, place.axis + 7)
  }
  drawFaults(c, place.kinds, place.faults, 17, place.height)
  drawNodes(c, place.nodes, 17)
  drawLatency(c, place.latency, isCoarse)
  const most = drawRate(c, place.rate)
  if (place.sideRows) drawSides(c, place.side)
  place.fMost = place.fs.map((_, i) => drawRateOf(c, place['f' + i], i))
  const oldest = shown.more && P.stale ? drawStale(c, place.stale, 66) : null
  const clocks = place.clocks.length ? drawCurves(c, place.clock, 66, place.clocks, false) : null
  const commits = place.commits.length ? drawCurves(c, place.commit, 66, place.commits, true) : null
  if (isCoarse) drawCounts(c); else drawOps(c, small)
  drawEnded(c)
  drawMarks(c, pills)
  c.restore()
  drawNames(c, small, most, clocks, commits, oldest)
  $('run-says').textContent = `${counted(O.count, 'operation')}, ${seconds(V.a)} to ${seconds(V.b)} in view` + (found.match ? `, ${counted(found.count, 'match').replace('matchs', 'matches')}` : '')
}

// Where the run ended at a broken rule: what follows is of a second run, that went on.
function drawEnded(c) {
  if (P.ended == null || P.ended < V.a || P.ended > V.b) return
  const x = xOf(P.ended)
  c.strokeStyle = css('ink')
  c.lineWidth = 1.5
  c.setLineDash([6, 3])
  c.beginPath()
  c.moveTo(x, place.axis + 14)
  c.lineTo(x, place.height)
  c.stroke()
  c.setLineDash([])
  label(c, x + 4, place.ops - 5, 'the run ended here; a second run goes on', view.left + view.width - x)
}

// All faults of the run, small; drawn again only when the page's width or colours change.
const minimap = { canvas: document.createElement('canvas'), drawn: '' }
function minimapOf(x, each) {
  const ratio = devicePixelRatio || 1, wanted = `${view.left} ${view.width} ${ratio} ${css('bg')}`
  if (minimap.drawn === wanted) return minimap.canvas
  minimap.drawn = wanted
  minimap.canvas.width = Math.ceil((view.left + view.width + 8) * ratio)
  minimap.canvas.height = 24 * ratio
  const c = minimap.canvas.getContext('2d')
  c.scale(ratio, ratio)
  c.fillStyle = css('panel')
  c.fillRect(view.left, 2, view.width, 22)
  for (const fault of P.faults) drawBand(c, fault, x(fault.began), x(faultEnd(fault)), 2 + each * place.kinds.indexOf(fault.kind), each)
  return minimap.canvas
}

function drawMinimap(c) {
  const x = time => view.left + (time - V.a0) / (V.b0 - V.a0) * view.width, each = 22 / Math.max(1, place.kinds.length)
  c.drawImage(minimapOf(x, each), 0, 0, view.left + view.width + 8, 24)
  c.strokeStyle = css('ink')
  c.lineWidth = 1.5
  c.strokeRect(x(V.a) + 0.5, 2.5, Math.max(x(V.b) - x(V.a) - 1, 3), 21)
  for (const moment of F ? F.moments : []) {
    c.fillStyle = css(moment.is_grave ? 'bad' : 'ink2')
    c.beginPath()
    c.moveTo(x(moment.time_ns) - 4, 25); c.lineTo(x(moment.time_ns) + 4, 25); c.lineTo(x(moment.time_ns), 17)
    c.fill()
  }
}

// Counts as pixels: one column for each device pixel, the ok below, what is unknown at least two pixels high.
function drawCounts(c) {
  const ratio = devicePixelRatio || 1, wide = Math.max(1, Math.round(view.width * ratio)), high = Math.max(1, Math.round(lanes.names.length * place.lane * ratio))
  if (pixelsCanvas.width !== wide) pixelsCanvas.width = wide
  if (pixelsCanvas.height !== high) pixelsCanvas.height = high
  const own = pixelsCanvas.getContext('2d'), image = own.createImageData(wide, high), pixels = new Uint32Array(image.data.buffer), step = (V.b - V.a) / wide, level = lanes.levels.at((V.b - V.a) / view.width)
  const colours = [pixelColour('ok-edge'), pixelColour('fail-edge', 170), pixelColour('info-edge')], inside = Math.round((place.lane - (place.lane > 6 ? 2 : 1)) * ratio)
  for (let row = 0; row < lanes.names.length; row++) {
    const top = Math.round(row * place.lane * ratio)
    for (let x = 0; x < wide; x++) {
      const first = Math.max(0, ((V.a + x * step - V.a0) / level.width) | 0), last = Math.min(level.buckets, Math.ceil((V.a + (x + 1) * step - V.a0) / level.width))
      let ok = 0, fail = 0, info = 0
      for (let b = first; b < last; b++) { const at = (row * level.buckets + b) * 3; ok += level.counts[at]; fail += level.counts[at + 1]; info += level.counts[at + 2] }
      const total = ok + fail + info
      if (!total) continue
      const unknown = info ? Math.max(2 * ratio | 0, Math.round(info / total * inside)) : 0, good = ok ? Math.max(1, Math.min(inside - unknown, Math.round(ok / total * inside))) : 0
      for (let y = 0; y < inside; y++) pixels[(top + y) * wide + x] = y < good ? colours[0] : y < good + unknown ? colours[2] : fail ? colours[1] : colours[info ? 2 : 0]
    }
  }
  own.putImageData(image, 0, 0)
  c.drawImage(pixelsCanvas, view.left, place.ops, view.width, lanes.names.length * place.lane)
}

// Each operation singly. A path for each outcome, not a call for each operation: thousands are in view while it is panned.
function drawOps(c, small) {
  const inside = place.lane - (place.lane > 6 ? 2 : 1), groups = new Map(), labels = []
  const group = (type, isDim) => {
    const key = type * 2 + isDim
    if (!groups.has(key)) groups.set(key, { type, isDim, thin: [], bars: [], strokes: [] })
    return groups.get(key)
  }
  lanes.by.forEach((mine, lane) => {
    const y = place.ops + lane * place.lane
    for (let k = firstEnding(mine, V.a); k < mine.length; k++) {
      const i = mine[k]
      if (O.begin[i] > V.b) break
      const from = Math.max(xOf(O.begin[i]), view.left - 4), wide = Math.min(Math.max(xOf(O.end[i]) - from, 1.2), view.width + 16), type = O.type[i], mineGroup = group(type, found.match && !found.match[i] ? 1 : 0)
      if (wide < 3) { mineGroup.thin.push(from, y, Math.max(wide, type === 2 ? 2 : 1.5)); continue }
      mineGroup.bars.push(from, y, wide)
      if (type === 1 && wide > 7) mineGroup.strokes.push(from, y, wide)
      if (wide > 46 && place.lane > 8) labels.push([i, from, y, wide])
    }
  })
  for (const { type, isDim, thin, bars, strokes } of groups.values()) {
    const name = TYPES[type]
    c.globalAlpha = (isDim ? 0.1 : 1) * (type === 1 ? 0.7 : 1)
    c.fillStyle = css(name + '-edge')
    c.beginPath()
    for (let k = 0; k < thin.length; k += 3) c.rect(thin[k], thin[k + 1], thin[k + 2], inside)
    c.fill()
    c.fillStyle = css(name)
    c.beginPath()
    for (let k = 0; k < bars.length; k += 3) c.rect(bars[k], bars[k + 1], bars[k + 2], inside)
    c.fill()
    c.globalAlpha = isDim ? 0.1 : 1
    c.strokeStyle = css(name + '-edge')
    c.lineWidth = 1
    c.setLineDash(type === 2 ? [3, 2] : [])
    c.beginPath()
    for (let k = 0; k < bars.length; k += 3) c.rect(bars[k] + 0.5, bars[k + 1] + 0.5, bars[k + 2] - 1, inside - 1)
    for (let k = 0; k < strokes.length; k += 3) { c.moveTo(strokes[k] + 1, strokes[k + 1] + inside - 1); c.lineTo(strokes[k] + strokes[k + 2] - 1, strokes[k + 1] + 1) }
    c.stroke()
    c.setLineDash([])
  }
  c.globalAlpha = 1
  c.fillStyle = document.documentElement.dataset.theme === 'dark' ? '#fff' : '#000'
  c.textAlign = 'left'
  c.font = '9.5px system-ui,"DejaVu Sans",sans-serif'
  for (const [i, x, y, wide] of labels) {
    c.globalAlpha = found.match && !found.match[i] ? 0.1 : 1
    c.save()
    c.beginPath()
    c.rect(x, y, wide - 2, inside)
    c.clip()
    c.fillText(opText(i), Math.max(x, view.left) + 4, y + inside / 2 + 0.5)
    c.restore()
  }
  c.globalAlpha = 1
  c.font = FONT
}

// The first of a row's operations that ends at or after this time.
function firstEnding(mine, time) {
  let low = 0, high = mine.length
  while (low < high) { const middle = (low + high) >> 1; if (O.end[mine[middle]] < time) low = middle + 1; else high = middle }
  return low
}

function drawMarks(c, pills) {
  const frameOp = (i, colour, thick) => {
    if (i < 0 || O.end[i] < V.a || O.begin[i] > V.b) return
    const x = xOf(O.begin[i]), wide = Math.max(xOf(O.end[i]) - x, 4)
    c.strokeStyle = colour
    c.lineWidth = thick
    c.strokeRect(x - 2, place.ops + lanes.of[i] * place.lane - 2, wide + 4, place.lane + 2)
  }
  for (const moment of F ? F.moments : []) if (moment.time_ns >= V.a && moment.time_ns <= V.b) {
    c.fillStyle = css(moment.is_grave ? 'bad' : 'ink2')
    c.globalAlpha = 0.65
    c.fillRect(xOf(moment.time_ns), place.axis + 14, moment.is_grave ? 1.6 : 1, place.height)
    c.globalAlpha = 1
  }
  for (const op of F ? F.ops : []) frameOp(opOf(op.invoke), css(op.roles.includes('failed') ? 'bad' : 'ink'), 2.4)
  frameOp(state.selected, css('focus'), 2.4)
  for (const pill of pills) {
    const half = pill.words.length > 1 ? 8 + pill.words.length * 3 : 8.5
    c.fillStyle = css(pill.isGrave ? 'bad' : 'ink2')
    c.beginPath()
    const x = Math.max(view.left + half, Math.min(pill.x, view.left + view.width + 8 - half))
    c.roundRect(x - half, place.axis - 1, half * 2, 17, 8.5)
    c.fill()
    c.fillStyle = css('bg')
    c.textAlign = 'center'
    c.font = 'bold 10.5px system-ui,"DejaVu Sans",sans-serif'
    c.fillText(pill.words, x, place.axis + 8)
    c.font = FONT
  }
}

function momentPills() {
  const pills = []
  for (const [i, moment] of (F ? F.moments : []).entries()) {
    if (moment.time_ns < V.a || moment.time_ns > V.b) continue
    const x = xOf(moment.time_ns), last = pills[pills.length - 1]
    if (last && x - last.x < 26) { last.words = `${last.words.split('–')[0]}–${i + 1}`; last.isGrave ||= moment.is_grave } else pills.push({ x, words: String(i + 1), isGrave: moment.is_grave })
  }
  return pills
}

function drawNames(c, small, most, clocks, commits, oldest) {
  const x = view.left - 6, room = small ? 7 : 13
  c.textAlign = 'right'
  c.fillStyle = css('ink2')
  c.fillText(small ? 'all' : 'whole run', x, 13)
  place.kinds.forEach((kind, i) => c.fillText(clipped(kind, room), x, place.faults + i * 17 + 7.5))
  P.nodes.forEach((node, i) => c.fillText(clipped(node, room), x, place.nodes + i * 17 + 7))
  c.fillText(small ? 'lat.' : 'latency', x, place.latency + 14)
  c.fillText('100 ms', x, latencyY(1e8, place.latency))
  c.fillText('1 ms', x, latencyY(1e6, place.latency))
  c.fillText(small ? 'rate' : 'ops a second', x, place.rate + 10)
  c.fillText(`max ${grouped(most)}`, x, place.rate + 24)
  if (place.sideRows) { c.fillText(small ? 'sides' : 'sides of a cut', x, place.side + 8); if (!small) c.fillText('share of ok', x, place.side + 22) }
  place.fs.forEach((f, i) => { c.fillText(clipped(f, room), x, place['f' + i] + 10); c.fillText(`max ${grouped(place.fMost[i])}`, x, place['f' + i] + 23) })
  if (oldest != null) { c.fillText(small ? 'stale' : 'age of reads', x, place.stale + 12); c.fillText(oldest ? lasting(oldest) : 'all fresh', x, place.stale + 26) }
  if (clocks) { c.fillText('clock offset', x, place.clock + 12); c.fillText(lasting(Math.max(Math.abs(clocks[0]), clocks[1])), x, place.clock + 26) }
  if (commits) { c.fillText('committed', x, place.commit + 12); c.fillText(grouped(Math.round(commits[1])), x, place.commit + 26) }
  lanes.names.forEach((name, lane) => { if (place.lane > 8 || lane % 5 === 0) c.fillText(small ? clipped(name.replace('process ', 'p'), 7) : clipped(name, 14), x, place.ops + lane * place.lane + place.lane / 2) })
}

// --- moving ---

function showRange(a, b) {
  const least = 2e4, span = Math.max(least, Math.min(b - a, V.b0 - V.a0))
  V.a = Math.max(V.a0, Math.min(a, V.b0 - span))
  V.b = V.a + span
  soon()
  setFragment()
}
function zoomAround(time, span) { showRange(time - span / 2, time + span / 2) }
function look(time, span) { zoomAround(time, span); showWindowAt(time); showLogsAt(time); $('run').scrollIntoView({ block: 'start' }) }
function zoom(factor, around) {
  const time = around == null ? (V.a + V.b) / 2 : around, span = Math.max(2e4, Math.min((V.b - V.a) * factor, V.b0 - V.a0)), share = (time - V.a) / (V.b - V.a)
  showRange(time - share * span, time - share * span + span)
}
function pan(share) { const span = V.b - V.a; showRange(V.a + share * span, V.a + share * span + span) }

function jumpTo(invoke) {
  const i = opOf(invoke)
  if (i < 0) return
  select(i)
  zoomAround((O.begin[i] + O.end[i]) / 2, Math.max(2e7, O.took[i] * 6))
  showWindowAt(O.end[i])
  $('run').scrollIntoView({ block: 'start' })
}
function goViolation() {
  const wrong = F && (F.ops.find(op => op.roles.includes('failed')) || F.ops[F.ops.length - 1])
  if (wrong) jumpTo(wrong.invoke)
  else if (F && F.time != null) look(F.time, 5e7)
}
function goCause() { const cause = F && (F.moments.find(moment => moment.tag === 'data lost') || F.moments.find(moment => moment.is_grave)); if (cause) look(cause.time_ns, 4e7) }

function nextOp(fits, direction) {
  const from = state.selected >= 0 ? state.selected : direction > 0 ? firstFrom(V.a) - 1 : firstFrom(V.b)
  for (let i = from + direction; i >= 0 && i < O.count; i += direction) if (fits(i)) {
    select(i)
    if (O.begin[i] < V.a || O.begin[i] > V.b) zoomAround(O.begin[i], V.b - V.a)
    return
  }
}
function nextFault(direction) {
  const middle = (V.a + V.b) / 2, inOrder = [...P.faults].sort((x, y) => (x.began - y.began) * direction)
  const fault = inOrder.find(each => direction > 0 ? each.began > middle + 1 : each.began < middle - 1)
  if (!fault) return
  zoomAround(fault.began, Math.min(V.b - V.a, Math.max(1e8, (faultEnd(fault) - fault.began) * 3)))
  showFault(fault)
}

// --- details ---

function select(i, withLogs = true) {
  state.selected = i
  showDetails()
  if (withLogs && i >= 0) showLogsAt(O.end[i])
  soon()
  setFragment()
}

function detailsList(rows) { return el('dl', {}, rows.flatMap(([name, words]) => [el('dt', {}, name), el('dd', {}, String(words))])) }

function showDetails() {
  const i = state.selected
  if (i < 0) { $('details').replaceChildren(el('h2', {}, 'Details'), el('p', {}, 'Click an operation or a fault. Press ? for the keys.')); return }
  const faults = faultsBetween(O.begin[i], O.end[i]).map(fault => fault.title), witness = F && F.ops.find(op => op.invoke === O.invoke[i])
  const rows = [['operation', opText(i)], ['outcome', ENDINGS[O.type[i]]]]
  if (O.key[i]) rows.splice(1, 0, ['key', text(O.key[i])])
  if (O.error[i]) rows.push(['error', text(O.error[i])])
  rows.push(['process', O.process[i]], ['node', O.node[i] ? P.nodes[O.node[i] - 1] : 'not known'], ['began', seconds(O.begin[i], 6)], ['ended', O.complete[i] ? seconds(O.end[i], 6) : 'never'], ['took', lasting(O.took[i])],
    ['index', O.complete[i] ? `${O.invoke[i]} and ${O.invoke[i] + O.complete[i]}` : O.invoke[i]], ['faults', faults.slice(0, 8).join('; ') || 'none in force'])
  if (witness && witness.note) rows.push(['why shown', witness.note])
  $('details').replaceChildren(el('h2', {}, 'Details'), witness && witness.roles.includes('failed') ? el('span', { class: 'tag' }, 'does not fit') : '', detailsList(rows),
    el('button', { type: 'button', on: { click: () => setQuery(O.key[i] ? `key:${text(O.key[i]).replace(/^"|"$/g, '')}` : `process:${O.process[i]}`) } }, O.key[i] ? 'only this key' : 'only this process'))
}

function showFault(fault) {
  state.selected = -1
  const served = each => `${each.ok_count} ok, ${each.fail_count} refused, ${each.info_count} unknown`
  const rows = [['fault', fault.title], ['nodes', fault.nodes.join(', ')], ['from', seconds(fault.began, 6)], ['in force', fault.in_force == null ? 'not measured everywhere' : seconds(fault.in_force, 6)], ['until', fault.lifted == null ? 'the end' : seconds(fault.lifted, 6)], ['lasted', lasting(faultEnd(fault) - fault.began)], ['measured', fault.status]]
  if (fault.served) rows.push(['answered', served(fault.served)])
  for (const side of fault.sides) if (side.served) rows.push([side.nodes.join(' '), served(side.served)])
  if (fault.recovery != null) rows.push(['served again', `${lasting(fault.recovery)} after it`])
  rows.push(['done', fault.did])
  $('details').replaceChildren(el('h2', {}, 'Fault'), detailsList(rows))
  soon()
}

function setQuery(query) { $('query').value = query; search(query); setFragment() }

function showBar() {
  const turn = lane => { state.lanes = lane; makeLanes(); showBar(); soon(); setFragment() }
  const button = (words, action, isPressed) => el('button', { type: 'button', 'aria-pressed': isPressed == null ? null : String(isPressed), on: { click: action } }, words)
  const hasMore = O.count > 0 || Object.keys(P.clocks).length || Object.values(P.lives).some(life => life.committed.length || life.applied.length)
  $('run-bar').replaceChildren(el('span', {}, 'rows by'), button('process', () => turn('process'), state.lanes === 'process'), P.nodes.length ? button('node', () => turn('node'), state.lanes === 'node') : '',
    el('input', { id: 'query', type: 'search', size: 27, value: state.query, placeholder: 'search: key:0 node:n2 type:info 43', 'aria-label': 'Search operations', on: {
      input: event => { search(event.target.value); setFragment() },
      keydown: event => { if (event.key === 'Enter') nextOp(i => found.match && found.match[i], event.shiftKey ? -1 : 1); if (event.key === 'Escape') event.target.blur() } } }),
    hasMore ? button('more plots', () => { shown.more = !shown.more; drawTimeline(); showBar() }, shown.more) : '', el('span', { class: 'space' }),
    button('whole run', () => showRange(V.a0, V.b0)), F && (F.time != null || F.ops.length) ? button('violation', goViolation) : '', F && F.moments.some(moment => moment.is_grave) ? button('cause', goCause) : '',
    button('next refused', () => nextOp(i => O.type[i] === 1, 1)), button('next unknown', () => nextOp(i => O.type[i] === 2, 1)), P.faults.length ? button('next fault', () => nextFault(1)) : '')
  $('run-legend').replaceChildren(legendItem('ok', 'ok-edge', 'ok ▪'), legendItem('fail', 'fail-edge', 'refused (fail) ×'), legendItem('info', 'info-edge', 'unknown outcome (info) ▲', true), legendItem('leader', 'leader', 'leads, with its term'), el('span', {}, '▨ node down; below each node: blue is its share of ok, pink of the rest'), el('span', {}, 'lines through the latencies: median (dotted), 99th percentile'),
    shown.more && place.sideRows ? el('span', {}, 'sides of a cut: blue is each side\'s share of ok') : '', shown.more && P.stale ? el('span', {}, 'age of reads: how long ago what a read returned had been overwritten') : '')
}

function hit(event) {
  const box = $('timeline').getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top, time = timeAt(x)
  if (y < 28) return { mini: x }
  if (y >= place.faults && y < place.nodes) { const kind = place.kinds[((y - place.faults) / 17) | 0]; return { fault: P.faults.find(fault => fault.kind === kind && fault.began <= time && faultEnd(fault) >= time) } }
  if (y < place.ops) return {}
  const mine = lanes.by[((y - place.ops) / place.lane) | 0]
  if (!mine) return {}
  const slack = (V.b - V.a) / view.width * 6
  let best = -1, nearest = Infinity
  for (let k = firstEnding(mine, time - slack); k < mine.length && O.begin[mine[k]] <= time + slack; k++) {
    const i = mine[k], distance = time < O.begin[i] ? O.begin[i] - time : time > O.end[i] ? time - O.end[i] : 0
    if (distance < nearest) { nearest = distance; best = i }
  }
  return { op: best }
}

function listenToTimeline() {
  const canvas = $('timeline')
  let drag = null
  canvas.addEventListener('pointerdown', event => { drag = { x: event.clientX, a: V.a, b: V.b, hasMoved: false, isMini: hit(event).mini != null }; canvas.setPointerCapture(event.pointerId) })
  canvas.addEventListener('pointermove', event => {
    if (!drag) return
    const moved = event.clientX - drag.x
    if (Math.abs(moved) > 3) drag.hasMoved = true
    if (!drag.hasMoved) return
    const span = drag.b - drag.a, scale = drag.isMini ? -(V.b0 - V.a0) / view.width : span / view.width
    showRange(drag.a - moved * scale, drag.a - moved * scale + span)
  })
  canvas.addEventListener('pointerup', event => {
    if (drag && !drag.hasMoved) {
      const at = hit(event)
      if (at.op >= 0) select(at.op)
      else if (at.fault) showFault(at.fault)
      else if (at.mini != null) zoomAround(V.a0 + (at.mini - view.left) / view.width * (V.b0 - V.a0), V.b - V.a)
    }
    drag = null
  })
  canvas.addEventListener('pointercancel', () => { drag = null })
  canvas.addEventListener('dblclick', event => zoom(0.25, timeAt(event.clientX - canvas.getBoundingClientRect().left)))
  canvas.addEventListener('wheel', event => {
    if (event.ctrlKey || event.metaKey) { event.preventDefault(); zoom(Math.exp(event.deltaY * 0.004), timeAt(event.clientX - canvas.getBoundingClientRect().left)) } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) { event.preventDefault(); pan(event.deltaX / canvas.clientWidth) }
  }, { passive: false })
}
