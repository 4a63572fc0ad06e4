// The dashboard: a list of runs, one run as a waterfall, one step in full. Two event streams at most are open: the list
// and the open run. The page folds nothing: of a run it gets a view and patches of it, of the list summaries.
//
//   stream ─► view or summaries ─► dirty marks ─► one render a frame, of the rows that are to be seen
//
// Whatever comes from a run is shown as text (`textContent`): nothing of it is ever read as HTML, a style or an address.

const $ = (selector) => document.querySelector(selector)
const ROW = { runs: 52, steps: 28 }
const KINDS = {
  json: "Arguments", code: "Code", text: "Input", output: "Output", logs: "Logs", hits: "Results", raw: "Content",
  thought: "Reasoning", refusal: "Refusal", cited: "Sources", image: "Image",
}
const GLYPHS = { busy: "◔", waiting: "‖", good: "✓", bad: "✗", stopped: "■", partial: "◑", unknown: "·" }
const REASONS = {
  interrupted: "the run’s stream broke, or its writer gives no sign any more", stopped: "somebody stopped the run",
  shutdown: "the server is going away", revoked: "you may not see this run any more",
  slow: "this page was too far behind", gone: "what came next is not kept any more",
  unknown: "the server does not know where this page was",
}
const FILTERS = [["", "All"], ["busy", "Running"], ["waiting", "Waiting"], ["bad", "Failed"], ["good", "Done"], ["stopped", "Stopped"]]
const calm = matchMedia("(prefers-reduced-motion: reduce)")
const narrow = matchMedia("(max-width: 760px)")

function el(tag, name = "", ...children) {
  const made = document.createElement(tag)
  if (name) made.className = name
  made.append(...children)
  return made
}
const value = (text, name = "") => { const made = el("span", `v ${name}`); made.textContent = text; return made }
// Writing what is there already would cost a layout.
function write(node, text) { if (node.textContent !== text) node.textContent = text }
function mark(node, name, text) { if (node.dataset[name] !== text) { if (text) node.dataset[name] = text; else delete node.dataset[name] } }
const hide = (node, is) => { if (node.hidden !== is) node.hidden = is }
const count = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`
const big = (n) => n < 10_000 ? n.toLocaleString("en") : n < 1e6 ? `${(n / 1e3).toFixed(1)}k` : `${(n / 1e6).toFixed(1)}M`
const bytes = (n) => n < 1e6 ? `${Math.round(n / 1024)} kB` : `${(n / 2 ** 20).toFixed(1)} MB`
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false })

function took(seconds, exact) {
  const s = Math.max(0, seconds)
  if (s < 1) return exact ? `${Math.round(s * 1000)} ms` : "< 1 s"
  if (s < 60) return exact ? `${s.toFixed(s < 10 ? 2 : 1)} s` : `${Math.round(s)} s`
  if (s < 3600) return `${Math.floor(s / 60)} m ${Math.floor(s % 60)} s`
  return s < 86400 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} m` : `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`
}

// ── lists ───────────────────────────────────────────────────────────────────────────────────────────────────────────

// A list of which only the rows that are to be seen exist. `draw(row, index)` fills a row that `make()` made.
class List {
  constructor(section, height, make, draw) {
    Object.assign(this, { height, make, draw, count: 0, chosen: -1 })
    this.scroller = section.querySelector(".scroller")
    this.empty = section.querySelector(".empty")
    this.canvas = el("div", "canvas")
    this.canvas.role = "presentation"
    this.scroller.append(this.canvas)
    this.rows = new Map()
    this.free = []
    this.name = section.id
    this.scroller.addEventListener("scroll", () => this.render(false), { passive: true })
    new ResizeObserver(() => this.render(false)).observe(this.scroller)
  }
  resize(count, height = this.height) {
    if (count === this.count && height === this.height) return
    if (height !== this.height) this.clear()
    Object.assign(this, { count, height })
    hide(this.scroller, !count)
    hide(this.empty, !!count)
    this.canvas.style.height = `${count * height}px`
  }
  clear() {
    for (const row of this.rows.values()) row.remove()
    this.rows.clear()
    this.free = []
  }
  // Draw what is to be seen; rows that are there already too, where `all`.
  render(all = true) {
    const { scrollTop, clientHeight } = this.scroller
    const first = Math.max(0, Math.floor(scrollTop / this.height) - 3)
    const last = Math.min(this.count, Math.ceil((scrollTop + clientHeight) / this.height) + 3)
    for (const [index, row] of this.rows) {
      if (index >= first && index < last) continue
      this.rows.delete(index)
      if (this.free.length < 60) this.free.push(row)
      else row.remove()
    }
    for (let index = first; index < last; index++) {
      let row = this.rows.get(index)
      if (row && !all) continue
      if (!row) {
        row = this.free.pop() ?? this.canvas.appendChild(this.make())
        row.hidden = false
        row.style.transform = `translateY(${index * this.height}px)`
        row.id = `${this.name}-${index}`
        row.setAttribute("aria-posinset", index + 1)
        row.index = index
        this.rows.set(index, row)
      }
      row.setAttribute("aria-setsize", this.count)
      row.setAttribute("aria-selected", index === this.chosen)
      this.draw(row, index)
    }
    for (const row of this.free) hide(row, true)
    this.tell()
  }
  tell() {
    if (this.rows.has(this.chosen)) this.scroller.setAttribute("aria-activedescendant", `${this.name}-${this.chosen}`)
    else this.scroller.removeAttribute("aria-activedescendant")
  }
  show(index) {
    const top = index * this.height, { scrollTop, clientHeight } = this.scroller
    if (top < scrollTop) this.scroller.scrollTop = top
    else if (top + this.height > scrollTop + clientHeight) this.scroller.scrollTop = top + this.height - clientHeight
  }
  get isAtEnd() { return this.scroller.scrollTop + this.scroller.clientHeight >= this.scroller.scrollHeight - 8 }
  toEnd() { this.scroller.scrollTop = this.scroller.scrollHeight }
}

const option = (name, ...children) => { const row = el("div", `row ${name}`, ...children); row.role = "option"; return row }

// ── streams ─────────────────────────────────────────────────────────────────────────────────────────────────────────

// An event stream that comes back: by itself where the browser does, and after a refusal when asking again gives more.
class Stream {
  constructor(url, handlers, on) {
    Object.assign(this, { url, handlers, on, id: "", failures: 0 })
    this.open()
  }
  open() {
    if (document.hidden || this.closed) return
    const source = this.source = new EventSource(this.url + (this.id ? `${this.url.includes("?") ? "&" : "?"}last_event_id=${encodeURIComponent(this.id)}` : ""))
    source.onopen = () => { this.failures = 0; this.on("open") }
    source.onerror = () => {
      this.on("reconnecting")
      if (source.readyState === EventSource.CLOSED) this.ask()
    }
    for (const [name, take] of Object.entries(this.handlers)) {
      source.addEventListener(name, (event) => {
        if (this.source !== source) return
        this.id = event.lastEventId
        take(event.data)
      })
    }
  }
  // The stream was refused for good: is it the session, the run, or the server?
  async ask() {
    this.pause()
    const wait = Math.min(15, 2 ** this.failures++)
    let status = 0
    try { status = (await fetch("list", { headers: { accept: "application/json" }, cache: "no-store" })).status } catch { /* no server */ }
    if (this.closed) return
    if (status === 401) { login(); return }
    if (status && this.on("refused")) return
    this.timer = setTimeout(() => this.open(), 1000 * wait)
  }
  pause() { clearTimeout(this.timer); this.source?.close(); this.source = null }
  close() { this.closed = true; this.pause() }
}

