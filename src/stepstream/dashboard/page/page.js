// The dashboard: the runs, one of them as a waterfall, one of its steps in full. At most two event streams are open:
// of summaries of the runs, and of the open one, a view and patches. The page folds nothing.
//
//   stream → summaries or view → marks of changes → one drawing a frame
//
// What comes from a run becomes text (`textContent`), never HTML, a style or an address.

const $ = (selector) => document.querySelector(selector), passive = { passive: true }
const active = () => document.activeElement
const KINDS = { json: "Arguments", text: "Input", hits: "Results", raw: "Content", thought: "Reasoning", cited: "Sources" }
const PROSE = new Set(["text", "thought", "refusal"])
const GLYPHS = { busy: "◔", waiting: "‖", good: "✓", bad: "✗", stopped: "■", partial: "◑", unknown: "·" }
const OVER = new Set(["good", "bad", "stopped", "partial"])
const FILTERS = { "": "All", busy: "Running", waiting: "Waiting", bad: "Failed", good: "Done", stopped: "Stopped" }
const calm = matchMedia("(prefers-reduced-motion: reduce)"), narrow = matchMedia("(max-width: 760px)")

function el(tag, name = "", ...children) {
	const made = document.createElement(tag)
	if (name) made.className = name
	made.append(...children)
	return made
}
const value = (name = "") => el("span", `v ${name}`)
const spans = (names) => Object.fromEntries(names.split(" ").map((name) => [name, value(name)]))
// Writing again what is there would cost a layout.
function write(node, text) { if (node.textContent !== text) node.textContent = text }
function mark(node, name, text) { if (node.dataset[name] !== text) node.dataset[name] = text }
function named(node, text) { if (node.className !== text) node.className = text }
function hide(node, is) { if (node.hidden !== is) node.hidden = is }
const capital = (word) => word[0].toUpperCase() + word.slice(1)
const within = (least, n, most) => Math.min(most, Math.max(least, n))
const number = (n) => n.toLocaleString("en")
const count = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`
const short = (n) => n < 1e4 ? number(n) : `${number(Math.round(n / 1e3))}k`
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour12: false })
const words = (status, style) => style === "waiting" ? "waiting" : status?.replaceAll("_", " ") || "running"
const why = (error) => [error?.code, error?.message].filter(Boolean).join(": ") || "no reason given"

function took(seconds, exact) {
	if (isNaN(seconds)) return "—"
	if (exact === "over") return `over ${took(seconds, true)}`
	const s = Math.max(0, seconds)
	if (s < 1) return exact ? `${Math.round(s * 1000)} ms` : "< 1 s"
	if (s < 60) return exact ? `${s.toFixed(s < 10 ? 2 : 1)} s` : `${Math.round(s)} s`
	const [part, big, small] = s < 3600 ? [1, "m", "s"] : [60, "h", "m"]
	return `${Math.floor(s / part / 60)} ${big} ${Math.floor(s / part % 60)} ${small}`
}

// A list with only the rows that are to be seen: `make()` makes one, `draw(row, index)` fills it.
class List {
	constructor(section, height, make, draw) {
		Object.assign(this, { name: section.id, height, make, draw, count: 0, chosen: -1, rows: new Map(), free: [] })
		this.scroller = section.querySelector(".scroller")
		this.empty = section.querySelector(".empty")
		this.canvas = this.scroller.appendChild(el("div", "canvas"))
		this.canvas.role = "presentation"
		this.scroller.addEventListener("scroll", () => this.render(false))
		new ResizeObserver(() => this.render(false)).observe(this.scroller)
	}
	resize(count, height = this.height) {
		if (height !== this.height) this.clear()
		Object.assign(this, { count, height })
		hide(this.scroller, !count)
		hide(this.empty, !!count)
		this.canvas.style.height = `${count * height}px`
	}
	clear() {
		this.canvas.replaceChildren()
		this.rows.clear()
		this.free = []
	}
	// Draw the rows that came into sight; with `all`, all.
	render(all = true) {
		const { scrollTop, clientHeight } = this.scroller
		const first = Math.max(0, Math.floor(scrollTop / this.height) - 3)
		const last = Math.min(this.count, Math.ceil((scrollTop + clientHeight) / this.height) + 3)
		for (const [index, row] of this.rows) {
			if (index >= first && index < last) continue
			this.rows.delete(index)
			this.free.push(row)
		}
		for (let index = first; index < last; index++) {
			let row = this.rows.get(index)
			if (row && !all) continue
			if (!row) {
				row = this.free.pop() ?? this.canvas.appendChild(this.make())
				Object.assign(row, { hidden: false, index, id: `${this.name}-${index}`, ariaPosInSet: index + 1 })
				row.style.transform = `translateY(${index * this.height}px)`
				this.rows.set(index, row)
			}
			row.ariaSetSize = this.count
			row.ariaSelected = index === this.chosen
			this.draw(row, index)
		}
		for (const row of this.free) hide(row, true)
		if (this.rows.has(this.chosen)) this.scroller.setAttribute("aria-activedescendant", `${this.name}-${this.chosen}`)
		else this.scroller.removeAttribute("aria-activedescendant")
	}
	show(index) {
		const { scrollTop, clientHeight } = this.scroller, top = index * this.height
		this.scroller.scrollTop = within(top + this.height - clientHeight, scrollTop, top)
	}
}
function option(name, parts, ...children) {
	const row = Object.assign(el("div", `row ${name}`, ...children), { role: "option", parts })
	parts.glyph.ariaHidden = "true"
	return row
}
function toEnd(scroller) { scroller.scrollTop = scroller.scrollHeight }
const isAtEnd = ({ scrollTop, clientHeight, scrollHeight }) => scrollTop + clientHeight >= scrollHeight - 24

// An event stream that goes on after the last event it had, and tries slower until something comes. `on` is told "live",
// "reconnecting", and "refused" where the server is there, but not this: true ends it.
class Stream {
	constructor(url, handlers, on) {
		Object.assign(this, { url, handlers, on, id: "", failures: 0, closed: false })
		this.open()
	}
	open() {
		this.pause()
		if (document.hidden || this.closed) return
		const at = this.id ? `&last_event_id=${encodeURIComponent(this.id)}` : ""
		const source = this.source = new EventSource(`${this.url}${at}`)
		source.onopen = () => this.on("live")
		source.onerror = () => this.lost(source.readyState === EventSource.CLOSED)
		for (const name in this.handlers) {
			source.addEventListener(name, ({ lastEventId, data }) => {
				if (this.source !== source) return
				this.id = lastEventId
				if (name !== "stepstream.interrupted") this.failures = 0
				this.handlers[name](data)
			})
		}
	}
	async lost(isRefused) {
		this.pause()
		this.on("reconnecting")
		const wait = Math.min(10, 2 ** this.failures++) * (0.5 + Math.random() / 2)
		if (isRefused) {
			const { ok, status } = await fetch("list", { cache: "no-store" }).catch(() => ({}))
			if (status === 401) { login(); return }
			if (ok && this.on("refused")) { this.close(); return }
		}
		if (!this.source) this.timer = setTimeout(() => this.open(), 1000 * wait)
	}
	pause() { clearTimeout(this.timer); this.source?.close(); this.source = null }
	close() { this.closed = true; this.pause() }
}

const runs = new Map() // summaries by id
let order = [], listed = [] // all of them, the newest first, and those that are shown
let place = { run: "", step: "", call: "", status: "", q: "" } // where the page is: what its address says
let open = null, listStream = null, skew = 0

// What is marked is drawn with the next frame; what ticks, some twenty times a second.
let marks = new Set(), isScheduled = false, tickedAt = 0
function need(...what) { for (const one of what) marks.add(one); schedule() }
function schedule() {
	if (isScheduled || document.hidden) return
	isScheduled = true
	requestAnimationFrame(draw)
}
function draw(at) {
	const now = marks, ticks = at - tickedAt >= (calm.matches ? 1000 : 50)
	isScheduled = false
	marks = new Set()
	if (ticks) tickedAt = at
	if (now.has("order")) sortRuns()
	if (now.has("order") || now.has("runs")) drawRuns()
	else if (ticks) runList.render()
	if (open) {
		if (open.view && now.has("rows")) open.layRows()
		const all = now.has("rows") || now.has("run")
		if (all || ticks) drawRun(all)
		if (now.has("step")) drawStep()
	}
	if (open?.isTicking || [...runList.rows.keys()].some((index) => listed[index] && !listed[index].ended)) setTimeout(schedule, calm.matches ? 500 : 16)
}

// the runs

function styleOf(one) {
	if (one?.state === "interrupted") return "bad"
	if (one?.state === "waiting" || one?.status === "requires_action") return "waiting"
	if (one?.state === "open") return "busy"
	return { completed: "good", failed: "bad", incomplete: "partial" }[one?.status || "completed"] ?? "stopped"
}
const groupOf = (one) => styleOf(one).replace("partial", "stopped")

const runList = new List($("#runs"), 66, () => {
	const p = spans("glyph name time what id counts")
	return option("of-run", p, el("div", "", p.glyph, p.name, p.time), el("div", "", p.what), el("div", "", p.id, p.counts))
}, (row, index) => {
	const one = listed[index], style = styleOf(one), { parts } = row, isWhy = one?.reason && style !== "good"
	if (!one) return
	const most = style === "busy" ? 42 : 110
	mark(row, "style", style)
	write(parts.glyph, GLYPHS[style])
	write(parts.name, one.model || "run")
	const end = one.ended ?? Date.now() / 1000 + skew, exact = one.state === "ended"
	write(parts.time, `${words(one.state === "interrupted" ? one.state : one.status, style)} ${took(end - one.opened, exact)}`)
	named(parts.what, isWhy ? "v what why" : "v what")
	write(parts.what, isWhy ? one.reason : one.text.length > most ? `…${one.text.slice(-most).replace(/^\S+ /, "")}` : one.text)
	write(parts.id, one.id)
	const failed = one.failed_steps ? `${one.failed_steps} failed of ` : ""
	write(parts.counts, `${failed}${count(one.steps, "step")} · ${count(one.calls, "call")}${one.tokens ? ` · ${short(one.tokens)} tok` : ""}`)
})

function takeRuns(list, isWhole) {
	if (isWhole) runs.clear()
	for (const one of list) {
		if (one.gone) { runs.delete(one.id); continue }
		runs.set(one.id, one)
		skew = Math.max(skew, one.opened - Date.now() / 1000)
	}
	need("order")
	if (place.run || narrow.matches) return
	// the one that wants somebody most is shown first
	const rank = { waiting: 0, busy: 1, bad: 2 }, of = (one) => rank[styleOf(one)] ?? 3
	const [first] = [...runs.values()].sort((a, b) => of(a) - of(b) || b.opened - a.opened)
	if (first) go({ run: first.id }, true)
}
function sortRuns() {
	const { scrollTop } = runList.scroller, top = listed[Math.floor(scrollTop / runList.height)]
	const sought = place.q.toLowerCase(), told = ["id", "model", "status", "state", "reason", "text"]
	order = [...runs.values()].sort((a, b) => b.opened - a.opened || (a.id < b.id ? 1 : -1))
	listed = order.filter((one) => (!place.status || groupOf(one) === place.status)
		&& (!sought || told.some((name) => one[name].toLowerCase().includes(sought))))
	runList.resize(listed.length)
	const at = listed.indexOf(runs.get(top?.id))
	if (scrollTop > 8 && at > 0) { // who reads further down is not moved
		runList.scroller.scrollTop = at * runList.height + scrollTop % runList.height
	}
}
function drawRuns() {
	const counts = { "": order.length }
	for (const one of order) counts[groupOf(one)] = (counts[groupOf(one)] ?? 0) + 1
	for (const button of $("#filters").children) {
		write(button.lastChild, String(counts[button.value] ?? 0))
		button.ariaPressed = button.value === place.status
	}
	write(runList.empty, order.length ? "No run is like that." : "No runs yet.")
	runList.chosen = listed.findIndex((one) => one.id === place.run)
	runList.render()
	document.title = `${counts.waiting ? `${counts.waiting} waiting · ` : ""}${counts.busy ? `${counts.busy} running · ` : ""}stepstream`
}
// one run

// A run as its view says it, and when this page saw what of it. What happens while it looks is timed here, by the run's
// clock: ours, moved as little as makes it agree with the server's whole seconds.
class OpenRun {
	constructor(id) {
		Object.assign(this, {
			id, view: null, rows: [], places: new Map(), messages: new Map(), seen: new Map(), waits: [], note: "",
			state: "connecting", follows: !place.step, skew: 0, unseen: 0, from: 0, to: 1, end: 1,
		})
		this.base = `runs/${encodeURIComponent(id)}`
		this.stream = new Stream(`${this.base}/events?as=view`, {
			"stepstream.view": (data) => this.begin(JSON.parse(data)),
			"stepstream.gap": (data) => this.gap(JSON.parse(data).reason),
			"stepstream.interrupted": (data) => { this.reason = JSON.parse(data).reason; this.tell("interrupted") },
			done: () => { this.stream.close(); this.tell("ended") },
			message: (data) => this.patch(JSON.parse(data)),
		}, (what) => {
			if (what === "refused") return this.refused()
			if (this.state !== "interrupted" && (what !== "live" || this.view)) this.tell(what)
		})
	}
	get now() { return Date.now() / 1000 + this.skew }
	get run() { return this.view.run ?? { style: "busy" } }
	get isOver() { return this.state === "ended" || OVER.has(this.run.style) }
	get isTicking() { return this.view && !this.isOver }

	tell(state) { if (this.state !== state) { this.state = state; need("run") } }
	refused() {
		const isOver = this.view && (this.isOver || runs.get(this.id)?.state === "ended")
		this.tell(isOver ? "ended" : "gone")
		return true
	}
	gap(reason) {
		this.note = `Some of what happened is left out (${reason}). This is the run as it is now.`
		this.tell("gap")
	}
	begin(view) {
		this.view = view
		this.laid = null
		this.places = new Map(view.steps.map((step, at) => [step.id, at]))
		this.said = view.run?.status
		if (this.said && this.said !== "queued") this.started ??= null // that was not seen here
		this.learn(false)
		this.before = view.steps.length // what had ended by then was not seen here
		for (const step of view.steps) {
			const isLate = !step.created_at && !this.seen.has(step.id) // who knows when it began
			if (!step.is_over) this.observe(step, step.created_at ? null : this.now, isLate)
		}
		this.tell("live")
		need("rows", "step")
		if (!place.step && this.isOver && !narrow.matches) { // what failed is shown first
			const step = view.steps.find((one) => one.style === "bad") ?? view.steps.at(-1)
			if (step) go({ step: step.id }, true)
		}
	}
	patch(operations) {
		const touched = new Set()
		try {
			for (const one of operations) {
				const part = this.apply(one, touched)
				if (part) stepPane.grow(part, one.value)
			}
		} catch { // that is not the run that the patch is for: join it again
			this.stream.id = ""
			this.stream.open()
			return
		}
		if (this.state !== "live") this.tell("live")
		if (!touched.size) { schedule(); return }
		this.learn(true)
		for (const at of touched) {
			const step = this.view.steps[at]
			if (step && (at >= this.before || this.seen.has(step.id))) this.observe(step, this.now)
			if (!this.laid || (step ? !this.update(step, +at) : at === "messages")) need("rows")
		}
		if (touched.has("run")) this.observeRun()
		need("run", "step")
	}
	// Return the part that only grew; note what else it touched, a place of a step or a list.
	apply({ op, path, value: given }, touched) {
		const [list, at, ...keys] = path.split("/").slice(1).map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"))
		if (list === undefined) { this.view = given; touched.add("run"); return null }
		const way = [list, at, ...keys].filter((key) => key !== undefined), last = way.pop()
		let holder = this.view
		for (const key of way) holder = holder[key]
		if (op === "append") holder[last] += given
		else if (!Array.isArray(holder)) { if (op === "remove") delete holder[last]; else holder[last] = given }
		else if (op === "replace") holder[last] = given
		else holder.splice(last === "-" ? holder.length : last, op === "remove" ? 1 : 0, ...(op === "remove" ? [] : [given]))
		if (op === "append" && last === "text") return holder
		if (list === "steps" && at === "-") {
			this.places.set(given.id, holder.length - 1)
			touched.add(holder.length - 1)
			if (!this.follows) this.unseen++
		} else touched.add(list === "steps" ? at : list)
		return null
	}
	learn(isLive) {
		const { run, steps } = this.view, last = steps.slice(-3)
		const stamps = [run, ...last].flatMap((one) => [one?.created_at, one?.started_at, one?.ended_at])
		const newest = Math.max(...stamps.map((at) => at ?? 0))
		if (newest <= (this.newest ?? 0)) return
		this.newest = newest
		const least = newest - Date.now() / 1000
		if (this.skew < least) this.skew = least
		else if (isLive && this.skew > least + 2 && !this.isOver) this.skew = least + 1
	}
	observe(step, now, isLate) {
		const look = (table, key, isOver) => {
			if (!table.has(key)) table.set(key, { start: now, end: undefined, isLate, calls: new Map() })
			const seen = table.get(key)
			if (isOver && seen.end === undefined) seen.end = now
			return seen.calls
		}
		const calls = look(this.seen, step.id, step.is_over)
		for (const call of step.calls ?? []) look(calls, call.id ?? "", step.is_over || OVER.has(call.style))
	}
	observeRun() {
		const { now, run, waits } = this, last = waits.at(-1), isWaiting = run.style === "waiting"
		this.begun ??= this.said === undefined ? now : null
		if (run.status !== "queued" && this.started === undefined) this.started = now
		if (isWaiting && !(last && last.to === Infinity)) waits.push({ from: now, to: Infinity })
		if (!isWaiting && last?.to === Infinity) last.to = now
		if (OVER.has(run.style)) this.stopped ??= now
		const news = isWaiting ? this.awaited : OVER.has(run.style) ? `Run ${run.status}. ${run.error ? why(run.error) : ""}` : ""
		if (run.status !== this.said && news) say(news)
		this.said = run.status ?? ""
	}
	get awaited() {
		const calls = this.run.awaits ?? []
		return `Waits for ${calls.some((one) => one.kind === "approval") ? "approval" : "output"}: ${[...new Set(calls.map((one) => one.name))].join(", ")}`
	}
	// What is waited for may be over itself, as the calls of a response are.
	isAwaited(call) { return this.run.awaits?.some((one) => one.id === call.id) }
	styleOf(step, call) {
		const waits = call ? this.isAwaited(call) : step.calls?.some((one) => this.isAwaited(one))
		return waits ? "waiting" : (call ?? step).style
	}
	get zero() { return this.begun ?? this.run.created_at ?? this.view.steps[0]?.created_at ?? (this.joined ??= this.now) }
	get length() {
		const { run } = this, last = this.view.steps.slice(-3).map((step) => step.ended_at ?? 0)
		const stop = this.stopped ?? (this.isOver ? Math.max(run.ended_at ?? this.newest, ...last) : this.now)
		return Math.max(stop - this.zero, 0)
	}
	// From when to when a step or call is, in seconds of the run, and whether that was seen here, "over": only its end.
	span(step, call) {
		const seen = this.seen.get(step.id), one = (call && seen?.calls.get(call.id ?? "")) ?? seen
		const start = Math.max(0, (one?.start ?? step.created_at ?? this.zero) - this.zero)
		if (!step.is_over && !(call && OVER.has(call.style))) return { start, end: this.length, exact: one?.isLate ? "over" : true }
		const end = one?.start ?? step.created_at ? (one?.end ?? step.ended_at ?? this.zero + start) - this.zero : NaN // unknown
		return { start, end: end < start ? start : end, exact: !!one?.start && !!one.end && (!one.isLate || "over") }
	}
	// Make all rows anew, where one comes between others.
	layRows() {
		const { steps, messages } = this.view, written = new Set(steps.map((step) => step.message))
		this.messages = new Map(messages.map((message) => [message.id, message]))
		Object.assign(this, { rows: [{}], laid: [], going: new Set(), failed: [], calls: 0, longest: null, isPartial: false })
		for (const step of messages) if (!written.has(step.id)) this.rows.push({ step })
		steps.forEach((step, at) => this.update(step, at))
	}
	// Take what became of a step. Return whether it has as many rows.
	update(step, at) {
		const { laid, going, failed } = this, calls = step.calls ?? [], had = laid[at]
		if (had === undefined) {
			this.rows.push({ step })
			if (calls.length > 1) for (const call of calls) this.rows.push({ step, call })
		}
		laid[at] = calls.length
		const { end, exact } = this.span(step)
		if (isNaN(end) || exact === "over") this.isPartial = true
		this.calls += calls.length - (had ?? 0)
		if (!step.is_over) going.add(step)
		else if ((had === undefined || going.delete(step)) && this.lasted(step) > this.lasted(this.longest)) this.longest = step
		if (step.style === "bad" && !failed.includes(step)) failed.push(step)
		return had === undefined || had === calls.length || (had < 2 && calls.length < 2)
	}
	lasted(step) {
		const { start, end } = step ? this.span(step) : { start: 0, end: -1 }
		return end - start
	}
	get slowest() { return [...this.going].reduce((a, b) => this.lasted(b) > this.lasted(a) ? b : a, this.longest) }
	// What the model does now, the part that grows, and its step.
	get doing() {
		const { steps } = this.view, message = [...this.messages.values()].slice(-3).findLast((one) => !one.is_over && one.role !== "user")
		if (message) return ["Writing", message.parts?.at(-1), steps.findLast((step) => step.message === message.id)]
		const step = steps.slice(-50).findLast((one) => !one.is_over && this.styleOf(one) !== "waiting")
		const call = step?.calls?.findLast((one) => one.style === "busy"), part = (call ?? step)?.parts?.at(-1)
		const what = part?.kind === "thought" ? "Thinking" : call ? `Calling ${call.name}` : "Working"
		return step ? [what, part, step] : null
	}
}
const isChosen = ({ step, call }) => (step?.id ?? "") === place.step && (call ? call.id ?? "" : "") === place.call

const stepList = new List($("#run"), 28, () => {
	const p = spans("glyph name kind bar wait took quiet")
	return option("of-step", p, el("div", "label", p.glyph, p.name, p.kind), el("div", "lane", p.bar, p.wait, p.took), p.quiet)
}, (row, index) => {
	const { step, call } = open?.rows[index] ?? {}
	if (!open?.rows[index]) return
	const { run, waits, zero } = open, only = call ?? (step?.calls?.length === 1 ? step.calls[0] : null)
	const style = step ? open.styleOf(step, call) : run.style, queued = step ? 0 : queuedFor(open)
	const title = call?.name ?? step?.title ?? (step ? `message by ${step.role ?? "?"}` : "Run")
	const kind = only && only.kind !== only.name ? only.kind.replaceAll("_", " ") : queued >= 0.05 ? `queued ${took(queued, open.started)}` : ""
	const { start, end, exact } = step ? open.span(step, call) : { start: queued, end: open.length, exact: open.begun || !open.isOver }
	const { parts } = row, wait = step?.calls && waits.at(-1)
	named(row, `row of-step ${call ? "child" : step ? "" : "whole"}`)
	named(parts.bar, step && !call && step === open.shown && open.view.steps.length > 1 ? "bar slow" : "bar")
	mark(row, "style", style)
	write(parts.glyph, GLYPHS[style] ?? "·")
	write(parts.name, title)
	write(parts.kind, kind)
	write(parts.quiet, `, ${words((call ?? step ?? run).status, style)}`)
	write(parts.took, took(end - start, exact))
	lay(parts.bar, start, end)
	if (step) lay(parts.wait, Math.max(start, (wait?.from ?? Infinity) - zero), Math.min(end, (wait?.to ?? 0) - zero))
	else lay(parts.wait, 0, queued)
	const left = (end - open.from) * 100 / (open.to - open.from)
	parts.took.style.left = `${within(0, left || 0, 100).toFixed(2)}%`
	parts.took.classList.toggle("before", left > 90)
})
function queuedFor({ run, started, zero, length, view }) {
	if (run.status === "queued" && !(started ?? view.steps[0])) return length
	const first = view.steps[0]?.created_at ?? Infinity // it may be queued again
	return Math.max(0, (started ?? Math.min(run.started_at, first)) - zero) || 0
}
function lay(bar, start, end) {
	const scale = 100 / (open.to - open.from), left = Math.max(-1, (start - open.from) * scale)
	const width = Math.min(102, (end - open.from) * scale) - left
	const isGone = !(width >= 0) || left > 100 || (width < 0.01 && bar.matches(".wait"))
	hide(bar, isGone)
	if (isGone) return
	bar.style.left = `${left.toFixed(2)}%`
	bar.style.width = `${width.toFixed(2)}%`
}

function drawRun(all) {
	const run = open
	if (all) drawBanner(run)
	$("#errors").disabled = !run.failed?.length
	if (!run.view) return
	if (!run.isZoomed) {
		const { length } = run
		if (run.isOver) run.end = Math.max(length, 0.5) * 1.2
		else if (length * 1.2 > run.end || length * 2 < run.end) run.end = Math.max(length, 0.7) * 1.5
		Object.assign(run, { from: 0, to: run.end })
	}
	drawAxis(run)
	if (all || performance.now() - run.drawnAt > 240) {
		run.drawnAt = performance.now()
		drawFacts(run)
		drawCards(run)
	}
	if (all) {
		stepList.resize(run.rows.length, narrow.matches ? 32 : 28)
		stepList.chosen = run.rows.findIndex(isChosen)
		run.shown = run.slowest
		if (run.follows && !run.isOver) followOn()
	}
	stepList.render()
	if (isAtEnd(stepList.scroller)) run.unseen = 0
	hide($("#run .new"), !run.unseen)
	write($("#run .new"), `${run.unseen} new ↓`)
	$("#follow").ariaPressed = run.follows && !run.isOver
	$("#follow").disabled = run.isOver
	if (run.isTicking) stepPane.tick()
}
function followOn() {
	toEnd(stepList.scroller)
	const step = open.view.steps.at(-1)
	if (!step || place.step === step.id) return
	Object.assign(place, { step: step.id, call: "" })
	writePlace(true)
	need("run", "step")
}
function drawAxis(run) {
	const { from, to } = run, key = `${from} ${to}`
	if (run.axis === key) return
	run.axis = key
	const rough = (to - from) / (narrow.matches ? 3 : 6), unit = 10 ** Math.floor(Math.log10(rough))
	const step = [1, 2, 5, 10].find((n) => n * unit >= rough) * unit, ticks = []
	for (let at = Math.ceil(from / step - 1e-9) * step; at < to - (to - from) / 9; at += step) {
		const tick = el("span", "", at >= 60 ? took(at, true) : `${+at.toFixed(3)} s`)
		tick.style.left = `${(at - from) * 100 / (to - from)}%`
		ticks.push(tick)
	}
	$("#axis").replaceChildren(...ticks)
}
function drawBanner({ state, reason, note }) {
	const text = {
		interrupted: `Interrupted (${reason}). If it goes on, so does this page.`,
		reconnecting: "The connection is lost. The page tries again; nothing is lost.",
		gone: "There is no such run, or it is not kept any more.",
	}[state] ?? note
	mark($("#banner"), "state", state)
	write($("#banner").firstChild, capital(state))
	write($("#notice span"), text)
	hide($("#notice"), !text)
}
function drawHead(pane, title, style, status) {
	write($(`${pane} h2`), title)
	mark($(`${pane} .state`), "style", style)
	write($(`${pane} .state`), words(status, style))
}
function drawFacts(one) {
	const { run, view, failed } = one, { usage } = run
	drawHead("#run", run.model || one.id, run.style, run.status)
	const told = [one.id, `began ${clock(run.created_at ?? one.zero)}`, `took ${took(one.length, one.begun && one.isOver)}`,
		count(view.steps.length, "step"), count(one.calls, "call")]
	if (failed.length) told.push(`${number(failed.length)} failed`)
	if (usage) told.push(`${short(usage.total_tokens ?? 0)} tokens (${short(usage.prompt_tokens ?? 0)} in, ${short(usage.completion_tokens ?? 0)} out)`)
	fill($("#run .facts"), told, value, write)
}
// Give a node a child for each entry.
function fill(node, entries, make, draw) {
	entries.forEach((entry, at) => draw(node.children[at] ?? node.appendChild(make()), entry))
	while (node.children.length > entries.length) node.lastChild.remove()
}
function drawCards(one) {
	const { run, view, failed, slowest } = one, cards = [], first = run.awaits?.[0]
	if (first) {
		const step = view.steps.findLast((step) => step.id === first.id || step.calls?.some((call) => call.id === first.id))
		const [title, names] = one.awaited.split(": ")
		cards.push(["waiting", title, names, step])
	}
	for (const step of failed.slice(0, 2)) cards.push(["bad", `Failed: ${step.title}`, why(step.error), step])
	if (run.error && !failed.some((step) => why(step.error) === why(run.error))) cards.push([run.style, "The run failed", why(run.error)])
	else if (run.reason) cards.push([run.style, `The run is ${words(run.status)}`, run.reason])
	const doing = one.isOver ? null : one.doing
	if (doing) cards.push(["busy", doing[0], (doing[1]?.text ?? "").slice(-160), doing[2], "tail"])
	const many = view.steps.length > 1
	if (slowest && many) {
		const { start, end, exact } = one.span(slowest)
		cards.push([one.styleOf(slowest), one.isPartial ? "Slowest timed step" : "Slowest step", `${slowest.title} · ${took(end - start, exact)}`, slowest])
	} else if (many && one.isPartial) cards.push(["unknown", "Slowest step", "not known: they were not seen here"])
	fill($("#now"), cards, () => el("li", "", el("button", "", el("b", "v"), el("span"))), ({ firstChild: button }, [style, title, text, step, kind]) => {
		mark(button, "style", style)
		write(button.firstChild, title)
		named(button.lastChild, `v ${kind ?? ""}`)
		write(button.lastChild, text)
		button.goal = step?.id ?? ""
	})
}

// one step

const PIECE = 16_384 // characters of an element: what is out of sight is not laid out

// A text that may grow, with its title above it.
class Block {
	constructor(part) {
		this.shown = ""
		this.text = el("div", "text")
		this.head = el("h3")
		const copy = el("button", "", "Copy")
		copy.onclick = async () => {
			write(copy, await navigator.clipboard.writeText(this.full ?? this.part.text).then(() => "Copied", () => "Refused"))
			setTimeout(write, 1200, copy, "Copy")
		}
		this.bar = el("div", "bar-of", this.head, copy)
		this.node = el("div", "block", this.bar, this.text)
		this.part = part
	}
	sync(part, title, isGrowing = false) {
		this.part = part
		write(this.head, title)
		named(this.text, `text${isGrowing ? " growing" : ""}${PROSE.has(part.kind) ? " prose" : ""}`)
		if (this.full) return this
		this.offer(part.skipped)
		const text = isGrowing || PROSE.has(part.kind) ? part.text : laidOut(part.text)
		if (text === this.shown) return this
		if (!this.shown || !text.startsWith(this.shown)) { this.text.replaceChildren(); this.shown = "" }
		this.append(text.slice(this.shown.length))
		return this
	}
	// A new element begins behind a line end, if one is near.
	append(piece) {
		this.shown += piece
		for (let at = 0; at < piece.length;) {
			let last = this.text.lastChild
			if (!last || last.size >= PIECE && (last.firstChild.data.endsWith("\n") || last.size > 4 * PIECE)) {
				last = Object.assign(this.text.appendChild(el("pre")), { size: 0 })
				last.append(document.createTextNode(""))
			}
			const line = piece.indexOf("\n", at + Math.max(0, PIECE - last.size)) + 1
			const some = piece.slice(at, within(0, line || Infinity, at + 4 * PIECE))
			last.firstChild.appendData(some)
			last.size += some.length
			at += some.length
		}
	}
	offer(skipped) {
		if (!skipped) { this.more?.remove(); this.more = null; return }
		if (!this.more) {
			this.more = el("button")
			this.more.onclick = () => this.load()
			this.bar.insertBefore(this.more, this.bar.lastChild)
		}
		const size = skipped + this.part.text.length
		write(this.more, `Load all ${number(Math.round(size / 1024))} kB`)
	}
	async load() {
		const found = textLike(await fetchStep().catch(() => null), this.part)
		if (found === undefined) { write(this.more, "Try again"); return }
		this.full = found
		this.offer(0)
		this.text.replaceChildren()
		for (let at = 0; at < found.length; at += 8 * PIECE) { // some a frame: who looks can scroll meanwhile
			this.append(found.slice(at, at + 8 * PIECE))
			await new Promise(requestAnimationFrame)
		}
	}
}
function laidOut(text) {
	if (!/^\s*[[{]/.test(text)) return text
	try { return JSON.stringify(JSON.parse(text), null, 2) } catch { return text }
}
// The text of which a part has the end.
function textLike(whole, part) {
	if (typeof whole === "string") return whole.length > part.text.length && whole.endsWith(part.text.slice(-1000)) ? whole : undefined
	for (const one of whole && typeof whole === "object" ? Object.values(whole) : []) {
		const found = textLike(one, part)
		if (found !== undefined) return found
	}
}
async function fetchStep() {
	const answer = await fetch(place.step ? `${open.base}/steps/${encodeURIComponent(place.step)}` : open.base, { cache: "no-store" })
	if (answer.status === 401) login()
	if (!answer.ok) throw new Error(`Status ${answer.status}`)
	const got = await answer.json()
	return place.step ? got : got.run
}

const stepPane = {
	key: "", unseen: 0, kept: new Map(), used: new Set(), scroller: $("#step .scroller"),
	// Return the node or block of a name, a new one where there is none.
	keep(name, make) {
		this.used.add(name)
		if (!this.kept.has(name)) this.kept.set(name, make())
		return this.kept.get(name)
	},
	grow(part, piece) {
		for (const block of this.kept.values()) {
			if (block.part !== part || block.full) continue
			const wasAtEnd = isAtEnd(this.scroller)
			if (block.shown.length + piece.length === part.text.length) block.append(piece)
			else block.sync(part, block.head.textContent, true)
			if (wasAtEnd) this.toEnd()
			else this.unseen += piece.split("\n").length - (this.unseen ? 1 : 0)
			this.tell()
		}
	},
	toEnd() { requestAnimationFrame(() => toEnd(this.scroller)) },
	tell() {
		if (isAtEnd(this.scroller)) this.unseen = 0
		hide($("#step .new"), !this.unseen)
		write($("#step .new"), `${count(this.unseen, "new line")} ↓`)
	},
	tick() {
		if (!this.timed || !open) return
		const { start, end, exact } = open.span(...this.timed)
		write(this.time, isNaN(end) ? "not timed" : `at ${start.toFixed(1)} s, took ${took(end - start, exact)}`)
	},
}

function drawStep() {
	const { view } = open, pane = stepPane, key = `${open.id}\n${place.step}\n${place.call}`
	const step = view?.steps[open.places.get(place.step)] ?? view?.messages.find((one) => one.id === place.step)
	const isGone = !view || (place.step && !step)
	hide($("#step"), isGone)
	if (isGone) return
	if (key !== pane.key) {
		Object.assign(pane, { key, unseen: 0, kept: new Map() })
		pane.scroller.replaceChildren()
	}
	const wasAtEnd = isAtEnd(pane.scroller)
	pane.used = new Set()
	const nodes = step ? stepNodes(step) : runNodes(view.run ?? {})
	for (const name of pane.kept.keys()) if (!pane.used.has(name)) pane.kept.delete(name)
	const there = pane.scroller.childNodes
	if (nodes.length !== there.length || nodes.some((node, at) => node !== there[at])) pane.scroller.replaceChildren(...nodes)
	if (open.follows && !open.isOver && wasAtEnd) pane.toEnd()
	pane.tell()
}
const node = (name, ...made) => stepPane.keep(name, () => el(...made))
function stepNodes(step) {
	const isMessage = step.title === undefined, message = isMessage ? step : open.messages.get(step.message)
	const only = place.call && step.calls?.find((call) => call.id === place.call), nodes = []
	drawHead("#step", step.title ?? `message by ${step.role}`, open.styleOf(step), step.status)
	const facts = node("facts", "p", "facts", value("id"), el("span"))
	write(facts.firstChild, step.id)
	Object.assign(stepPane, { time: facts.lastChild, timed: [step, only || undefined] })
	stepPane.tick()
	nodes.push(facts, ...troubles(step))
	for (const [at, call] of (step.calls ?? []).entries()) {
		if (only && call !== only) continue
		const style = open.styleOf(step, call), of = open.run.awaits?.find((one) => one.id === call.id)
		const title = node(`call ${at}`, "div", "call", el("span", "glyph"), el("strong", "v"), value("id"), el("span", "state"))
		mark(title, "style", style)
		const told = [GLYPHS[style], call.name, `${call.kind === call.name ? "" : call.kind.replaceAll("_", " ")} ${call.id ?? ""}`,
			words(call.status ?? (style === "good" ? "done" : step.status), style)]
		fill(title, told, el, write)
		nodes.push(title)
		if (style === "waiting" && of) nodes.push(trouble(`awaits ${at}`, `Waits for ${of.kind}`, "The run goes on once it is given.", " awaited"))
		nodes.push(...blocks(at, call.parts, style === "busy" && !step.is_over))
	}
	if (!isMessage) nodes.push(...blocks("own", step.parts, !step.is_over))
	if (message) nodes.push(...blocks("message", message.parts, !message.is_over, "Text"))
	return [...nodes, ...usage(step.usage), raw()]
}
function runNodes(run) {
	drawHead("#step", "Run", run.style, run.status)
	const facts = node("facts", "p", "facts")
	fill(facts, [run.id, run.thread_id].filter(Boolean), () => value("id"), write)
	stepPane.timed = null
	const awaits = (run.awaits ?? []).map((one, at) => trouble(`awaits ${at}`, `Waits for ${one.kind}`, `${one.name} ${one.id}`, " awaited"))
	return [facts, ...troubles(run), ...awaits, ...usage(run.usage), raw()]
}
function trouble(name, title, text, kind = "") {
	const made = node(name, "div", `failure${kind}`, el("b", "v"), value())
	fill(made, [title, text], el, write)
	return made
}
function troubles({ error, reason, status }) {
	const found = []
	if (error) found.push(trouble("error", error.code ?? "error", error.message ?? "no reason given"))
	if (reason) found.push(trouble("reason", words(status), reason))
	return found
}
function blocks(prefix, parts = [], isGrowing, ofText = KINDS.text) {
	return parts.map((part, at) => {
		const title = part.kind === "text" ? ofText : KINDS[part.kind] ?? capital(part.kind)
		const block = stepPane.keep(`${prefix}/${at}/${part.kind}`, () => new Block(part))
		return block.sync(part, title, isGrowing && at === parts.length - 1).node
	})
}
function usage(given) {
	const lines = Object.entries(given ?? {}).flatMap(([name, n]) => typeof n === "number" ? [[name, n]] : Object.entries(n ?? {}))
	const told = lines.filter(([, n]) => typeof n === "number" && n).map(([name, n]) => [name.replaceAll("_", " "), number(n)])
	if (!told.length) return []
	const table = node("usage", "table", "", el("tbody"))
	fill(table.firstChild, told, () => el("tr", "", el("th"), el("td")), (line, words) => fill(line, words, el, write))
	return [node("usage title", "h3", "", "Usage"), table]
}
function raw() {
	return stepPane.keep("raw", () => {
		const made = el("details", "", el("summary", "", "Raw JSON"))
		made.ontoggle = async () => {
			if (!made.open) return
			const text = await fetchStep().then((got) => JSON.stringify(got, null, 2), (error) => error.message)
			made.querySelector(".block")?.remove()
			made.append(new Block().sync({ kind: "raw", text }, "As it is now").node)
		}
		return made
	})
}

// where the page is, and what is done with it

function writePlace(isQuiet) {
	const address = `#${new URLSearchParams(Object.entries(place).filter(([, text]) => text))}`
	if (address !== (location.hash || "#")) history[isQuiet ? "replaceState" : "pushState"](null, "", address)
}
function readPlace() {
	const params = new URLSearchParams(location.hash.slice(1))
	for (const name in place) place[name] = params.get(name) ?? ""
	$("#search").value = place.q
	enter(place.step ? "step" : place.run ? "run" : "runs")
}
function go(change, isQuiet = false) {
	const isOther = change.run !== undefined && change.run !== place.run
	Object.assign(place, isOther && { step: "", call: "" }, change)
	writePlace(isQuiet)
	enter(document.body.dataset.pane)
}
function enter(pane) {
	document.body.dataset.pane = pane
	if ((open?.id ?? "") !== place.run) {
		open?.stream.close()
		open = place.run ? new OpenRun(place.run) : null
		stepList.clear()
		stepList.resize(0)
		for (const node of [$("#now"), $("#axis"), $("#run .facts"), $("#run .state"), stepPane.scroller]) node.replaceChildren()
		write($("#run h2"), place.run)
		hide($("#run"), !open)
		hide($("#step"), true)
		stepPane.key = ""
	}
	need("runs", "run", "step")
}
function choose({ step, call } = {}, pane = document.body.dataset.pane, isQuiet) { // somebody chose: that stays
	open.follows = false
	go({ step: step?.id ?? "", call: call?.id ?? "" }, isQuiet)
	enter(pane)
	const at = open.rows.findIndex(isChosen)
	if (at < 0) return
	stepList.show(at)
	if (!open.isZoomed || !step) return
	const { start, end } = open.span(step, call), length = open.to - open.from
	if (end < open.from || start > open.to) look(start - length / 4, length)
}
// Show so many seconds from one on, all where there are fewer.
function look(from, length) {
	if (!open?.view) return
	open.isZoomed = length < open.end
	open.from = within(0, from, Math.max(0, open.end - length))
	open.to = open.from + length
	need("run")
}
function zoom(factor) {
	const was = open?.to - open?.from, length = Math.max(0.01, was * factor)
	look(open?.from + (was - length) / 2, length)
}
function pan(part) { if (open?.isZoomed) look(open.from + (open.to - open.from) * part, open.to - open.from) }
const fit = () => look(0, Infinity)
function follow(is) {
	if (!open) return
	open.follows = is
	if (is) { open.unseen = 0; toEnd(stepList.scroller); stepPane.toEnd() }
	need("run", "step")
}
function nextError() {
	const { failed = [], places } = open ?? {}, at = places?.get(place.step) ?? -1
	failed.sort((a, b) => places.get(a.id) - places.get(b.id))
	const step = failed.find((one) => places.get(one.id) > at) ?? failed[0]
	if (step) choose({ step })
}
let sayTimer
function say(text) { // once a second: a screen reader must come to its end
	clearTimeout(sayTimer)
	sayTimer = setTimeout(() => { $("#said").textContent = text }, 1000)
}
function login() {
	listStream?.pause()
	open?.stream.pause()
	if (!$("#login").open) $("#login").showModal()
}
function move(by) {
	if (open && active() !== runList.scroller) {
		const row = open.rows[within(0, open.rows.findIndex(isChosen) + by, open.rows.length - 1)]
		if (row) choose(row, undefined, true)
		return
	}
	const at = within(0, runList.chosen + by, listed.length - 1)
	if (!listed[at]) return
	go({ run: listed[at].id }, true)
	runList.show(at)
	runList.scroller.focus({ preventScroll: true })
}
const PANES = ["runs", "run", "step"], SCROLLERS = [runList.scroller, stepList.scroller, stepPane.scroller]
function step(by) { // into the next pane, or back
	const at = PANES.findIndex((name) => $(`#${name}`).contains(active())) + by
	if (by > 0 && !SCROLLERS.slice(0, 2).includes(active())) return false
	enter(PANES[Math.max(0, at)])
	setTimeout(() => SCROLLERS[Math.max(0, at)].focus({ preventScroll: true }), 50)
	return true
}
const KEYS = {
	j: () => move(1), k: () => move(-1), e: nextError, l: () => follow(!open?.follows), "?": () => $("#help").showModal(),
	"/": () => { if (narrow.matches) enter("runs"); $("#search").focus(); $("#search").select() },
	"+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: fit, Escape: () => step(-1),
}
const LIST_KEYS = {
	ArrowDown: KEYS.j, ArrowUp: KEYS.k, Home: () => move(-Infinity), End: () => move(Infinity), Enter: () => step(1),
	ArrowLeft: () => pan(-0.25), ArrowRight: () => pan(0.25),
}
addEventListener("keydown", (event) => {
	const at = active(), isTyping = at.matches("input")
	if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open]") || (isTyping && event.key !== "Escape")) return
	const act = KEYS[event.key] ?? (at.role === "listbox" ? LIST_KEYS[event.key] : null)
	if (act && act() !== false) event.preventDefault()
})
const to = (pane) => narrow.matches ? pane : document.body.dataset.pane
runList.canvas.onclick = ({ target }) => {
	const one = listed[target.closest(".row")?.index]
	if (one) { go({ run: one.id }); enter(to("run")) }
}
stepList.canvas.onclick = ({ target }) => {
	const row = open?.rows[target.closest(".row")?.index]
	if (row) choose(row, to("step"))
}
$("#now").onclick = ({ target }) => {
	const button = target.closest("button")
	if (button) choose({ step: open.view.steps[open.places.get(button.goal)] }, to("step"))
}
for (const back of document.querySelectorAll(".back")) back.onclick = () => enter(back.dataset.pane)
for (const status in FILTERS) {
	const button = $("#filters").appendChild(el("button", "", FILTERS[status], el("b", "", "0")))
	button.value = status
	if (status) button.dataset.style = status
	button.onclick = () => { runList.scroller.scrollTop = 0; go({ status: place.status === status ? "" : status }); need("order") }
}
$("#search").oninput = ({ target }) => { runList.scroller.scrollTop = 0; go({ q: target.value }, true); need("order") }
$("#run .new").onclick = () => follow(true)
$("#step .new").onclick = () => stepPane.toEnd()
$("#follow").onclick = () => follow(!open.follows)
$("#errors").onclick = nextError
$("#in").onclick = () => zoom(0.5)
$("#out").onclick = () => zoom(2)
$("#fit").onclick = fit
$("#help-open").onclick = KEYS["?"]
$("#notice button").onclick = () => { open.note = ""; need("run") }

