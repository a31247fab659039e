// The keyboard, and the fragment of the address, which leads back to what is shown.

const KEYS = [['w / s', 'zoom in / out (also Ctrl and wheel, double click)'], ['a / d', 'move left / right (also drag)'], ['0', 'the whole run'], ['v', 'the violation'], ['c', 'the cause'], ['1 … 9', 'the moments of the story'],
  ['e / E', 'next / previous operation that was refused'], ['u / U', 'next / previous operation of unknown outcome'], ['f / F', 'next / previous fault'], ['n / N', 'next / previous finding'], ['← / →', 'previous / next operation of the row'], ['/', 'search; Enter: next match'], ['l', 'rows by process or node'], ['t', 'light or dark'], ['Esc', 'nothing selected'], ['?', 'these keys']]

const ACTIONS = {
  w: () => zoom(0.6), s: () => zoom(1 / 0.6), a: () => pan(-0.25), d: () => pan(0.25), 0: () => showRange(V.a0, V.b0), v: goViolation, c: goCause,
  e: () => nextOp(i => O.type[i] === 1, 1), E: () => nextOp(i => O.type[i] === 1, -1), u: () => nextOp(i => O.type[i] === 2, 1), U: () => nextOp(i => O.type[i] === 2, -1),
  f: () => nextFault(1), F: () => nextFault(-1), n: () => turnFailure(1), N: () => turnFailure(-1),
  ArrowRight: () => inRow(1), ArrowLeft: () => inRow(-1), '/': () => $('query').focus(),
  l: () => { state.lanes = state.lanes === 'process' ? 'node' : 'process'; makeLanes(); showBar(); soon(); setFragment() },
  t: turnTheme, '?': () => $('help').showModal(), Escape: () => { state.selected = -1; showDetails(); soon() },
}

function inRow(direction) { if (state.selected >= 0) nextOp(i => lanes.of[i] === lanes.of[state.selected], direction); else pan(direction * 0.1) }
function turnFailure(direction) { if (P.failures.length > 1) chooseFailure((P.failures.indexOf(F) + direction + P.failures.length) % P.failures.length) }

function listenToKeys() {
  $('help').replaceChildren(el('h2', {}, 'Keys'), el('table', {}, KEYS.map(([key, words]) => el('tr', {}, el('td', {}, el('kbd', {}, key)), el('td', {}, words)))), el('p', {}, el('button', { type: 'button', on: { click: () => $('help').close() } }, 'close')))
  addEventListener('keydown', event => {
    if (event.target.matches('input, select, textarea') || event.ctrlKey || event.metaKey || event.altKey || $('help').open) return
    const moment = F && event.key >= '1' && event.key <= '9' && F.moments[event.key - 1]
    if (moment) pick(event.key - 1)
    else if (Object.hasOwn(ACTIONS, event.key)) ACTIONS[event.key]()
    else return
    event.preventDefault()
  })
}

let fragmentTimer = 0
function setFragment() {
  clearTimeout(fragmentTimer)
  fragmentTimer = setTimeout(() => {
    const parts = new URLSearchParams()
    if (V.a !== V.a0 || V.b !== V.b0) parts.set('t', `${(V.a / 1e9).toFixed(6)}..${(V.b / 1e9).toFixed(6)}`)
    if (state.selected >= 0) parts.set('op', O.invoke[state.selected])
    if (F && F !== P.failures[0]) parts.set('finding', P.failures.indexOf(F) + 1)
    if (state.lanes === 'node') parts.set('lanes', 'node')
    if (state.query) parts.set('q', state.query)
    const wanted = parts.toString().replaceAll('%3A', ':')
    if (wanted !== location.hash.slice(1)) try { history.replaceState(null, '', '#' + wanted) } catch { /* A sandboxed page has no address of its own. */ }
  }, 120)
}

function readFragment() {
  const parts = new URLSearchParams(location.hash.slice(1)), times = (parts.get('t') || '').split('..').map(Number)
  const finding = P.failures[(Number(parts.get('finding')) || 1) - 1]
  if (finding) F = finding
  state.lanes = parts.get('lanes') === 'node' ? 'node' : 'process'
  if (times.length === 2 && times[1] > times[0]) { V.a = Math.max(V.a0, times[0] * 1e9); V.b = Math.min(V.b0, times[1] * 1e9) }
  if (!(V.b > V.a)) { V.a = V.a0; V.b = V.b0 }
  state.query = parts.get('q') || ''
  state.selected = parts.has('op') ? opOf(Number(parts.get('op'))) : -1
}