// ── state ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const runs = new Map()           // summaries by id
let order = []                   // all of them, the newest first
let listed = []                  // those that are shown
let hash = { run: "", step: "", call: "", status: "", q: "" }
let listStream = null
let open = null                  // the open run
let dirty = new Set()
let lastTick = 0
let listSkew = 0

const styleOf = (one) => {
  if (one.state === "interrupted") return "bad"
  if (one.state === "waiting" || one.status === "requires_action") return "waiting"
  if (one.state === "open") return "busy"
  if (one.status === "completed" || !one.status) return "good"
  return one.status === "failed" ? "bad" : one.status === "incomplete" ? "partial" : "stopped"
}
const groupOf = (one) => { const style = styleOf(one); return style === "partial" ? "stopped" : style }
const wordOf = (status, style) => style === "waiting" ? "waiting" : (status || "").replaceAll("_", " ") || "running"

function need(...what) {
  for (const one of what) dirty.add(one)
  schedule()
}
let scheduled = false
function schedule() {
  if (scheduled || document.hidden) return
  scheduled = true
  requestAnimationFrame(frame)
}

function frame(at) {
  scheduled = false
  const now = dirty
  dirty = new Set()
  const ticks = at - lastTick >= (calm.matches ? 1000 : 50)
  if (ticks) lastTick = at
  if (now.has("order")) sortRuns()
  if (now.has("order") || now.has("runs")) drawRuns()
  else if (ticks && tickingRuns()) runList.render()
  if (open) {
    if (now.has("rows")) open.layRows()
    if (now.has("rows") || now.has("run") || ticks) open.draw(now.has("rows") || now.has("run"))
    if (now.has("step")) drawStep()
  }
  if (tickingRuns() || open?.isTicking) {
    if (calm.matches) setTimeout(schedule, 500)
    else schedule()
  }
}
const tickingRuns = () => [...runList.rows.keys()].some((index) => listed[index]?.state === "open" || listed[index]?.state === "waiting")

// ── the list of runs ────────────────────────────────────────────────────────────────────────────────────────────────

const runList = new List($("#runs"), ROW.runs, () => {
  const parts = { glyph: el("span", "glyph"), name: value("", "name"), id: value("", "id"), time: el("span", "time"), what: value("", "what"), counts: el("span", "counts") }
  parts.glyph.ariaHidden = "true"
  return Object.assign(option("of-run", el("div", "", parts.glyph, parts.name, parts.id, parts.time), el("div", "", parts.what, parts.counts)), { parts })
}, (row, index) => {
  const one = listed[index], style = styleOf(one), { parts } = row
  if (!one) return
  mark(row, "style", style)
  write(parts.glyph, GLYPHS[style])
  write(parts.name, one.model || "run")
  write(parts.id, one.id)
  const end = one.ended ?? Date.now() / 1000 + listSkew
  write(parts.time, `${wordOf(one.state === "interrupted" ? one.state : one.status, style)} ${took(end - one.opened, one.state === "ended")}`)
  const why = one.reason && style !== "good"
  mark(parts.what, "style", why ? style : "")
  write(parts.what, (why ? one.reason : (one.text || "").trimStart().slice(-90)) || "")
  const bad = one.failed_steps ? `${one.failed_steps} failed · ` : ""
  write(parts.counts, `${bad}${count(one.steps, "step")} · ${count(one.calls, "call")} · ${big(one.tokens)} tok`)
})

function takeRuns(list, whole) {
  if (whole) runs.clear()
  for (const one of list) {
    if (one.gone) runs.delete(one.id)
    else runs.set(one.id, one)
    if (!one.gone) listSkew = Math.max(listSkew, one.opened - Date.now() / 1000)
  }
  need("order")
  if (whole && !hash.run && !narrow.matches) pickRun()
}

// Opened for the first time, the page shows the run that wants somebody most.
function pickRun() {
  const rank = { waiting: 0, busy: 1, bad: 2 }
  const found = [...runs.values()].sort((a, b) => (rank[styleOf(a)] ?? 3) - (rank[styleOf(b)] ?? 3) || b.opened - a.opened)[0]
  if (found) go({ run: found.id, step: "", call: "" }, true)
}

function sortRuns() {
  const before = listed.length, { scrollTop } = runList.scroller, top = listed[Math.floor(scrollTop / ROW.runs)]
  order = [...runs.values()].sort((a, b) => b.opened - a.opened || (a.id < b.id ? 1 : -1))
  const words = hash.q.toLowerCase()
  listed = order.filter((one) => (!hash.status || groupOf(one) === hash.status)
    && (!words || `${one.id}\n${one.model}\n${one.status}\n${one.state}\n${one.reason}\n${one.text}`.toLowerCase().includes(words)))
  runList.resize(listed.length)
  if (scrollTop > 0 && top) { // who reads further down is not moved
    const at = listed.findIndex((one) => one.id === top.id)
    if (at > 0) runList.scroller.scrollTop = at * ROW.runs + scrollTop % ROW.runs
    unseenRuns += Math.max(0, listed.length - before)
  }
}
let unseenRuns = 0

function drawRuns() {
  const counts = {}
  for (const one of order) counts[groupOf(one)] = (counts[groupOf(one)] ?? 0) + 1
  for (const button of $("#filters").children) {
    write(button.lastChild, String(button.value ? counts[button.value] ?? 0 : order.length))
    button.ariaPressed = String(button.value === hash.status)
  }
  write(runList.empty, order.length ? "No run is like that." : "No runs yet.")
  runList.chosen = listed.findIndex((one) => one.id === hash.run)
  runList.render()
  drawUnseen()
  document.title = `${counts.busy ? `${counts.busy} running · ` : ""}${counts.waiting ? `${counts.waiting} waiting · ` : ""}stepstream`
}
function drawUnseen() {
  const button = $("#runs .new")
  if (runList.scroller.scrollTop < 8) unseenRuns = 0
  hide(button, !unseenRuns)
  write(button, `${unseenRuns} new ↑`)
}

// ── one run ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const unescaped = (key) => key.replaceAll("~1", "/").replaceAll("~0", "~")

