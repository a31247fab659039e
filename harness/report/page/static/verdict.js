// The first screen: the sentence, the three cards, the story, and why nothing else fits.

function showHead() {
  $('head').replaceChildren(
    el('b', {}, 'themis'), el('span', { class: 'm' }, P.title), el('span', { class: 'wide' }, P.about.join(' · ')), el('span', { class: 'space' }),
    el('button', { type: 'button', on: { click: turnTheme } }, 'light / dark'), el('button', { type: 'button', on: { click: () => $('help').showModal() } }, 'keys ?'))
}

function turnTheme() {
  const root = document.documentElement
  root.dataset.theme = root.dataset.theme === 'dark' ? 'light' : 'dark'
  forgetColours()
  drawAll()
}

const BADGES = { invalid: '✕ INVALID', unknown: '? UNKNOWN', valid: '✓ VALID' }

function showVerdict() {
  const sentence = F ? F.headline : P.validity === 'valid' ? 'Every check passed.' : P.reason || 'Nothing was decided.'
  const children = [el('h1', {}, el('span', { class: 'badge ' + P.validity }, BADGES[P.validity] || P.validity), ' ', sentence)]
  const promise = F ? F.promise : P.claim ? `checked for: ${P.claim}` : ''
  if (promise) children.push(el('p', { class: 'promise' }, `${F ? 'Promised: ' : ''}${promise}`, F ? `. Found by ${F.checker}.` : ''))
  if (F && F.validity !== P.validity) children.push(el('p', { class: 'promise' }, `This part is ${F.validity.toUpperCase()}.`))
  if (F && isLater(F)) children.push(el('p', { class: 'also' }, `Seen in a second run of the same seed: the run itself ended at ${seconds(P.ended)}, at a broken rule of the protocol.`))
  if (P.interrupted) children.push(el('p', { class: 'also' }, 'The run was interrupted: the verdict is on what was recorded until then.'))
  for (const failure of P.harness) children.push(el('p', { class: 'also' }, el('b', {}, `The harness failed in ${failure.phase}: `), failure.error))
  if (P.failures.length > 1) children.push(otherFailures())
  if (F && F.cards.length) {
    children.push(el('div', { class: 'cards' }, F.cards.map(card => el('div', { class: card.is_grave ? 'card grave' : 'card' },
      el('h3', {}, card.question),
      card.time_ns == null ? null : el('button', { type: 'button', on: { click: () => { if (card.op != null) jumpTo(card.op); else look(card.time_ns, 4e7) } } }, 'show'),
      el('p', { class: 'answer' }, card.answer), card.detail ? el('p', { class: 'detail' }, card.detail) : null))))
  }
  $('verdict').replaceChildren(...children)
}

function otherFailures() {
  const more = P.failures_left_out ? ` and ${P.failures_left_out} more` : ''
  return el('p', { class: 'also' }, `${counted(P.failures.length + P.failures_left_out, 'finding')}: `,
    P.failures.map((failure, i) => el('button', { type: 'button', class: 'choice', 'aria-pressed': String(failure === F), on: { click: () => chooseFailure(i) } },
      clipped(`${failure.validity.toUpperCase()} ${failure.checker}${failure.key == null ? '' : ` key ${failure.key}`}`, 60) + (isLater(failure) ? ' (second run)' : ''))), more)
}

// Whether it showed only in the second run, which went on past the broken rule that ended the first.
function isLater(failure) { return P.failures.indexOf(failure) >= P.own_count }

function chooseFailure(i) {
  F = P.failures[i]
  state.moment = -1
  showAll()
  setFragment()
}

function opName(invoke) {
  const op = F.ops.find(each => each.invoke === invoke)
  return op ? `${op.text} of process ${op.process}` : `operation ${invoke}`
}

function showStory(folds) {
  const items = []
  F.moments.forEach((moment, i) => {
    const before = F.moments[i - 1]
    if (before) {
      const words = between(before.time_ns, moment.time_ns)
      if (words) items.push(el('li', { class: 'gap' }, words))
    }
    items.push(el('li', { class: moment.is_grave ? 'grave' : '', tabindex: 0, role: 'button', on: { click: () => pick(i), keydown: event => { if (event.key === 'Enter') pick(i) } } },
      el('span', { class: 'number' }, String(i + 1)),
      el('div', {}, el('span', { class: 'time m' }, seconds(moment.time_ns)), el('b', {}, moment.head), moment.tag ? el('span', { class: 'tag' }, moment.tag) : null, el('p', {}, moment.words))))
  })
  if (!items.length) items.push(el('li', { class: 'gap' }, F.words))
  $('story').replaceChildren(...items)
}

