// Shared by all parts: the page's data, the view, elements made of text (never of markup), numbers in words, colours.

let P = null // The page's data, as harness/report/page/content.py writes it.
let O = null // The operations as typed arrays, one a field.
let F = null // The failure that is shown; null where there is none.
const V = { a0: 0, b0: 1, a: 0, b: 1 } // The run, and what of it is in view, in ns.
const state = { selected: -1, lanes: 'process', query: '', moment: -1, window: 0 }

const SVG = 'http://www.w3.org/2000/svg'
const FONT = '11px system-ui,"DejaVu Sans",sans-serif'
const TYPES = ['ok', 'fail', 'info']
const ENDINGS = ['ok', 'refused (fail)', 'unknown outcome (info)']

const $ = id => document.getElementById(id)

function el(tag, attributes, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === 'on') for (const [event, handler] of Object.entries(value)) made.addEventListener(event, handler)
    else if (value != null && value !== false) made.setAttribute(name, value === true ? '' : value)
  }
  made.append(...children.flat().filter(child => child != null))
  return made
}

function svg(parent, tag, attributes, text) {
  const made = document.createElementNS(SVG, tag)
  for (const name in attributes) made.setAttribute(name, attributes[name])
  if (text != null) made.textContent = text
  parent.append(made)
  return made
}

const colours = {}
function css(name) {
  if (!(name in colours)) colours[name] = getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()
  return colours[name]
}
function forgetColours() { for (const name in colours) delete colours[name] }

const KINDS = new Set(['kill', 'partition', 'pause', 'clock', 'disk', 'restart-all', 'membership'])
function faultColour(kind) { return css(KINDS.has(kind) ? kind : 'net') || css('net') }
function faultPattern(kind) { return kind === 'partition' ? 'stripes' : kind === 'pause' || kind === 'clock' ? 'dots' : kind === 'kill' ? 'plain' : 'cross' }

function seconds(ns, digits = 3) { return `${(ns / 1e9).toFixed(digits)} s` }
function lasting(ns) {
  if (ns >= 1e10) return `${(ns / 1e9).toFixed(1)} s`
  if (ns >= 1e9) return `${(ns / 1e9).toFixed(2)} s`
  if (ns >= 1e7) return `${Math.round(ns / 1e6)} ms`
  return ns >= 1e6 ? `${(ns / 1e6).toFixed(1)} ms` : `${(ns / 1e3).toFixed(0)} µs`
}
function grouped(number) { return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, ',') }
function counted(count, noun) { return `${grouped(count)} ${noun}${count === 1 ? '' : 's'}` }
function clipped(text, width) { return text.length <= width ? text : text.slice(0, Math.max(1, width - 1)) + '…' }
function text(number) { return number ? P.texts[number - 1] : '' }
function faultEnd(fault) { return fault.lifted == null ? V.b0 : fault.lifted }
function faultsBetween(a, b) { return P.faults.filter(fault => fault.began <= b && faultEnd(fault) >= a) }

function opText(i) {
  const asked = text(O.f[i]) + (O.value[i] ? ' ' + text(O.value[i]) : '')
  return O.result[i] ? `${asked} → ${text(O.result[i])}` : asked
}

// The number of the operation with this invocation; -1 when it is not among the operations.
let byInvoke = null
function opOf(invoke) {
  if (!byInvoke) byInvoke = new Map(Array.from(O.invoke, (index, i) => [index, i]))
  return byInvoke.has(invoke) ? byInvoke.get(invoke) : -1
}

// The first operation that begins at or after this time.
function firstFrom(time) {
  let low = 0, high = O.count
  while (low < high) { const middle = (low + high) >> 1; if (O.begin[middle] < time) low = middle + 1; else high = middle }
  return low
}

function ticks(a, b, count) {
  const rough = (b - a) / count, power = 10 ** Math.floor(Math.log10(rough)), share = rough / power
  const step = (share < 1.5 ? 1 : share < 3.5 ? 2 : share < 7.5 ? 5 : 10) * power, found = []
  for (let time = Math.ceil(a / step) * step; time <= b; time += step) found.push(time)
  return [found, Math.max(0, Math.min(6, -Math.floor(Math.log10(step / 1e9) + 1e-9)))]
}

// The context of a canvas that fills its place, `height` CSS pixels high.
function prepared(canvas, height) {
  const ratio = devicePixelRatio || 1, width = canvas.clientWidth
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio)
    canvas.height = Math.round(height * ratio)
    canvas.style.height = height + 'px'
  }
  const c = canvas.getContext('2d')
  c.setTransform(ratio, 0, 0, ratio, 0, 0)
  c.fillStyle = css('bg')
  c.fillRect(0, 0, width, height)
  c.font = FONT
  c.textBaseline = 'middle'
  return c
}

function legendItem(fill, edge, words, dashed) {
  const box = el('i')
  box.style.background = css(fill)
  box.style.borderColor = css(edge)
  if (dashed) box.style.borderStyle = 'dashed'
  return el('span', {}, box, words)
}