// A run as its view says it, and when this page has seen what of it happen.
//
// Servers tell times in whole seconds. What happens while the page looks is timed here, to a fraction of a second, by
// the run's clock: ours, moved as little as makes it agree with the server's newest times.
class OpenRun {
  constructor(id) {
    Object.assign(this, { id, view: null, rows: [], places: new Map(), skew: 0, seen: new Map(), waits: [], unseen: 0, state: "connecting", follows: !hash.step, from: 0, to: 0, zoomed: false, end: 1, note: "" })
    this.base = `runs/${encodeURIComponent(id)}`
    this.stream = new Stream(`${this.base}/events?as=view`, {
      "stepstream.view": (data) => this.begin(JSON.parse(data)),
      "stepstream.gap": (data) => this.gap(JSON.parse(data).reason),
      "stepstream.interrupted": (data) => { this.reason = JSON.parse(data).reason; this.tell("interrupted") },
      done: () => { this.stream.close(); this.tell("ended") },
      message: (data) => this.patch(JSON.parse(data)),
    }, (what) => this.link(what))
  }
  get now() { return Date.now() / 1000 + this.skew }
  get isTicking() { return this.view && !this.isOver }
  get isOver() { return this.state === "ended" || !!this.view?.run?.ended_at || ["good", "bad", "stopped", "partial"].includes(this.view?.run?.style) }

  link(what) {
    if (what === "open") { if (this.state !== "interrupted" && this.view) this.tell("live") }
    else if (what === "reconnecting") { if (this.state !== "interrupted" && this.state !== "ended") this.tell("reconnecting") }
    else { // refused: the server is there
      const known = runs.get(this.id)
      if (this.view && (this.isOver || known?.state === "ended")) { this.tell("ended"); return true }
      if (runs.size && !known && !this.view) { this.tell("gone"); return true }
    }
    return false
  }
  tell(state) {
    if (this.state === state) return
    this.state = state
    need("run")
  }
  gap(reason) {
    this.note = `Some of what happened is left out here: ${REASONS[reason] ?? reason}. This is the run as it is now.`
    this.tell("gap")
  }
  begin(view) {
    this.view = view
    this.learn(false)
    this.tell("live")
    this.places = new Map(view.steps.map((step, at) => [step.id, at]))
    for (const step of view.steps) this.observe(step, false)
    this.said = view.run?.status
    need("rows", "run", "step")
    if (!hash.step && this.isOver) this.chooseForEnded()
  }
  patch(operations) {
    const touched = new Set()
    let grew = false
    for (const one of operations) {
      const found = this.apply(one)
      if (found?.part) { grew = true; stepPane.grow(found.part, one.value) } else touched.add(found?.key ?? "")
    }
    if (this.state === "interrupted" || this.state === "reconnecting") this.tell("live")
    if (grew) need("tail")
    this.learn(true)
    for (const key of touched) {
      const [list, at] = key.split("/")
      if (list === "steps" && this.view.steps[at]) this.observe(this.view.steps[at], true)
      if (list === "run" && this.view.run) this.observeRun(this.view.run)
    }
    if (touched.size) need("rows", "run", "step")
  }
  // Apply one operation. Return the part whose text grew, or what was touched.
  apply({ op, path, value: given }) {
    if (!path) { this.view = given; this.places = new Map(); return { key: "run" } }
    const keys = path.split("/").slice(1).map(unescaped), last = keys.pop()
    let holder = this.view
    for (const key of keys) holder = holder[key]
    if (op === "append") {
      holder[last] += given
      return last === "text" && keys.at(-2) === "parts" ? { part: holder } : { key: `${keys[0]}/${keys[1]}` }
    }
    if (!Array.isArray(holder)) { if (op === "remove") delete holder[last]; else holder[last] = given }
    else if (op === "remove") holder.splice(last, 1)
    else if (op === "replace") holder[last] = given
    else if (last === "-") holder.push(given)
    else holder.splice(last, 0, given)
    const at = keys[0] && last === "-" && keys.length === 1 ? holder.length - 1 : keys[1] ?? last
    if (keys[0] === "steps" && keys.length === 1) { this.places.set(given?.id, at); if (last === "-") this.grown() }
    return { key: `${keys[0] ?? last}/${at}` }
  }
  grown() { if (!this.follows) this.unseen++ }

  // Move the clock where the newest time of the server says so.
  learn(isLive) {
    const stamps = [], { run, steps } = this.view
    if (run) stamps.push(run.created_at, run.started_at, run.ended_at)
    for (const step of steps.slice(-3)) stamps.push(step.created_at, step.ended_at)
    const newest = Math.max(0, ...stamps.filter((at) => at > 0))
    if (!newest || newest <= (this.newest ?? 0)) return
    this.newest = newest
    const least = newest - Date.now() / 1000
    if (this.skew < least) this.skew = least
    else if (isLive && this.skew > least + 2 && !this.isOver) this.skew = least + 1
  }
  observe(step, isNow) {
    let seen = this.seen.get(step.id)
    if (!seen) this.seen.set(step.id, seen = { calls: new Map(), start: isNow ? this.now : null })
    if (step.is_over && seen.end === undefined) seen.end = isNow ? this.now : null
    for (const call of step.calls ?? []) {
      let one = seen.calls.get(call.id ?? "")
      if (!one) seen.calls.set(call.id ?? "", one = { start: isNow ? this.now : null })
      if (one.end === undefined && (call.style !== "busy" || step.is_over)) one.end = isNow ? this.now : null
    }
  }
  observeRun(run) {
    const now = this.now, last = this.waits.at(-1)
    if (!this.begun) this.begun = now
    if (run.status !== "queued" && !this.started) this.started = now
    if (run.style === "waiting" && !(last && last.to === null)) this.waits.push({ from: now, to: null })
    if (run.style !== "waiting" && last && last.to === null) last.to = now
    if (run.status !== this.said) {
      this.said = run.status
      const why = run.style === "waiting" ? this.awaits() : run.error?.message ?? run.reason ?? ""
      if (["waiting", "bad", "good", "stopped", "partial"].includes(run.style)) say(`Run ${wordOf(run.status, run.style)}. ${why}`)
    }
    if (run.ended_at && !this.ended) this.ended = now
  }
  awaits() {
    const calls = this.view.run?.awaits ?? []
    return calls.length ? `${calls.some((one) => one.kind === "approval") ? "approval" : "output"}: ${calls.map((one) => one.name).join(", ")}` : ""
  }
  isAwaited(step, call) { return !step.is_over && this.view.run?.awaits?.some((one) => one.id === call.id) }

  get zero() { return this.zeroAt ??= this.begun ?? this.view.run?.created_at ?? this.view.steps[0]?.created_at ?? this.now }
  get stop() {
    const run = this.view.run
    if (this.ended) return this.ended
    if (run?.ended_at) return Math.max(run.ended_at, ...this.view.steps.slice(-3).map((step) => step.ended_at ?? 0))
    return this.isOver ? Math.max(this.zero + 1, this.newest ?? 0) : this.now
  }
  // From when to when a step or call is, in seconds from the beginning, and whether that was seen here.
  span(step, call) {
    const seen = this.seen.get(step.id), one = call && seen?.calls.get(call.id ?? "")
    const begun = one?.start ?? seen?.start ?? step.created_at ?? this.zero
    const isOver = step.is_over || (call && call.style !== "busy" && !this.isAwaited(step, call))
    const end = isOver ? one?.end ?? seen?.end ?? step.ended_at ?? begun : null
    const start = Math.max(0, begun - this.zero)
    const isExact = !!(one?.start ?? seen?.start) && (end === null || !!(one?.end ?? seen?.end))
    return { start, end: end === null ? null : Math.max(start, end - this.zero), isExact }
  }
  length(step) {
    const { start, end } = this.span(step)
    return (end ?? this.stop - this.zero) - start
  }
  styleOf(step) { return step.calls?.some((call) => this.isAwaited(step, call)) ? "waiting" : step.style }

