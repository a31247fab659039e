// The strips of the timeline above the operations: faults, nodes, latency, rate, and on request clocks and commit indexes.

const view = { left: 92, width: 800 } // Of the timeline's canvas, in CSS pixels.
function xOf(time) { return view.left + (time - V.a) / (V.b - V.a) * view.width }
function timeAt(x) { return V.a + (x - view.left) / view.width * (V.b - V.a) }

function visible(level) { return [Math.max(0, ((V.a - V.a0) / level.width) | 0), Math.min(level.buckets, Math.ceil((V.b - V.a0) / level.width))] }

function drawBand(c, fault, x0, x1, y, height) {
  const colour = faultColour(fault.kind), kind = faultPattern(fault.kind), from = Math.max(x0, view.left - 8), to = Math.min(x1, view.left + view.width + 8)
  c.save()
  c.beginPath()
  c.rect(from, y, Math.max(to - from, 1.5), height)
  c.clip()
  c.globalAlpha = 0.28
  c.fillStyle = c.strokeStyle = colour
  c.fillRect(from, y, Math.max(to - from, 1.5), height)
  c.lineWidth = 1
  c.globalAlpha = 0.55
  if (kind === 'stripes') { c.beginPath(); for (let x = from - height - from % 6; x < to; x += 6) { c.moveTo(x, y + height); c.lineTo(x + height, y) } c.stroke() }
  if (kind === 'dots') for (let x = from + 2; x < to; x += 5) c.fillRect(x, y + height / 2 - 1, 2, 2)
  if (kind === 'cross') { c.beginPath(); for (let x = from + 3; x < to; x += 6) { c.moveTo(x, y); c.lineTo(x, y + height) } c.stroke() }
  c.restore()
}

function drawFaults(c, kinds, top, height, bottom) {
  for (const fault of P.faults) {
    const end = faultEnd(fault)
    if (end < V.a || fault.began > V.b) continue
    const a = Math.max(xOf(fault.began), view.left - 2), b = Math.min(xOf(end), view.left + view.width + 2), y = top + kinds.indexOf(fault.kind) * height, colour = faultColour(fault.kind)
    c.globalAlpha = 0.055
    c.fillStyle = colour
    c.fillRect(a, top + kinds.length * height, Math.max(b - a, 1), bottom)
    c.globalAlpha = 1
    drawBand(c, fault, a, b, y, height - 3)
    c.strokeStyle = colour
    c.lineWidth = 1
    if (fault.status !== 'installed') c.setLineDash([3, 2])
    c.strokeRect(a + 0.5, y + 0.5, Math.max(b - a - 1, 1), height - 4)
    c.setLineDash([])
    if (b - a > 30) label(c, a + 4, y + (height - 3) / 2, fault.name.includes(':') ? `${fault.name.split(':')[1]} ${fault.words}` : fault.words, b - a - 6)
  }
}

function label(c, x, y, words, room) {
  const width = Math.min(c.measureText(words).width, room - 4)
  c.globalAlpha = 0.88
  c.fillStyle = css('bg')
  c.fillRect(x - 1, y - 5.5, width + 3, 11)
  c.globalAlpha = 1
  c.save()
  c.beginPath()
  c.rect(x - 1, y - 8, room, 16)
  c.clip()
  c.fillStyle = css('ink')
  c.textAlign = 'left'
  c.fillText(words, x, y)
  c.restore()
}

