'use strict'
// The table of runs: what is asked stands in the fragment; the table is read again every two seconds.

const $ = id => document.getElementById(id)
const COLUMNS = [['', ''], ['verdict', 'Verdict'], ['time', 'Time (UTC)'], ['name', 'Name'], ['anomaly', 'What was found'], ['target', 'Target'], ['workload', 'Workload'], ['faults', 'Faults'], ['seed', 'Seed'], ['ops', 'Ops'], ['duration', 'Took']]
const MARKS = { invalid: '✕', unknown: '?', valid: '✓', running: '…', unfinished: '–', unreadable: '!' }
const COUNT = 50
const state = { q: '', verdict: '', kind: '', sort: 'time', down: '1', first: 0, campaign: '' }
const DEFAULTS = { ...state }
const chosen = new Set()
let shown = ''

function el(tag, attributes, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(attributes || {})) if (name === 'click') made.addEventListener('click', value); else if (value != null && value !== false) made.setAttribute(name, value === true ? '' : value)
  made.append(...children.flat().filter(child => child != null))
  return made
}

function readFragment() {
  const parts = new URLSearchParams(location.hash.slice(1))
  for (const name of ['q', 'verdict', 'kind', 'sort', 'down', 'campaign']) state[name] = parts.has(name) ? parts.get(name) : DEFAULTS[name]
  state.first = Math.max(0, Number(parts.get('first')) || 0)
  $('query').value = state.q
  $('verdict').value = state.verdict
  $('kind').value = state.kind
}

function setFragment() {
  const parts = new URLSearchParams()
  for (const [name, value] of Object.entries(state)) if (value) parts.set(name, value)
  history.replaceState(null, '', '#' + parts)
}

function change(changes) {
  Object.assign(state, { first: 0 }, changes)
  setFragment()
  load()
}

function timeOf(text) { const found = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)/.exec(text); return found ? `${found[1]}-${found[2]}-${found[3]} ${found[4]}:${found[5]}:${found[6]}` : text }
function place(row) { return `/run/${encodeURIComponent(row.name)}/${encodeURIComponent(row.time)}` }

function showHead() {
  $('head').replaceChildren(...COLUMNS.map(([sort, words]) => !sort ? el('th', {}, el('span', { 'aria-label': 'choose two to compare' }, '')) : el('th', { scope: 'col', 'aria-sort': state.sort === sort ? (state.down === '1' ? 'descending' : 'ascending') : null },
    el('button', { type: 'button', click: () => change({ sort, down: state.sort === sort && state.down === '1' ? '0' : '1' }) }, words + (state.sort === sort ? (state.down === '1' ? ' ▾' : ' ▴') : '')))))
}

function showRow(row) {
  const cells = row.kind === 'campaign' ? campaignCells(row) : runCells(row)
  return el('tr', { class: row.kind }, ...cells,
    el('td', { class: 'number' }, row.duration_s == null ? '' : `${row.duration_s.toFixed(1)} s`))
}

function verdictCell(row) { return el('td', { class: row.verdict }, `${MARKS[row.verdict] || ''} ${row.verdict.toUpperCase()}`) }

function runCells(row) {
  const id = `${row.name}/${row.time}`, box = el('input', { type: 'checkbox', 'aria-label': `compare ${id}` })
  box.checked = chosen.has(id)
  box.addEventListener('change', () => { if (box.checked) chosen.add(id); else chosen.delete(id); $('compare').disabled = chosen.size !== 2 })
  const ops = row.verdict === 'running' ? `${row.ok} ok, ${row.fail} fail, ${row.info} info so far` : String(row.ok + row.fail + row.info)
  const canOpen = row.verdict !== 'unfinished' && row.verdict !== 'running' && row.verdict !== 'unreadable'
  return [el('td', {}, box), verdictCell(row),
    el('td', {}, canOpen ? el('a', { href: `${place(row)}/report.html` }, timeOf(row.time)) : timeOf(row.time), ' ', el('a', { href: `${place(row)}/run.zip`, 'aria-label': `download ${id}` }, 'zip')),
    el('td', {}, row.name), el('td', { class: 'what', title: row.anomaly }, row.anomaly.length > 150 ? row.anomaly.slice(0, 149) + '…' : row.anomaly, row.bugs ? ` (planted: ${row.bugs})` : ''), el('td', {}, `${row.target} ${row.env}`), el('td', {}, row.workload), el('td', {}, row.faults || 'none'),
    el('td', { class: 'number' }, String(row.seed)), el('td', { class: 'number' }, ops)]
}

function campaignCells(row) {
  const id = `${row.name}/${row.time}`, runs = `${row.runs} of ${row.planned} runs` + (row.verdict === 'running' ? ' so far' : '')
  return [el('td', {}, ''), verdictCell(row),
    el('td', {}, row.verdict === 'unreadable' ? timeOf(row.time) : el('button', { type: 'button', 'aria-label': `open the campaign ${id}`, click: () => change({ campaign: id, first: state.first }) }, timeOf(row.time))),
    el('td', {}, el('b', {}, 'campaign '), row.name), el('td', { class: 'what' }, row.anomaly), el('td', {}, `${row.target} ${row.env}`), el('td', {}, row.workload), el('td', {}, row.faults || 'none'),
    el('td', { class: 'number' }, `from ${row.seed}`), el('td', { class: 'number' }, runs)]
}