  layRows() {
    const { steps, messages } = this.view, written = new Set()
    for (const step of steps) if (step.message) written.add(step.message)
    this.rows = [{ run: true }]
    messages.forEach((message) => { if (!written.has(message.id)) this.rows.push({ step: message, isMessage: true }) })
    for (const step of steps) {
      this.rows.push({ step })
      if (step.calls?.length > 1) for (const call of step.calls) this.rows.push({ step, call })
    }
    this.message = new Map(messages.map((message) => [message.id, message]))
    stepList.resize(this.rows.length, narrow.matches ? 32 : ROW.steps)
    this.sum()
  }
  // What the cards say: one walk over the steps, when one of them has changed.
  sum() {
    let slowest = null, most = -1, calls = 0, failed = []
    for (const step of this.view.steps) {
      const length = this.length(step)
      if (length > most) { most = length; slowest = step }
      calls += step.calls?.length ?? 0
      if (step.style === "bad") failed.push(step)
    }
    this.sums = { slowest, calls, failed }
  }
  get writing() {
    for (let at = this.view.messages.length - 1; at >= 0 && at > this.view.messages.length - 4; at--) {
      const message = this.view.messages[at]
      if (!message.is_over && message.role !== "user") return { part: message.parts?.at(-1), step: this.view.steps.findLast((step) => step.message === message.id), what: "Writing" }
    }
    const step = this.view.steps.findLast((one) => !one.is_over && !one.message)
    const call = step?.calls?.findLast((one) => one.style === "busy")
    if (!step || this.styleOf(step) === "waiting") return null
    const part = call?.parts?.at(-1) ?? step.parts?.at(-1)
    return { part, step, what: part?.kind === "thought" ? "Thinking" : part?.kind === "logs" ? "Running" : part?.kind === "code" ? "Writing code" : call ? `Calling ${call.name}` : "Working" }
  }

  draw(all) {
    if (!this.view) { drawBanner(this); return }
    if (!this.zoomed) {
      const length = Math.max(1, this.stop - this.zero)
      if (this.isOver) this.end = length * 1.06
      else if (length * 1.02 > this.end || length * 2 < this.end) this.end = length * 1.3
      this.from = 0
      this.to = this.end
    }
    if (this.from !== this.axisFrom || this.to !== this.axisTo) drawAxis(this)
    if (all) drawBanner(this)
    if (all || performance.now() - (this.cardsAt ?? 0) > 240) { this.cardsAt = performance.now(); drawTop(this); drawCards(this) }
    stepList.chosen = this.rows.findIndex((row) => isChosen(row))
    if (this.follows && all && !this.isOver) this.followOn()
    stepList.render()
    drawNew(this)
    if (!this.isOver) stepPane.tick()
  }
  followOn() {
    stepList.toEnd()
    const step = this.view.steps.at(-1)
    if (step && hash.step !== step.id) { Object.assign(hash, { step: step.id, call: "" }); writeHash(true); need("step", "run") }
  }
  chooseForEnded() {
    if (narrow.matches) return
    const step = this.view.steps.find((one) => one.style === "bad") ?? this.view.steps.at(-1)
    if (step) go({ step: step.id, call: "" }, true)
  }
  close() { this.stream.close() }
}
const isChosen = (row) => row.run ? hash.step === "" : row.step.id === hash.step && (row.call ? (row.call.id ?? "") === hash.call : !hash.call)

const stepList = new List($("#run"), ROW.steps, () => {
  const parts = { glyph: el("span", "glyph"), name: value("", "name"), kind: value("", "kind"), bar: el("span", "bar"), wait: el("span", "bar wait"), took: el("span", "took"), said: el("span", "quiet") }
  parts.glyph.ariaHidden = "true"
  return Object.assign(option("of-step", el("div", "label", parts.glyph, parts.name, parts.kind), el("div", "lane", parts.bar, parts.wait, parts.took), parts.said), { parts })
}, (row, index) => {
  const one = open?.rows[index], { parts } = row
  if (!one) return
  if (one.run) drawRunRow(row, parts)
  else drawStepRow(row, parts, one)
})

