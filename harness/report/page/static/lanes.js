// Puts each operation into a row: one for a process (crashed ones share a row with their successors), or a few for a node.

const lanes = { names: [], of: null, by: [], levels: null }
const strips = { nodes: null, latency: null, fs: null } // Levels of detail that do not depend on the rows.
const found = { match: null, count: 0 }
const LANES_MAX = 200

function makeLanes() {
  const of = new Uint16Array(O.count)
  lanes.names = state.lanes === 'node' && P.nodes.length ? lanesByNode(of) : lanesByProcess(of)
  lanes.of = of
  const sizes = new Uint32Array(lanes.names.length)
  for (let i = 0; i < O.count; i++) sizes[of[i]]++
  lanes.by = Array.from(sizes, size => new Uint32Array(size))
  sizes.fill(0)
  for (let i = 0; i < O.count; i++) lanes.by[of[i]][sizes[of[i]]++] = i
  lanes.levels = levels(i => of[i], Math.max(1, lanes.names.length), 3, i => O.type[i], O.begin)
  if (!strips.nodes) {
    strips.nodes = levels(i => O.node[i], P.nodes.length + 1, 3, i => O.type[i], O.begin)
    strips.fs = levelsByF()
    strips.latency = levels(i => O.type[i], 3, LATENCY_BINS, i => latencyBin(O.took[i]), O.end)
  }
}

// Counts of the commonest kinds of operation; all others are one.
const FS_MAX = 6
function levelsByF() {
  const counts = new Map()
  for (let i = 0; i < O.count; i++) counts.set(O.f[i], (counts.get(O.f[i]) || 0) + 1)
  const common = [...counts.keys()].sort((x, y) => counts.get(y) - counts.get(x)).slice(0, counts.size > FS_MAX ? FS_MAX - 1 : FS_MAX), rows = new Map(common.map((f, row) => [f, row]))
  const names = common.map(text), rest = common.length
  if (counts.size > rest) names.push('others')
  return { names, ...levels(i => rows.has(O.f[i]) ? rows.get(O.f[i]) : rest, Math.max(1, names.length), 3, i => O.type[i], O.begin) }
}

function lanesByProcess(of) {
  const spans = new Map()
  for (let i = 0; i < O.count; i++) {
    const span = spans.get(O.process[i])
    if (!span) spans.set(O.process[i], { process: O.process[i], from: O.begin[i], to: O.end[i] })
    else if (O.end[i] > span.to) span.to = O.end[i]
  }
  const processes = [...spans.values()].sort((x, y) => x.process - y.process), rows = [], names = []
  const isCrowded = processes.length > 40
  for (const span of processes) {
    let row = isCrowded ? rows.findIndex(end => end <= span.from) : -1
    if (row < 0 && rows.length >= LANES_MAX) row = span.process % LANES_MAX
    if (row < 0) { row = rows.length; rows.push(0); names.push(`process ${span.process}`) } else if (!names[row].endsWith(' …')) names[row] += ' …'
    rows[row] = Math.max(rows[row], span.to)
    span.row = row
  }
  for (let i = 0; i < O.count; i++) of[i] = spans.get(O.process[i]).row
  return names
}

function lanesByNode(of) {
  const ends = [], owners = [], own = Array.from({ length: P.nodes.length + 1 }, () => [])
  for (let i = 0; i < O.count; i++) {
    const mine = own[O.node[i]]
    let row = mine.find(each => ends[each] <= O.begin[i])
    if (row === undefined) {
      if (mine.length < 6) { row = ends.length; ends.push(0); owners.push(O.node[i]); mine.push(row) } else row = mine[i % mine.length]
    }
    ends[row] = Math.max(ends[row], O.end[i])
    of[i] = row
  }
  const order = [...owners.keys()].sort((x, y) => owners[x] - owners[y] || x - y), place = []
  order.forEach((row, i) => { place[row] = i })
  for (let i = 0; i < O.count; i++) of[i] = place[of[i]]
  return order.map((row, i) => i && owners[order[i - 1]] === owners[row] ? '' : owners[row] ? P.nodes[owners[row] - 1] : 'no node')
}

// Words of a search: `key:0 node:n2 type:info 43`. A word without a field is looked for in all of them.
const FIELDS = new Set(['key', 'process', 'node', 'f', 'type', 'error', 'value', 'index'])
function search(query) {
  state.query = query
  const words = query.trim().toLowerCase().split(/\s+/).filter(Boolean).map(word => {
    const cut = word.indexOf(':'), field = cut > 0 ? word.slice(0, cut) : ''
    return FIELDS.has(field) && cut < word.length - 1 ? [field, word.slice(cut + 1)] : ['', word]
  })
  found.match = null
  found.count = 0
  if (words.length) {
    const lower = P.texts.map(each => each.toLowerCase()), nodes = P.nodes.map(each => each.toLowerCase())
    const said = number => number ? lower[number - 1] : ''
    const same = (told, word) => told === word || told === `"${word}"`
    const fits = (i, field, word) => {
      switch (field) {
        case 'key': return same(said(O.key[i]), word)
        case 'process': return String(O.process[i]) === word
        case 'node': return O.node[i] > 0 && nodes[O.node[i] - 1] === word
        case 'f': return said(O.f[i]) === word
        case 'type': return TYPES[O.type[i]] === word
        case 'error': return said(O.error[i]).includes(word)
        case 'value': return said(O.value[i]).includes(word) || said(O.result[i]).includes(word)
        case 'index': return String(O.invoke[i]) === word || String(O.invoke[i] + O.complete[i]) === word
        default: return said(O.value[i]).includes(word) || said(O.result[i]).includes(word) || said(O.error[i]).includes(word) || said(O.f[i]).includes(word) || same(said(O.key[i]), word) || (O.node[i] > 0 && nodes[O.node[i] - 1] === word)
      }
    }
    found.match = new Uint8Array(O.count)
    for (let i = 0; i < O.count; i++) if (words.every(([field, word]) => fits(i, field, word))) { found.match[i] = 1; found.count++ }
  }
  soon()
}