function drawNodes(c, top, height) {
  P.nodes.forEach((node, i) => {
    const y = top + i * height, life = P.lives[node]
    for (const [from, until, what, term, leads] of life ? life.spans : []) {
      const to = until == null ? V.b0 : until
      if (to < V.a || from > V.b) continue
      const a = Math.max(xOf(from), view.left), b = Math.min(xOf(to), view.left + view.width)
      if (what === 'down') {
        c.strokeStyle = css('down')
        c.lineWidth = 1
        c.beginPath()
        for (let x = a; x < b; x += 4) { c.moveTo(x, y + 10); c.lineTo(Math.min(x + 5, b), y + 1) }
        c.stroke()
        c.strokeRect(a + 0.5, y + 0.5, Math.max(1, b - a - 1), 10)
      } else if (leads) {
        c.fillStyle = css('leader')
        c.fillRect(a, y + 1, Math.max(b - a, 1.5), 9)
        if (b - a > 24 && term != null) { c.fillStyle = css('bg'); c.textAlign = 'left'; c.fillText('t' + term, a + 4, y + 6) }
      } else {
        const isQuiet = what === 'follower' || what === 'up' || what === 'backup'
        c.fillStyle = css(isQuiet ? 'follower' : 'candidate')
        c.fillRect(a, y + (isQuiet ? 5 : 3), Math.max(b - a, 1), isQuiet ? 1.5 : 5)
      }
    }
    const held = F && F.custody[node]
    for (const [time] of held ? held.losses : []) if (time >= V.a && time <= V.b) {
      const x = xOf(time)
      c.strokeStyle = css('bad')
      c.lineWidth = 2.5
      c.beginPath()
      c.moveTo(x - 4, y + 1.5); c.lineTo(x + 4, y + 9.5); c.moveTo(x - 4, y + 9.5); c.lineTo(x + 4, y + 1.5)
      c.stroke()
    }
  })
  // Below each node's line: its share of ok, and of the rest.
  const perPixel = (V.b - V.a) / view.width, level = strips.nodes.at(perPixel * 5), [first, last] = visible(level), group = Math.max(1, Math.ceil(5 * perPixel / level.width))
  if (last - first < 20) return
  P.nodes.forEach((_, i) => {
    for (let b = first; b < last; b += group) {
      let ok = 0, rest = 0
      for (let k = b; k < Math.min(b + group, level.buckets); k++) { const place = ((i + 1) * level.buckets + k) * 3; ok += level.counts[place]; rest += level.counts[place + 1] + level.counts[place + 2] }
      if (!(ok + rest)) continue
      const x = xOf(V.a0 + b * level.width), width = group * level.width / perPixel
      c.fillStyle = css('fail')
      c.fillRect(x, top + i * height + 11, width, 3)
      c.fillStyle = css('ok-edge')
      c.fillRect(x, top + i * height + 11, width * ok / (ok + rest), 3)
    }
  })
}

const latencyCanvas = document.createElement('canvas')
function latencyY(ns, top) { return top + 66 - 60 * Math.max(0, Math.min(1, (Math.log10(Math.max(ns, 1e5)) - 5) / 5)) }

function drawLatency(c, top, isCoarse) {
  for (const mark of [1e6, 1e8]) { c.fillStyle = css('grid'); c.fillRect(view.left, latencyY(mark, top), view.width, 1) }
  const perPixel = (V.b - V.a) / view.width
  if (isCoarse) {
    const level = strips.latency.at(perPixel * 1.5), [first, last] = visible(level), count = Math.max(1, last - first)
    latencyCanvas.width = count
    latencyCanvas.height = LATENCY_BINS
    const own = latencyCanvas.getContext('2d'), image = own.createImageData(count, LATENCY_BINS), pixels = new Uint32Array(image.data.buffer)
    for (const type of [1, 0, 2]) for (let b = first; b < last; b++) for (let bin = 0; bin < LATENCY_BINS; bin++) {
      const many = level.counts[(type * level.buckets + b) * LATENCY_BINS + bin]
      if (many) pixels[(LATENCY_BINS - 1 - bin) * count + b - first] = pixelColour(TYPES[type] + '-edge', Math.min(255, (type === 1 ? 60 : 90) + Math.log2(many) * 28 | 0))
    }
    own.putImageData(image, 0, 0)
    c.imageSmoothingEnabled = false
    const a = xOf(V.a0 + first * level.width), b = xOf(V.a0 + last * level.width)
    c.drawImage(latencyCanvas, a, top + 6, b - a, 60)
  } else {
    const from = firstFrom(V.a - 5e9), to = firstFrom(V.b)
    for (const type of [1, 0, 2]) {
      c.fillStyle = c.strokeStyle = css(TYPES[type] + '-edge')
      c.lineWidth = 1
      c.beginPath()
      for (let i = from; i < to; i++) {
        if (O.type[i] !== type || (found.match && !found.match[i])) continue
        const x = xOf(O.end[i]), y = latencyY(O.took[i], top)
        if (x < view.left || x > view.left + view.width) continue
        if (type === 0) c.rect(x - 1, y - 1, 2.4, 2.4)
        else if (type === 1) { c.moveTo(x - 2, y - 2); c.lineTo(x + 2, y + 2); c.moveTo(x - 2, y + 2); c.lineTo(x + 2, y - 2) } else { c.moveTo(x - 3, y + 2.5); c.lineTo(x + 3, y + 2.5); c.lineTo(x, y - 3) }
      }
      if (type === 1) { c.globalAlpha = 0.5; c.stroke(); c.globalAlpha = 1 } else c.fill()
    }
  }
  drawQuantile(c, top, 0.5, [1, 2])
  drawQuantile(c, top, 0.99, [])
}

