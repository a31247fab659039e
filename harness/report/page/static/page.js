// Starts the page: unpacks the data, draws all parts, and says so when something goes wrong.

function showAll() {
  showHead()
  showVerdict()
  $('anomaly').hidden = !F
  // What has neither a time nor operations has nothing to draw.
  $('anomaly').classList.toggle('in-words', Boolean(F && !F.ops.length && !F.moments.length && !F.nodes.length))
  if (F) { showFigure(); showStory(); showWhy() }
  showBar()
  showDetails()
  showMessagesBar()
  showFoot()
  drawTimeline()
  drawMessages()
}

function drawAll() {
  if (F) showFigure()
  drawTimeline()
  drawMessages()
  showBar()
}

function startAt() {
  V.a = V.a0
  V.b = V.b0
  readFragment()
  makeLanes()
  search(state.query)
  showAll()
  showLogs()
  const grave = F && (F.moments.find(moment => moment.tag === 'data lost') || F.moments.find(moment => moment.is_grave))
  const time = state.selected >= 0 ? O.end[state.selected] : grave ? grave.time_ns : null
  if (time != null) { showLogsAt(time); showWindowAt(time) }
}

async function start() {
  if (!document.documentElement.dataset.theme && matchMedia('(prefers-color-scheme: dark)').matches) document.documentElement.dataset.theme = 'dark'
  P = JSON.parse(new TextDecoder().decode(await inflated('data')))
  O = unpacked(await inflated('ops'), P.count, P.columns)
  V.a0 = 0
  V.b0 = Math.max(P.end, 1e6, ...P.failures.flatMap(failure => failure.moments.map(moment => moment.time_ns)))
  F = P.failures[0] || null
  document.title = `${P.validity.toUpperCase()} · ${P.title}`
  startAt()
  listenToTimeline()
  listenToMessages()
  listenToKeys()
  let resizing = 0
  addEventListener('resize', () => { cancelAnimationFrame(resizing); resizing = requestAnimationFrame(drawAll) })
  addEventListener('hashchange', startAt)
  document.documentElement.dataset.ready = '1'
}

start().catch(error => {
  document.documentElement.dataset.ready = 'failed'
  $('verdict').replaceChildren(el('h1', {}, 'This page cannot be drawn here.'), el('p', {}, `${error}. It needs a browser of 2023 or newer; \`themis inspect RUN\` tells the same in a terminal.`))
  console.error(error)
})