function drawRunRow(row, parts) {
  const run = open.view.run ?? { status: "in_progress", style: "busy" }, end = open.stop - open.zero
  const queued = Math.max(0, run.status === "queued" ? end : (open.begun ? open.started - open.begun : run.started_at - run.created_at) || 0)
  name(row, parts, "whole", run.style, "Run", queued >= 0.05 ? `queued ${took(queued, !!open.begun)}` : "", run.status)
  place(parts.bar, queued, end)
  place(parts.wait, 0, queued)
  label(parts.took, end, `${took(end - queued, !!open.begun || !open.isOver)}`)
}
function drawStepRow(row, parts, { step, call, isMessage }) {
  const style = call ? open.isAwaited(step, call) ? "waiting" : call.style : isMessage ? step.style : open.styleOf(step)
  const only = !call && step.calls?.length === 1 ? step.calls[0] : call
  const kind = only && only.kind !== only.name ? only.kind : ""
  const title = isMessage ? `message by ${step.role ?? "?"}` : call ? call.name : step.title
  name(row, parts, call ? "child" : "", style, title, kind.replaceAll("_", " "), call ? call.status ?? "" : step.status)
  const { start, end, isExact } = open.span(step, call), till = end ?? open.stop - open.zero
  place(parts.bar, start, till)
  parts.bar.classList.toggle("slow", !call && step === open.sums.slowest && open.view.steps.length > 1)
  const wait = open.waits.at(-1), from = wait ? Math.max(start, wait.from - open.zero) : 0, to = wait ? Math.min(till, (wait.to ?? Infinity) - open.zero) : 0
  const waits = wait && to > from && step.calls && !(call && end !== null && !isExact)
  place(parts.wait, waits ? from : 0, waits ? to : 0)
  label(parts.took, till, took(till - start, isExact || end === null))
}
function name(row, parts, kind, style, title, more, status) {
  const names = `row of-step ${kind}`
  if (row.className !== names) row.className = names
  mark(row, "style", style)
  write(parts.glyph, GLYPHS[style] ?? "·")
  write(parts.name, title)
  write(parts.kind, more)
  write(parts.said, `, ${wordOf(status, style)}`)
}
function place(bar, from, to) {
  const scale = 100 / (open.to - open.from), left = Math.max(-1, (from - open.from) * scale), width = Math.min(102, (to - open.from) * scale) - left
  hide(bar, to < from || (to === from && bar.classList.contains("wait")) || left > 100 || width < 0)
  if (bar.hidden) return
  bar.style.left = `${left.toFixed(3)}%`
  bar.style.width = `${Math.max(0, width).toFixed(3)}%`
}
function label(node, at, text) {
  const left = (at - open.from) * 100 / (open.to - open.from)
  node.style.left = `${Math.min(100, Math.max(0, left)).toFixed(3)}%`
  node.classList.toggle("before", left > 84)
  write(node, text)
}
function drawAxis(run) {
  Object.assign(run, { axisFrom: run.from, axisTo: run.to })
  const span = run.to - run.from, rough = span / (narrow.matches ? 3 : 6), unit = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].find((n) => n * unit >= rough) * unit, ticks = []
  for (let at = Math.ceil(run.from / step - 1e-9) * step; at < run.to; at += step) {
    const tick = el("span")
    tick.textContent = at >= 60 ? took(at, true) : `${+at.toFixed(3)} s`
    tick.style.left = `${(at - run.from) * 100 / span}%`
    ticks.push(tick)
  }
  $("#axis").replaceChildren(...ticks)
}
const BANNER = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", gap: "Gap", interrupted: "Interrupted", ended: "Ended", gone: "Not here" }
function drawBanner(run) {
  const banner = $("#banner")
  mark(banner, "state", run.state)
  write(banner.firstChild, run.state === "live" && run.isOver ? "Ending" : BANNER[run.state])
  const note = run.state === "interrupted" ? `Interrupted: ${REASONS[run.reason] ?? run.reason}.`
    : run.state === "reconnecting" ? "The connection is lost. Trying again; nothing is lost." : run.state === "gone" ? "There is no such run, or it is not kept any more." : run.note
  write($("#notice span"), note)
  hide($("#notice"), !note)
  hide($("#notice button"), note !== run.note)
}
function drawTop(run) {
  const it = run.view.run
  write($("#run h2"), it?.model || run.id)
  const state = $("#run .state"), style = it?.style ?? "busy"
  mark(state, "style", style)
  write(state, wordOf(it?.status, style))
  const facts = $("#run .facts"), told = [["", run.id, "id"], ["began ", clock(it?.created_at ?? run.zero)], ["took ", took(run.stop - run.zero, !!run.begun || !run.isOver)],
    ["", `${run.view.steps.length.toLocaleString("en")}`, "", " steps"], ["", `${run.sums.calls.toLocaleString("en")}`, "", " calls"]]
  if (run.sums.failed.length) told.push(["", String(run.sums.failed.length), "", " failed"])
  if (it?.usage) told.push(["", big(it.usage.total_tokens ?? 0), "", ` tokens (${big(it.usage.prompt_tokens ?? 0)} in, ${big(it.usage.completion_tokens ?? 0)} out)`])
  told.forEach(([before, text, kind, after], at) => {
    const fact = facts.children[at] ?? facts.appendChild(el("span", "", el("span"), el("b", "v"), el("span")))
    write(fact.children[0], before)
    write(fact.children[1], text)
    fact.children[1].className = `v ${kind ?? ""}`
    write(fact.children[2], after ?? "")
  })
  while (facts.children.length > told.length) facts.lastChild.remove()
}
function drawCards(run) {
  const it = run.view.run, cards = [], { slowest, failed } = run.sums
  const awaited = it?.awaits?.length ? it.awaits : null
  if (awaited) cards.push(["waiting", `Waits for ${awaited.some((one) => one.kind === "approval") ? "approval" : "output"}`, awaited.map((one) => one.name).join(", "), run.view.steps.find((step) => step.id === awaited[0].id || step.calls?.some((call) => call.id === awaited[0].id))?.id, awaited[0].id])
  for (const step of failed.slice(0, 2)) cards.push(["bad", `Failed: ${step.title}`, why(step.error), step.id])
  if (it?.error && it.style !== "busy") cards.push(["bad", "The run failed", why(it.error), ""])
  else if (it?.reason) cards.push(["partial", `The run is ${wordOf(it.status)}`, it.reason, ""])
  const writing = run.isOver ? null : run.writing
  if (writing) cards.push(["busy", writing.what, (writing.part?.text ?? "").slice(-140), writing.step?.id, "", "tail"])
  if (slowest && run.view.steps.length > 1) cards.push([run.styleOf(slowest), "Slowest step", `${slowest.title} · ${took(run.length(slowest), run.span(slowest).isExact || !slowest.is_over)}`, slowest.id])
  const list = $("#now")
  cards.forEach(([style, title, text, step, call, kind], at) => {
    const item = list.children[at] ?? list.appendChild(el("li", "", el("button", "", el("b", "v"), el("span"))))
    const button = item.firstChild, [head, body] = button.children
    mark(button, "style", style)
    write(head, title)
    if (body.className !== `v ${kind ?? ""}`) body.className = `v ${kind ?? ""}`
    write(body, text)
    button.target = { step: step ?? "", call: call && open.view.steps[open.places.get(step)]?.calls?.length > 1 ? call : "" }
  })
  while (list.children.length > cards.length) list.lastChild.remove()
  const errors = $("#errors")
  errors.disabled = !failed.length
}
const why = (error) => [error?.code, error?.message].filter(Boolean).join(": ") || "no reason given"
function drawNew(run) {
  if (stepList.isAtEnd) run.unseen = 0
  const button = $("#run .new")
  hide(button, !run.unseen)
  write(button, `${run.unseen} new ↓`)
  $("#follow").ariaPressed = String(run.follows)
}

// ── one step ────────────────────────────────────────────────────────────────────────────────────────────────────────

const PIECE = 16_384 // characters of one element: a browser lays out only those that are to be seen