// The campaign that is open, above the table.
let shownCampaign = ''
async function showCampaign() {
  const box = $('campaign')
  if (!state.campaign) { box.hidden = true; shownCampaign = ''; return }
  let answer
  try {
    const response = await fetch('/api/campaign?' + new URLSearchParams({ of: state.campaign }))
    answer = await response.text()
    if (!response.ok) { box.hidden = false; box.replaceChildren(el('p', {}, answer)); return }
  } catch { return }
  if (answer === shownCampaign) return
  shownCampaign = answer
  const data = JSON.parse(answer), row = data.row, open = run => run ? el('a', { href: '/run/' + run.split('/').map(encodeURIComponent).join('/') + '/report.html' }, 'open') : ''
  const finding = each => [el('h3', {}, `${each.title}: ${each.count} ${each.count === 1 ? 'run' : 'runs'}`),
    each.expected ? el('p', {}, `Expected: ${each.expected}`) : null, each.shrunk ? el('p', {}, `Shrunk to ${each.size}: `, open(each.shrunk)) : null,
    el('table', {}, el('tr', {}, ['Seed', 'Run', 'Combination', 'What was found', 'Again'].map(words => el('th', { scope: 'col' }, words))),
      each.runs.map(run => el('tr', {}, el('td', { class: 'number' }, String(run.seed)), el('td', {}, run.run ? open(run.run) : 'not kept'), el('td', {}, run.cell), el('td', { class: 'what' }, run.words), el('td', {}, el('code', {}, run.command))))),
    each.count > each.runs.length ? el('p', {}, `${each.count - each.runs.length} more`) : null]
  box.hidden = false
  box.replaceChildren(el('h2', {}, `Campaign ${row.name}, ${timeOf(row.time)}: `, el('span', { class: row.verdict }, row.verdict.toUpperCase()), `, ${row.runs} of ${row.planned} runs `, el('button', { type: 'button', click: () => change({ campaign: '' }) }, 'close')),
    ...data.notes.map(note => el('p', {}, note)), ...data.findings.flatMap(finding).filter(Boolean), ...(data.findings.length ? [] : [el('p', {}, 'Nothing invalid was found.')]),
    ...listing('Combinations', ['', 'runs', 'invalid', 'unknown', 'valid', 'harness failed', 'ops that succeeded'], data.cells), ...listing('Failures of the harness', ['seed', 'why', 'again'], data.harness))
}

async function load() {
  const parts = new URLSearchParams({ q: state.q, verdict: state.verdict, kind: state.kind, sort: state.sort, down: state.down, first: state.first, count: COUNT })
  let answer
  try {
    const response = await fetch('/api/runs?' + parts)
    if (!response.ok) throw new Error(await response.text())
    answer = await response.text()
  } catch (error) { $('says').textContent = `The server does not answer: ${error.message}`; return }
  showCampaign()
  if (answer === shown) return
  shown = answer
  const data = JSON.parse(answer)
  $('says').textContent = `${data.total} runs${data.campaigns ? ` and ${data.campaigns} ${data.campaigns === 1 ? 'campaign' : 'campaigns'}` : ''}: ${Object.entries(data.totals).map(([name, count]) => `${count} ${name}`).join(', ') || 'none yet'}` + (data.found !== data.total + data.campaigns ? `; ${data.found} fit` : '')
  showHead()
  $('rows').replaceChildren(...data.rows.map(showRow))
  $('page').textContent = data.found ? `${state.first + 1} to ${state.first + data.rows.length} of ${data.found}` : 'nothing'
  $('before').disabled = state.first === 0
  $('after').disabled = state.first + COUNT >= data.found
  document.documentElement.dataset.ready = '1'
}

function listing(title, head, rows) {
  return rows.length ? [el('h2', {}, title), el('table', {}, el('tr', {}, head.map(words => el('th', { scope: 'col' }, words))), rows.map(row => el('tr', {}, row.map(cell => el('td', {}, String(cell))))))] : []
}

async function compare() {
  const [a, b] = [...chosen], response = await fetch('/api/compare?' + new URLSearchParams({ a, b }))
  const box = $('comparison')
  box.hidden = false
  if (!response.ok) { box.replaceChildren(el('p', {}, await response.text())); return }
  const data = await response.json(), head = ['', a, b]
  box.replaceChildren(el('h2', {}, 'Two runs compared'), ...listing('Verdicts', head, [['all', ...data.rows.map(row => row.verdict)], ...data.checks]), ...listing('What was found', head, [['', ...data.rows.map(row => row.anomaly)]]), ...listing('Operations', head, data.counts), ...listing('Different in the spec', head, data.spec),
    el('p', {}, data.spec.length ? `The same: ${data.same.join(', ')}.` : 'Their specs are the same.'), el('p', {}, data.rows.map(row => el('a', { href: `${place(row)}/report.html`, target: '_blank', rel: 'noopener' }, `open ${row.name}/${row.time} `))))
  box.scrollIntoView()
}

let typing = 0
$('query').addEventListener('input', event => { clearTimeout(typing); typing = setTimeout(() => change({ q: event.target.value }), 150) })
$('verdict').addEventListener('change', event => change({ verdict: event.target.value }))
$('kind').addEventListener('change', event => change({ kind: event.target.value }))
$('filter').addEventListener('submit', event => event.preventDefault())
$('before').addEventListener('click', () => change({ first: Math.max(0, state.first - COUNT) }))
$('after').addEventListener('click', () => change({ first: state.first + COUNT }))
$('compare').addEventListener('click', compare)
addEventListener('hashchange', () => { readFragment(); load() })
readFragment()
load()
setInterval(() => { if (!document.hidden) load() }, 2000)