// A quantile of the latencies of what was answered ok.
function drawQuantile(c, top, share, dash) {
  const perPixel = (V.b - V.a) / view.width, level = strips.latency.at(perPixel * 6), [first, last] = visible(level)
  if (last - first < 12) return
  c.strokeStyle = css('ink')
  c.lineWidth = 1
  c.setLineDash(dash)
  c.beginPath()
  let isOn = false
  const group = Math.max(1, Math.ceil((last - first) / (view.width / 8))), bins = new Uint32Array(LATENCY_BINS)
  for (let b = first; b < last; b += group) {
    bins.fill(0)
    let total = 0
    for (let k = b; k < Math.min(b + group, level.buckets); k++) for (let bin = 0; bin < LATENCY_BINS; bin++) { const many = level.counts[k * LATENCY_BINS + bin]; bins[bin] += many; total += many }
    if (!total) { isOn = false; continue }
    let sum = 0, bin = 0
    while (bin < LATENCY_BINS - 1 && sum + bins[bin] < total * share) sum += bins[bin++]
    const x = xOf(V.a0 + (b + group / 2) * level.width), y = top + 66 - 60 * (bin + 0.5) / LATENCY_BINS
    if (isOn) c.lineTo(x, y); else c.moveTo(x, y)
    isOn = true
  }
  c.stroke()
  c.setLineDash([])
}

// Operations a second by outcome, stacked; returns the greatest rate.
function drawRate(c, top) {
  const bars = Math.max(20, Math.min(160, view.width / 7 | 0)), width = (V.b - V.a) / bars, counts = new Float64Array(bars * 3)
  const level = strips.nodes.at(width / 4), [first, last] = visible(level)
  if (firstFrom(V.b) - firstFrom(V.a) > 60000) {
    for (let row = 0; row < strips.nodes.rows; row++) for (let b = first; b < last; b++) {
      const bar = ((V.a0 + (b + 0.5) * level.width - V.a) / width) | 0
      if (bar >= 0 && bar < bars) for (let type = 0; type < 3; type++) counts[bar * 3 + type] += level.counts[(row * level.buckets + b) * 3 + type]
    }
  } else for (let i = firstFrom(V.a), end = firstFrom(V.b); i < end; i++) {
    if (found.match && !found.match[i]) continue
    const bar = ((O.begin[i] - V.a) / width) | 0
    if (bar >= 0 && bar < bars) counts[bar * 3 + O.type[i]]++
  }
  return Math.round(drawBars(c, counts, top + 40, 36) / (width / 1e9))
}

// Three counts a bar, by outcome, upwards from `bottom`; the tallest bar is `room` high. Returns its count.
function drawBars(c, counts, bottom, room) {
  const bars = counts.length / 3, step = view.width / bars
  let most = 1
  for (let bar = 0; bar < bars; bar++) most = Math.max(most, counts[bar * 3] + counts[bar * 3 + 1] + counts[bar * 3 + 2])
  for (let bar = 0; bar < bars; bar++) {
    let base = bottom
    for (const type of [0, 2, 1]) {
      const height = counts[bar * 3 + type] / most * room
      c.fillStyle = css(TYPES[type])
      c.fillRect(view.left + bar * step, base - height, step - 0.6, height)
      if (type && height > 1) { c.fillStyle = css(TYPES[type] + '-edge'); c.fillRect(view.left + bar * step, base - height, step - 0.6, 1) }
      base -= height
    }
  }
  return most
}

// Operations a second of one kind, by outcome; returns the greatest rate.
function drawRateOf(c, top, row) {
  const bars = Math.max(20, Math.min(160, view.width / 7 | 0)), width = (V.b - V.a) / bars, counts = new Float64Array(bars * 3), level = strips.fs.at(width / 4), [first, last] = visible(level)
  for (let b = first; b < last; b++) {
    const bar = ((V.a0 + (b + 0.5) * level.width - V.a) / width) | 0
    if (bar >= 0 && bar < bars) for (let type = 0; type < 3; type++) counts[bar * 3 + type] += level.counts[(row * level.buckets + b) * 3 + type]
  }
  return Math.round(drawBars(c, counts, top + 29, 26) / (width / 1e9))
}