// Who scrolls up stops following; `l`, the button, or the pill goes on.
function unfollow() { if (open?.follows) { open.follows = false; need("run") } }
for (const { scroller } of [stepList, stepPane]) {
	scroller.addEventListener("wheel", (event) => { if (event.deltaY < 0) unfollow() }, passive)
	scroller.addEventListener("touchmove", unfollow, passive)
	scroller.addEventListener("keydown", ({ key }) => { if (["PageUp", "PageDown", " "].includes(key)) unfollow() })
}
stepPane.scroller.addEventListener("scroll", () => stepPane.tell())
$("#login").oncancel = (event) => event.preventDefault()
$("#login form").onsubmit = async (event) => {
	event.preventDefault()
	const body = JSON.stringify({ token: $("#token").value }), headers = { "content-type": "application/json" }
	const answer = await fetch("login", { method: "POST", headers, body }).catch(() => null)
	write($(".wrong"), answer ? await answer.text() : "The server does not answer.")
	if (!answer?.ok) return
	$("#token").value = ""
	$("#login").close()
	resume()
}
function resume() {
	listStream?.close()
	listStream = new Stream("list?", {
		"stepstream.runs": (data) => takeRuns(JSON.parse(data), true), message: (data) => takeRuns(JSON.parse(data), false),
	}, (what) => {
		const state = what === "live" ? what : "reconnecting"
		mark($("#link"), "state", state)
		write($("#link .words"), capital(state))
	})
	if (open && !open.stream.closed) open.stream.open()
	need("order", "run", "step")
}
$("#leave").onclick = () => fetch("logout", { method: "POST" }).then(() => location.reload())
function pause() { listStream?.pause(); open?.stream.pause() }
document.addEventListener("visibilitychange", () => document.hidden ? pause() : resume())
addEventListener("popstate", readPlace)
narrow.addEventListener("change", () => need("rows", "order"))
readPlace()
resume()