// A text that may grow, with what stands above it.
class Block {
  constructor(part, title) {
    this.text = el("div", "text")
    this.pretty = false
    this.shown = ""
    const copy = el("button", "", "Copy")
    copy.onclick = () => copyText(copy, this.full ?? this.part.text)
    this.head = el("h3")
    this.tools = el("div", "bar-of", this.head, copy)
    this.node = el("div", "block", this.tools, this.text)
    this.sync(part, title)
  }
  sync(part, title, isGrowing = false) {
    this.part = part
    write(this.head, title)
    this.text.classList.toggle("growing", isGrowing)
    this.text.classList.toggle("prose", part.kind === "text" || part.kind === "thought" || part.kind === "refusal")
    this.offerAll(part.skipped && !this.full ? part.skipped + part.text.length : 0)
    if (this.full) return
    const text = isGrowing || !["json", "output", "raw"].includes(part.kind) ? part.text : laidOut(part.text)
    if (text === this.shown) return
    if (this.shown && text.startsWith(this.shown)) this.append(text.slice(this.shown.length))
    else { this.text.replaceChildren(); this.shown = ""; this.append(text) }
  }
  append(piece) {
    this.shown += piece
    for (let at = 0; at < piece.length;) {
      let last = this.text.lastChild
      if (!last || last.size >= PIECE) { last = this.text.appendChild(el("pre", "", "")); last.append(""); last.size = 0 }
      const some = piece.slice(at, at + PIECE - last.size)
      last.firstChild.appendData(some)
      last.size += some.length
      at += some.length
    }
  }
  offerAll(size) {
    if (!size) { this.more?.remove(); this.more = null; return }
    if (!this.more) {
      this.more = el("button")
      this.more.onclick = () => this.load()
      this.tools.insertBefore(this.more, this.tools.lastChild)
    }
    write(this.more, `Load all ${bytes(size)}`)
  }
  async load() {
    const found = findText(await fetchStep(), this.part)
    if (found === undefined) return
    this.full = found
    this.offerAll(0)
    this.text.replaceChildren()
    for (let at = 0; at < found.length; at += 8 * PIECE) { // a piece a frame: who looks can scroll meanwhile
      this.append(found.slice(at, at + 8 * PIECE))
      await new Promise(requestAnimationFrame)
    }
  }
}
function laidOut(text) {
  if (!/^\s*[[{]/.test(text)) return text
  try { return JSON.stringify(JSON.parse(text), null, 2) } catch { return text }
}
// The text of which a part has the end, wherever it stands in the whole step.
function findText(whole, part) {
  if (typeof whole === "string") return whole.length > part.text.length && whole.endsWith(part.text) ? whole : undefined
  for (const one of Object.values(whole ?? {})) {
    const found = typeof one === "string" || typeof one === "object" ? findText(one, part) : undefined
    if (found !== undefined) return found
  }
}
async function fetchStep() {
  const path = hash.step ? `${open.base}/steps/${encodeURIComponent(hash.step)}` : open.base
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" })
  if (answer.status === 401) login()
  if (!answer.ok) throw new Error(`the server says ${answer.status}`)
  const got = await answer.json()
  return hash.step ? got : got.run
}
async function copyText(button, text) {
  try { await navigator.clipboard.writeText(text); button.textContent = "Copied" } catch { button.textContent = "Not allowed" }
  setTimeout(() => { button.textContent = "Copy" }, 1200)
}

const stepPane = {
  blocks: new Map(), key: "", unseen: 0, scroller: $("#step .scroller"),
  get isAtEnd() { return this.scroller.scrollTop + this.scroller.clientHeight >= this.scroller.scrollHeight - 24 },
  grow(part, piece) {
    for (const block of this.blocks.values()) {
      if (block.part !== part || block.full || hash.step !== this.id) continue
      const atEnd = this.isAtEnd
      if (block.shown.length + piece.length === part.text.length) block.append(piece)
      else block.sync(part, block.head.textContent, true)
      if (open.follows || atEnd) this.toEnd()
      else this.unseen += piece.split("\n").length - 1 || (this.unseen ? 0 : 1)
      this.drawNew()
    }
  },
  toEnd() {
    if (this.pinned) return
    this.pinned = true
    requestAnimationFrame(() => { this.pinned = false; this.scroller.scrollTop = this.scroller.scrollHeight })
  },
  drawNew() {
    if (this.isAtEnd) this.unseen = 0
    const button = $("#step .new")
    hide(button, !this.unseen)
    write(button, `${count(this.unseen, "new line")} ↓`)
  },
  tick() { if (this.time && open) { const { start, end, isExact } = this.time(); write(this.timeNode, `at ${start.toFixed(1)} s, took ${took((end ?? open.stop - open.zero) - start, isExact || end === null)}`) } },
}

function drawStep() {
  const pane = $("#step"), view = open?.view
  if (!view) { hide(pane, true); return }
  const key = `${open.id}\n${hash.step}\n${hash.call}`
  const step = view.steps[open.places.get(hash.step)] ?? view.messages.find((one) => one.id === hash.step)
  if (hash.step && !step) { hide(pane, true); return }
  hide(pane, false)
  if (key !== stepPane.key) {
    Object.assign(stepPane, { blocks: new Map(), key, unseen: 0, id: hash.step })
    stepPane.scroller.replaceChildren()
    stepPane.scroller.scrollTop = 0
  }
  const atEnd = stepPane.isAtEnd, used = new Set()
  const nodes = step ? stepNodes(step, used) : runNodes(view.run)
  for (const name of stepPane.blocks.keys()) if (!used.has(name)) stepPane.blocks.delete(name)
  const has = stepPane.scroller.childNodes
  if (nodes.length !== has.length || nodes.some((node, at) => node !== has[at])) stepPane.scroller.replaceChildren(...nodes)
  if (open.follows && !open.isOver && atEnd) stepPane.toEnd()
  stepPane.drawNew()
}

function kept(used, name, make) {
  used.add(name)
  let found = stepPane.blocks.get(name)
  if (!found) stepPane.blocks.set(name, found = make())
  return found
}
const keptNode = (used, name, ...rest) => kept(used, name, () => ({ node: el(...rest) })).node

function head(title, style, status) {
  write($("#step h2"), title)
  mark($("#step .state"), "style", style)
  write($("#step .state"), wordOf(status, style))
}
function stepNodes(step, used) {
  const message = open.message?.get(step.message) ?? (step.role !== undefined || !step.title ? step : null), nodes = []
  const only = step.calls?.find((call) => (call.id ?? "") === hash.call && hash.call)
  head(step.title ?? `message by ${step.role}`, step.calls ? open.styleOf(step) : step.style, step.status)
  const facts = keptNode(used, "facts", "p", "facts", value("", "id"), el("span", "time"), el("span"))
  write(facts.children[0], step.id)
  write(facts.children[2], step.created_at ? `since ${clock(step.created_at)}` : "")
  stepPane.timeNode = facts.children[1]
  stepPane.time = () => open.span(step, only)
  stepPane.tick()
  nodes.push(facts)
  if (step.error) nodes.push(failure(used, "error", step.error.code ?? "error", step.error.message ?? ""))
  if (step.reason) nodes.push(failure(used, "reason", wordOf(step.status), step.reason))
  for (const [at, call] of (step.calls ?? []).entries()) {
    if (only && call !== only) continue
    const awaited = open.isAwaited(step, call), style = awaited ? "waiting" : call.style
    const title = keptNode(used, `call ${at}`, "div", "call", el("span", "glyph"), el("strong", "v"), value("", "id"), el("span", "state"))
    mark(title, "style", style)
    write(title.children[0], GLYPHS[style])
    write(title.children[1], call.name)
    write(title.children[2], call.kind === call.name ? call.id ?? "" : `${call.kind.replaceAll("_", " ")} ${call.id ?? ""}`)
    write(title.children[3], wordOf(call.status ?? (style === "good" ? "done" : style === "busy" ? "running" : step.status), style))
    nodes.push(title)
    if (awaited) nodes.push(failure(used, `awaited ${at}`, `Waits for ${open.view.run.awaits.find((one) => one.id === call.id).kind}`, "The run goes on once it is given.", "awaited"))
    nodes.push(...blocks(used, `${at}`, call.parts, style === "busy" && !step.is_over))
  }
  nodes.push(...blocks(used, "own", step === message ? [] : step.parts, !step.is_over))
  if (message) nodes.push(...blocks(used, "message", message.parts, !message.is_over, { text: "Text" }))
  nodes.push(...usage(used, step.usage), raw(used))
  return nodes
}
function runNodes(run) {
  const used = new Set(), nodes = []
  if (!run) return nodes
  head("Run", run.style, run.status)
  const facts = keptNode(used, "facts", "p", "facts", value("", "id"), value("", "id"))
  write(facts.children[0], run.id)
  write(facts.children[1], run.thread_id ?? "")
  stepPane.time = null
  nodes.push(facts)
  if (run.error) nodes.push(failure(used, "error", run.error.code ?? "error", run.error.message ?? ""))
  if (run.reason) nodes.push(failure(used, "reason", wordOf(run.status), run.reason))
  run.awaits?.forEach((one, at) => nodes.push(failure(used, `a${at}`, `Waits for ${one.kind}`, `${one.name} ${one.id}`, "awaited")))
  const times = [["created", run.created_at], ["started", run.started_at], ["ended", run.ended_at]].filter(([, at]) => at)
  nodes.push(table(used, "times", times.map(([word, at]) => [word, new Date(at * 1000).toLocaleString([], { hour12: false })])))
  nodes.push(...usage(used, run.usage), raw(used))
  return nodes
}
function failure(used, name, title, text, kind = "") {
  const node = keptNode(used, name, "div", `failure ${kind}`, el("b", "v"), value(""))
  write(node.children[0], title)
  write(node.children[1], text)
  return node
}
function blocks(used, prefix, parts = [], isGrowing, names = {}) {
  return parts.map((part, at) => {
    const title = names[part.kind] ?? KINDS[part.kind] ?? part.kind, grows = isGrowing && at === parts.length - 1
    const block = kept(used, `${prefix}/${at}/${part.kind}`, () => new Block(part, title))
    block.sync(part, title, grows)
    return block.node
  })
}
function table(used, name, lines) {
  const node = keptNode(used, name, "table", "", el("tbody")), body = node.firstChild
  lines.forEach(([word, text], at) => {
    const line = body.children[at] ?? body.appendChild(el("tr", "", el("th"), el("td")))
    line.firstChild.scope = "row"
    write(line.firstChild, word)
    write(line.lastChild, text)
  })
  return node
}
function usage(used, given) {
  const lines = []
  for (const [word, n] of Object.entries(given ?? {})) {
    if (typeof n === "number") lines.push([word.replaceAll("_", " "), n.toLocaleString("en")])
    else for (const [inner, m] of Object.entries(n ?? {})) if (typeof m === "number" && m) lines.push([`— ${inner.replaceAll("_", " ")}`, m.toLocaleString("en")])
  }
  if (!lines.length) return []
  const title = keptNode(used, "usage title", "h3", "", "Usage")
  return [title, table(used, "usage", lines)]
}
function raw(used) {
  return kept(used, "raw", () => {
    const node = el("details", "", el("summary", "", "Raw JSON")), id = hash.step
    node.ontoggle = async () => {
      if (!node.open || hash.step !== id) return
      node.querySelector(".block")?.remove()
      let text
      try { text = JSON.stringify(await fetchStep(), null, 2) } catch (error) { text = String(error.message) }
      node.append(new Block({ kind: "raw", text }, "As it is now").node)
    }
    return { node }
  }).node
}

// ── where the page is ───────────────────────────────────────────────────────────────────────────────────────────────

function writeHash(quietly) {
  const params = new URLSearchParams()
  for (const [key, text] of Object.entries(hash)) if (text) params.set(key, text)
  const to = `#${params}`
  if (to !== location.hash) history[quietly ? "replaceState" : "pushState"](null, "", to === "#" ? location.pathname : to)
}
function readHash() {
  const params = new URLSearchParams(location.hash.slice(1))
  const next = {}
  for (const key of Object.keys(hash)) next[key] = params.get(key) ?? ""
  hash = next
  if ($("#search").value !== hash.q) $("#search").value = hash.q
  enter(hash.step ? "step" : hash.run ? "run" : "runs")
}
function go(change, quietly = false) {
  const isOther = change.run !== undefined && change.run !== hash.run
  Object.assign(hash, isOther ? { step: "", call: "" } : {}, change)
  writeHash(quietly)
  enter(narrow.matches ? change.step ? "step" : change.run !== undefined ? hash.run ? "run" : "runs" : document.body.dataset.pane : document.body.dataset.pane)
}
function enter(pane) {
  document.body.dataset.pane = pane
  if ((open?.id ?? "") !== hash.run) {
    open?.close()
    open = hash.run ? new OpenRun(hash.run) : null
    stepList.clear()
    stepList.resize(0)
    stepList.scroller.scrollTop = 0
    for (const node of [$("#now"), $("#axis"), $("#run .facts"), $("#run .state"), stepPane.scroller]) node.replaceChildren()
    write($("#run h2"), hash.run)
    hide($("#run"), !open)
    hide($("#step"), true)
    stepPane.key = ""
    if (open) drawBanner(open)
  }
  need("order", "run", "step")
}
function choose(change) { // somebody chose a step: it stays
  if (open) { open.follows = false; if (change.step === undefined) change.step = "" }
  go({ call: "", ...change })
  const at = open?.rows.findIndex((row) => isChosen(row)) ?? -1
  if (at >= 0) { stepList.show(at); reveal(open.rows[at]) }
}
// Move the zoomed part so that a step is in it.
function reveal(row) {
  if (!open.zoomed || row.run) return
  const { start } = open.span(row.step, row.call), span = open.to - open.from
  if (start < open.from || start > open.to) { open.from = Math.max(0, start - span / 4); open.to = open.from + span }
}
function zoom(factor, at = 0.5) {
  if (!open?.view) return
  const middle = open.from + (open.to - open.from) * at, span = Math.max(0.01, (open.to - open.from) * factor)
  open.zoomed = span < open.end
  open.from = Math.max(0, middle - span * at)
  open.to = open.from + span
  need("run")
}
function pan(part) {
  if (!open?.zoomed) return
  const span = open.to - open.from
  open.from = Math.min(Math.max(0, open.from + span * part), Math.max(0, open.end - span))
  open.to = open.from + span
  need("run")
}
function setFollow(is) {
  if (!open) return
  open.follows = is
  if (is) { open.unseen = 0; stepList.toEnd(); open.isOver ? need("run") : open.followOn() }
  need("run", "step")
}
function nextError() {
  const { rows } = open ?? { rows: [] }, at = rows.findIndex((row) => isChosen(row))
  const bad = [...rows.keys()].filter((index) => rows[index].step && (rows[index].call ?? rows[index].step).style === "bad" && !rows[index].call)
  const found = bad.find((index) => index > at) ?? bad[0]
  if (found === undefined) { say("No step has failed."); return }
  choose({ step: rows[found].step.id })
}
let saidAt = 0
function say(text) { // not more than one a second: a screen reader would not come to its end
  clearTimeout(saidAt)
  saidAt = setTimeout(() => { $("#said").textContent = text }, 1000)
}
function login() {
  const dialog = $("#login")
  listStream?.pause()
  open?.stream.pause()
  if (!dialog.open) dialog.showModal()
}
function move(by) {
  const inRuns = runList.scroller.contains(document.activeElement) || !open
  if (inRuns) {
    const at = Math.min(listed.length - 1, Math.max(0, runList.chosen + by))
    if (!listed[at]) return
    go({ run: listed[at].id }, true)
    runList.show(at)
    runList.scroller.focus({ preventScroll: true })
    return
  }
  const at = Math.min(open.rows.length - 1, Math.max(0, open.rows.findIndex((row) => isChosen(row)) + by)), row = open.rows[at]
  if (row) choose({ step: row.run ? "" : row.step.id, call: row.call ? row.call.id ?? "" : "" })
}
function enterKey() {
  if (document.activeElement === runList.scroller) { enter(narrow.matches ? "run" : "runs"); focusOn(stepList.scroller) }
  else if (document.activeElement === stepList.scroller) { enter(narrow.matches ? "step" : "run"); focusOn(stepPane.scroller) }
  else return false
  return true
}
const focusOn = (node) => requestAnimationFrame(() => requestAnimationFrame(() => node.focus({ preventScroll: true })))
function escapeKey() {
  const at = document.activeElement
  if (at === $("#search")) { at.blur(); focusOn(runList.scroller) }
  else if ($("#step").contains(at)) { enter("run"); focusOn(stepList.scroller) }
  else { enter("runs"); focusOn(runList.scroller) }
}

const KEYS = {
  j: () => move(1), k: () => move(-1), ArrowDown: () => move(1), ArrowUp: () => move(-1), Enter: enterKey, Escape: escapeKey,
  "/": () => { enter(narrow.matches ? "runs" : document.body.dataset.pane); $("#search").focus(); $("#search").select() },
  e: nextError, l: () => setFollow(!open?.follows), "?": () => $("#help").showModal(),
  "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: fit, ArrowLeft: () => pan(-0.25), ArrowRight: () => pan(0.25),
  Home: () => move(-Infinity), End: () => move(Infinity),
}
const NEED_LIST = new Set(["ArrowDown", "ArrowUp", "Home", "End", "ArrowLeft", "ArrowRight", "Enter"])
function fit() { if (open) { open.zoomed = false; need("run") } }

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]")) return
  const at = document.activeElement, types = at.matches("input, textarea")
  if (types && event.key !== "Escape") return
  if (NEED_LIST.has(event.key) && at.role !== "listbox") return
  const act = KEYS[event.key]
  if (act && act() !== false) event.preventDefault()
})
runList.canvas.addEventListener("click", ({ target }) => {
  const one = listed[target.closest(".row")?.index]
  if (one) { go({ run: one.id }); if (narrow.matches) enter("run") }
})
stepList.canvas.addEventListener("click", ({ target }) => {
  const row = open?.rows[target.closest(".row")?.index]
  if (!row) return
  choose({ step: row.run ? "" : row.step.id, call: row.call ? row.call.id ?? "" : "" })
  if (narrow.matches) enter("step")
})
$("#now").addEventListener("click", ({ target }) => { const button = target.closest("button"); if (button) { choose(button.target); if (narrow.matches) enter("step") } })
for (const back of document.querySelectorAll(".back")) back.onclick = () => enter(back.dataset.pane)
for (const [status, word] of FILTERS) {
  const button = $("#filters").appendChild(el("button", "", word, el("b", "", "0")))
  button.value = status
  if (status) button.dataset.style = status
  button.onclick = () => { runList.scroller.scrollTop = 0; go({ status: hash.status === status ? "" : status }) }
}
$("#search").oninput = ({ target }) => { runList.scroller.scrollTop = 0; go({ q: target.value }, true) }
$("#runs .new").onclick = () => { runList.scroller.scrollTop = 0; need("runs") }
$("#run .new").onclick = () => setFollow(true)
$("#step .new").onclick = () => { stepPane.unseen = 0; stepPane.toEnd(); $("#step .new").hidden = true }
$("#follow").onclick = () => setFollow(!open?.follows)
$("#errors").onclick = nextError
$("#in").onclick = () => zoom(0.5)
$("#out").onclick = () => zoom(2)
$("#fit").onclick = fit
$("#help-open").onclick = () => $("#help").showModal()
$("#notice button").onclick = () => { open.note = ""; need("run") }
$("#theme").onclick = () => {
  const root = document.documentElement, dark = (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark"
  root.dataset.theme = dark ? "light" : "dark"
  try { localStorage.setItem("stepstream-theme", root.dataset.theme) } catch { /* not allowed here */ }
}
// Who scrolls away from the end stops following; who comes back to it goes on.
for (const type of ["wheel", "touchmove", "keydown", "pointerdown"]) {
  stepList.scroller.addEventListener(type, (event) => {
    if (type === "keydown" && !["PageUp", "PageDown", " "].includes(event.key)) return
    if (type === "pointerdown" && event.target !== stepList.scroller) return
    if (open?.follows && (type !== "wheel" || event.deltaY < 0)) { open.follows = false; need("run") }
  }, { passive: true })
}
stepPane.scroller.addEventListener("wheel", ({ deltaY }) => { if (deltaY < 0 && open?.follows) { open.follows = false; need("run") } }, { passive: true })
stepPane.scroller.addEventListener("scroll", () => stepPane.drawNew(), { passive: true })
runList.scroller.addEventListener("scroll", drawUnseen, { passive: true })
stepList.scroller.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey && !event.shiftKey) return
  event.preventDefault()
  const lane = stepList.rows.values().next().value?.querySelector(".lane").getBoundingClientRect()
  if (event.shiftKey) pan(Math.sign(event.deltaY || event.deltaX) * 0.1)
  else if (lane) zoom(event.deltaY > 0 ? 1.25 : 0.8, Math.min(1, Math.max(0, (event.clientX - lane.left) / lane.width)))
}, { passive: false })
$("#login form").onsubmit = async (event) => {
  event.preventDefault()
  const answer = await fetch("login", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ token: $("#token").value }) }).catch(() => null)
  if (!answer?.ok) { write($(".wrong"), answer?.status === 401 ? "That is not the token." : answer?.status === 429 ? "Too many tries. Wait a minute." : "The server does not answer."); return }
  $("#token").value = ""
  write($(".wrong"), "")
  $("#login").close()
  resume()
}
$("#login").oncancel = (event) => event.preventDefault()

function drawLink(state) {
  mark($("#link"), "state", state)
  write($("#link .words"), BANNER[state])
}
function resume() {
  listStream?.close()
  listStream = new Stream("list", {
    "stepstream.runs": (data) => takeRuns(JSON.parse(data), true),
    message: (data) => takeRuns(JSON.parse(data), false),
  }, (what) => { drawLink(what === "open" ? "live" : "reconnecting"); return false })
  if (open && !open.stream.closed) { open.stream.pause(); open.stream.open() }
}
addEventListener("visibilitychange", () => {
  if (!document.hidden) { resume(); need("order", "run", "step"); return }
  listStream?.close()
  open?.stream.pause()
})
addEventListener("pagehide", () => { listStream?.close(); open?.stream.pause() })
addEventListener("pageshow", ({ persisted }) => { if (persisted) resume() })
addEventListener("popstate", readHash)
addEventListener("hashchange", readHash)
narrow.addEventListener("change", () => need("rows", "run", "order"))
try { const kept = localStorage.getItem("stepstream-theme"); if (kept) document.documentElement.dataset.theme = kept } catch { /* not allowed here */ }

readHash()
if (document.hidden) drawLink("connecting")
else resume()