// What lies between two moments, when it is long: how many operations, and which faults come and go.
function between(a, b) {
  if (b - a < 1e8) return ''
  const ops = firstFrom(b) - firstFrom(a + 1)
  const began = P.faults.filter(fault => fault.began > a && fault.began < b), over = P.faults.filter(fault => fault.lifted != null && fault.lifted > a && fault.lifted < b)
  const words = [`${lasting(b - a)}, ${counted(ops, 'operation')}`]
  if (began.length) words.push(`${counted(began.length, 'fault')} ${began.length === 1 ? 'begins' : 'begin'}: ${clipped(began.slice(0, 4).map(fault => fault.title).join('; '), 150)}`)
  if (over.length) words.push(`${counted(over.length, 'fault')} ${over.length === 1 ? 'ends' : 'end'}`)
  return words.join(', ')
}

function pick(i) {
  state.moment = i
  const moment = F.moments[i]
  let number = 0
  for (const item of $('story').children) if (!item.classList.contains('gap')) item.classList.toggle('on', number++ === i)
  if (moment.op != null) select(opOf(moment.op), false)
  zoomAround(moment.time_ns, moment.kind === 'fault' ? 2e9 : 4e7)
  showWindowAt(moment.time_ns)
  showLogsAt(moment.time_ns)
}

function showWhy() {
  const parts = []
  const wrong = F.ops.find(op => op.roles.includes('failed'))
  if (F.states.length && wrong) {
    const rows = F.states.map(each => [each.in_words, each.after == null ? 'the initial state' : 'after ' + opName(each.after), '✕ ' + each.why])
    const fits = F.ops.find(op => op.roles.includes('would fit'))
    if (fits) rows.push(['the state that it would have fitted', `after ${fits.text} of process ${fits.process}`, `✕ too early: that state was over before it began at ${seconds(wrong.begin)}`])
    if (F.states_left_out) rows.push([`${F.states_left_out} more`, '', ''])
    parts.push(el('h2', {}, 'Why no order of the operations explains it'), table(['Possible state', 'It came about', 'It cannot be, because'], rows))
  }
  if (F.edges.length) {
    parts.push(el('h2', {}, F.cycle.length ? 'The circle' : 'The order that cannot change'),
      table(['First', 'Then', 'Because'], F.edges.slice(0, 40).map(edge => [opName(edge.before), opName(edge.after), edge.why])))
    if (F.cycle.length) parts.push(el('p', { class: 'detail' }, `In a circle: ${[...F.cycle, F.cycle[0]].map(opName).join(', then ')}.`))
  }
  for (const each of F.tables) {
    parts.push(el('h2', {}, each.title || 'What was seen'), table(each.columns, each.rows))
    if (each.left_out) parts.push(el('p', { class: 'detail' }, `${counted(each.left_out, 'more row')} left out.`))
  }
  if (F.words !== F.headline) parts.push(el('h2', {}, 'In the words of the checker'), el('p', { class: 'detail' }, F.words))
  if (F.notes.length && !F.ops.length) parts.push(el('h2', {}, 'What the checker saw'))
  if (F.notes.length) parts.push(el('ul', { class: 'notes' }, F.notes.map(note => el('li', {}, note))))
  if (F.detail) parts.push(el('details', {}, el('summary', {}, 'Traceback or last words'), el('pre', {}, F.detail)))
  $('why').replaceChildren(...parts)
}

function table(columns, rows) {
  return el('table', {}, el('thead', {}, el('tr', {}, columns.map(name => el('th', { scope: 'col' }, name)))), el('tbody', {}, rows.map(row => el('tr', {}, row.map((cell, i) => el('td', { class: i ? '' : 'm' }, String(cell)))))))
}

function showFoot() {
  $('more').replaceChildren(el('h2', {}, 'All checks'),
    table(['Check', 'Verdict', 'Reason'], P.parts.map(part => [part.name || 'check', `${{ invalid: '✕', unknown: '?', valid: '✓' }[part.validity] || ''} ${part.validity.toUpperCase()}`, part.reason])),
    P.notes.length ? el('ul', { class: 'notes' }, P.notes.map(note => el('li', {}, note))) : '')
  $('foot').replaceChildren(...(P.again ? [el('p', {}, 'Again: ', el('code', {}, P.again))] : []))
}
