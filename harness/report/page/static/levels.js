// Level of detail: counts of operations by row, bucket of time and kind; each level half as fine as the one below it.

const LATENCY_BINS = 40
function latencyBin(ns) { return Math.max(0, Math.min(LATENCY_BINS - 1, ((Math.log10(Math.max(ns, 1e5)) - 5) / 5 * LATENCY_BINS) | 0)) }

function levels(rowOf, rows, kinds, kindOf, timeOf) {
  const finest = Math.max(9, Math.min(rows * kinds > 400 ? 15 : 17, Math.ceil(Math.log2(O.count / 2 + 2))))
  const buckets = 1 << finest, width = (V.b0 - V.a0) / buckets * 1.0000001, counts = new Uint16Array(rows * buckets * kinds)
  for (let i = 0; i < O.count; i++) {
    const bucket = Math.max(0, Math.min(buckets - 1, ((timeOf[i] - V.a0) / width) | 0)), place = (rowOf(i) * buckets + bucket) * kinds + kindOf(i)
    if (counts[place] < 65535) counts[place]++
  }
  const all = [{ buckets, width, counts }]
  while (all[all.length - 1].buckets > 512) {
    const fine = all[all.length - 1], half = fine.buckets / 2, sums = new Uint16Array(rows * half * kinds)
    for (let row = 0; row < rows; row++) for (let b = 0; b < half; b++) for (let kind = 0; kind < kinds; kind++) {
      const place = (row * fine.buckets + 2 * b) * kinds + kind
      sums[(row * half + b) * kinds + kind] = Math.min(65535, fine.counts[place] + fine.counts[place + kinds])
    }
    all.push({ buckets: half, width: fine.width * 2, counts: sums })
  }
  return { rows, kinds, at: perPixel => all.reduce((best, level) => level.width <= perPixel ? level : best, all[0]), finest: all[0].width }
}

function pixelColour(name, alpha = 255) {
  const hex = css(name).slice(1), full = hex.length === 3 ? hex.replace(/./g, '$&$&') : hex, number = parseInt(full, 16)
  return ((alpha << 24) | ((number & 255) << 16) | (number & 0xff00) | (number >> 16)) >>> 0
}