// While a partition cuts the nodes into sides: what each side's nodes answered, a row for each side, the largest first.
function drawSides(c, top) {
  const perPixel = (V.b - V.a) / view.width, level = strips.nodes.at(perPixel * 5), group = Math.max(1, Math.ceil(5 * perPixel / level.width))
  for (const fault of place.sides) {
    const end = faultEnd(fault)
    if (end < V.a || fault.began > V.b) continue
    const sides = [...fault.sides].sort((x, y) => y.nodes.length - x.nodes.length), a = Math.max(xOf(fault.began), view.left), b = Math.min(xOf(end), view.left + view.width)
    sides.forEach((side, i) => {
      const y = top + i * 17, rows = side.nodes.map(node => P.nodes.indexOf(node) + 1).filter(row => row > 0)
      const first = Math.max(0, ((Math.max(fault.began, V.a) - V.a0) / level.width) | 0), last = Math.min(level.buckets, Math.ceil((Math.min(end, V.b) - V.a0) / level.width))
      for (let from = first; from < last; from += group) {
        let ok = 0, all = 0
        for (let k = from; k < Math.min(from + group, last); k++) for (const row of rows) { const at = (row * level.buckets + k) * 3; ok += level.counts[at]; all += level.counts[at] + level.counts[at + 1] + level.counts[at + 2] }
        if (!all) continue
        const x = Math.max(a, xOf(V.a0 + from * level.width)), wide = Math.min(b, xOf(V.a0 + (from + group) * level.width)) - x, high = 13 * ok / all
        c.fillStyle = css('fail')
        c.fillRect(x, y, wide, 13)
        c.fillStyle = css('ok-edge')
        c.fillRect(x, y + 13 - high, wide, high)
      }
      c.strokeStyle = css('partition')
      c.lineWidth = 1
      c.strokeRect(a + 0.5, y + 0.5, Math.max(b - a - 1, 1), 13)
      if (b - a > 40) label(c, a + 4, y + 7, side.nodes.join(' '), b - a - 6)
    })
  }
}

// How old what stale reads returned was, from 1 ms to 100 s, and when the replicas agreed again; returns the greatest age.
function drawStale(c, top, height) {
  const y = age => top + height - 4 - (height - 10) * Math.max(0, Math.min(1, (Math.log10(Math.max(age, 1e6)) - 6) / 5))
  for (const mark of [1e6, 1e8, 1e10]) { c.fillStyle = css('grid'); c.fillRect(view.left, y(mark), view.width, 1) }
  let oldest = 0
  c.fillStyle = css('bad')
  c.beginPath()
  for (const [time, age] of P.stale) if (time >= V.a && time <= V.b) { oldest = Math.max(oldest, age); c.rect(xOf(time) - 1, y(age) - 1, 2.6, 2.6) }
  c.fill()
  if (P.agreed != null && P.agreed >= V.a && P.agreed <= V.b) { c.fillStyle = css('applied'); c.fillRect(xOf(P.agreed), top, 2, height - 4); label(c, xOf(P.agreed) + 5, top + 10, 'replicas agree', view.left + view.width - xOf(P.agreed)) }
  return oldest
}

// Lines of several nodes over time: clock offsets, commit indexes. series: [name, [[ns, number], ...]].
function drawCurves(c, top, height, series, isStep) {
  let low = 0, high = 1e-9
  for (const [, points] of series) for (const [time, number] of points) if (time >= V.a && time <= V.b) { low = Math.min(low, number); high = Math.max(high, number) }
  const y = number => top + height - 4 - (height - 10) * (number - low) / (high - low)
  c.fillStyle = css('grid')
  c.fillRect(view.left, y(0), view.width, 1)
  series.forEach(([name, points], i) => {
    c.strokeStyle = css(['ok-edge', 'partition', 'held-edge', 'info-edge', 'bad', 'leader', 'clock'][i % 7])
    c.setLineDash([[], [5, 2], [2, 2], [7, 2, 2, 2], [1, 2]][i % 5])
    c.lineWidth = 1.4
    c.beginPath()
    let before = null
    for (const [time, number] of points) {
      const x = xOf(time)
      if (before == null) c.moveTo(x, y(number)); else { if (isStep) c.lineTo(x, y(before)); c.lineTo(x, y(number)) }
      before = number
    }
    c.stroke()
    c.setLineDash([])
    const last = points.filter(([time]) => time <= V.b).pop()
    if (last) { c.fillStyle = css('ink2'); c.textAlign = 'right'; c.fillText(name, Math.min(xOf(last[0]), view.left + view.width) - 2 - (i % 6) * 20, y(last[1]) - 6) }
  })
  return [low, high]
}
