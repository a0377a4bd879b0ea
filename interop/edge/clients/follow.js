// Each of these follows an address as the users of its library do, for as long
// as there is something to come, and tells say what it meets:
//
//   {open: true}               a connection is there
//   {lost: why}                and gone; it comes back by itself
//   {id, event, data}          a message
//   {over: why}                it will not come back

export function eventSource(EventSource, url, say) {
	const source = new EventSource(url)
	const hear = e => say({ id: e.lastEventId, event: e.type === "message" ? "" : e.type, data: JSON.parse(e.data) })
	source.onopen = () => say({ open: true })
	source.onmessage = hear
	for (const type of ["gap", "reset", "progress", "state", "end"]) source.addEventListener(type, hear)
	source.onerror = e => say(source.readyState === 2 ? { over: `${e.code ?? "closed"}` } : { lost: `${e.code ?? "error"}` })
}

class Over extends Error {}

export function fetched(fetchEventSource, url, say) {
	fetchEventSource(url, {
		async onopen(answer) {
			if (!answer.ok || answer.status === 204) throw new Over(answer.status)
			say({ open: true })
		},
		onmessage(m) {
			if (m.data !== "") say({ id: m.id, event: m.event, data: JSON.parse(m.data) }) // else it moves the cursor only
		},
		onclose() {
			throw new Error("closed by the server")
		},
		onerror(err) {
			if (err instanceof Over) throw err
			say({ lost: err.message })
		},
	}).catch(err => say({ over: err.message }))
}

export function socket(WebSocket, url, say) {
	let last = ""
	const at = new URL(url)
	at.protocol = at.protocol.replace("http", "ws")
	const it = { send: text => it.now.send(text) }
	function connect() {
		if (last) at.searchParams.set("last_event_id", last)
		it.now = new WebSocket(at.href, "rhubarb.v1")
		it.now.onopen = () => say({ open: true })
		it.now.onmessage = e => {
			const m = JSON.parse(e.data)
			last = m.id ?? last
			say(m)
		}
		it.now.onerror = () => {} // the end says it
		it.now.onclose = e => {
			const why = { code: e.code, reason: e.reason }
			if (e.code === 1000) return say({ over: "1000", ...why })
			say({ lost: `${e.code}`, ...why })
			setTimeout(connect, Number(/retry=(\d+)/.exec(e.reason)?.[1] ?? 1000))
		}
	}
	connect()
	return it
}
