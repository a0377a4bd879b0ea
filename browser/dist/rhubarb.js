// rhubarb.js follows rhubarb's streams and groups: see docs/browser.md. Apache License 2.0.

const lost = { kind: "lost" };
function parse(text) {
	try {
		return JSON.parse(text);
	}
	catch {
		return text;
	}
}
async function refusal(answer) {
	const { status } = answer;
	if (status === 204)
		return { kind: "ended" };
	if (status >= 500 || status === 408 || status === 425 || status === 429) {
		const seconds = Number(answer.headers.get("Retry-After"));
		return seconds > 0 ? { kind: "lost", retry: seconds * 1000 } : lost;
	}
	const said = parse(await answer.text().catch(() => ""));
	return { kind: "refused", status, message: String(said?.detail ?? said).slice(0, 300) };
}

const maxEvent = 4 << 20;
function streams(silence) {
	return (url, ear) => {
		const stop = new AbortController();
		return {
			done: read(url, ear, silence, stop).catch(() => lost),
			send: () => 0,
			close: () => stop.abort(),
		};
	};
}
async function read(url, ear, silence, stop) {
	let timer = 0;
	const alive = () => {
		clearTimeout(timer);
		timer = setTimeout(() => stop.abort(), silence);
	};
	alive();
	try {
		const answer = await fetch(url, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal: stop.signal });
		if (answer.status !== 200)
			return await refusal(answer);
		if (!answer.body || !/^text\/event-stream/i.test(answer.headers.get("Content-Type") ?? "")) {
			stop.abort();
			return { kind: "refused", status: 200, message: "this is no event stream" };
		}
		ear.open();
		const reader = answer.body.getReader(), text = new TextDecoder(), parser = new Parser((item) => ear.item(item));
		for (;;) {
			alive();
			const { value, done } = await reader.read();
			if (done || stop.signal.aborted)
				return { kind: "lost", retry: parser.retry };
			if (parser.push(text.decode(value, { stream: true })))
				continue;
			stop.abort();
			return { kind: "refused", status: 0, message: "an event has more than 4 MiB" };
		}
	}
	finally {
		clearTimeout(timer);
	}
}
class Parser {
	item;
	retry;
	rest = "";
	type = "";
	id = "";
	data = [];
	size = 0;
	constructor(item) {
		this.item = item;
	}
	push(text) {
		const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
		this.rest = lines.pop() ?? "";
		for (const line of lines)
			this.line(line);
		return this.rest.length + this.size <= maxEvent;
	}
	line(line) {
		if (!line)
			return this.dispatch();
		const [, field, value = ""] = /^([^:]*)(?:: ?([^]*))?$/.exec(line) ?? [];
		if (field === "event")
			this.type = value;
		else if (field === "id" && !value.includes("\0"))
			this.id = value;
		else if (field === "retry" && /^\d+$/.test(value))
			this.retry = Number(value);
		else if (field === "data") {
			this.data.push(value);
			this.size += value.length;
		}
	}
	dispatch() {
		const { type, id, data } = this;
		this.type = this.id = "";
		this.data = [];
		this.size = 0;
		if (data.length)
			this.item({ type: type || "message", id, data: parse(data.join("\n")) });
		else if (id)
			this.item({ type: "", id });
	}
}

const handshake = 20_000;
const maxBuffered = 1 << 20;
const sockets = (url, ear) => {
	const at = new URL(url);
	at.protocol = at.protocol.replace("http", "ws");
	const socket = new WebSocket(at, "rhubarb.v1");
	let opened = false, sent = 0;
	const timer = setTimeout(() => socket.close(), handshake);
	socket.onopen = () => {
		clearTimeout(timer);
		opened = true;
		ear.open();
	};
	socket.onmessage = (e) => hear(e.data, ear);
	return {
		done: new Promise((resolve) => {
			socket.onclose = (e) => {
				clearTimeout(timer);
				resolve(opened ? closed(e) : why(url));
			};
		}),
		send(text) {
			if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > maxBuffered)
				return 0;
			socket.send(text);
			return ++sent;
		},
		close: () => socket.close(),
	};
};
function hear(text, ear) {
	const said = typeof text === "string" ? parse(text) : null;
	if (typeof said !== "object" || !said)
		return;
	if ("error" in said)
		return ear.complaint(String(said.error), Number(said.n) || 0);
	if (said.gap)
		return ear.item({ type: "gap", id: "", data: {} });
	ear.item({ type: said.event || ("data" in said ? "message" : ""), id: said.id ?? "", data: said.data });
}
function closed({ code, reason }) {
	if (code === 1000)
		return { kind: "ended" };
	const final = code === 1008 || (code >= 4400 && code < 4500 && ![4401, 4408, 4425, 4429].includes(code));
	if (final)
		return { kind: "refused", status: code, message: reason };
	const hint = /\bretry=(\d+)/.exec(reason)?.[1];
	return hint ? { kind: "lost", retry: Number(hint) } : lost;
}
async function why(url) {
	const stop = new AbortController();
	const timer = setTimeout(() => stop.abort(), handshake);
	try {
		const answer = await fetch(url, { cache: "no-store", signal: stop.signal });
		return [401, 403, 404, 410].includes(answer.status) ? await refusal(answer) : lost;
	}
	catch {
		return lost;
	}
	finally {
		clearTimeout(timer);
		stop.abort();
	}
}

const firstPause = 1000, longestPause = 30_000;
const steady = 5000;
class Line {
	dial;
	address;
	last;
	party;
	stopper = null;
	wire = null;
	hurry = () => { };
	constructor(dial, address, last, party) {
		this.dial = dial;
		this.address = address;
		this.last = last;
		this.party = party;
	}
	start() {
		if (this.stopper)
			return;
		this.stopper = new AbortController();
		void this.run(this.stopper.signal);
	}
	stop() {
		this.stopper?.abort();
		this.stopper = this.wire = null;
	}
	nudge() {
		this.hurry();
	}
	send(text) {
		return this.wire?.send(text) ?? 0;
	}
	async run(stop) {
		let fresh = true;
		for (let tries = 0; !stop.aborted; tries++) {
			this.party.status("connecting");
			let opened = 0;
			const outcome = await this.once(stop, () => { opened = Date.now(); });
			if (stop.aborted)
				return;
			if (opened)
				fresh = true;
			const again = fresh && typeof this.address === "function" && outcome.kind === "refused" && [401, 403].includes(outcome.status);
			if (outcome.kind !== "lost" && !again) {
				this.stop();
				return this.party.over(outcome);
			}
			if (again)
				fresh = false;
			if (opened && Date.now() - opened > steady)
				tries = 0;
			this.party.status("waiting");
			const pause = Math.random() * Math.min(longestPause, firstPause * 2 ** tries);
			await this.pause((outcome.kind === "lost" && outcome.retry) || pause, stop);
		}
	}
	async once(stop, opened) {
		const { address, party } = this;
		let url;
		try {
			url = new URL(typeof address === "function" ? await address() : address, document.baseURI);
		}
		catch (err) {
			if (!stop.aborted)
				party.trouble(0, `no address: ${err}`);
			return { kind: "lost" };
		}
		if (stop.aborted)
			return { kind: "lost" };
		const last = this.last();
		if (last)
			url.searchParams.set("last_event_id", last);
		const wire = this.dial(url, {
			open: () => { opened(); this.wire = wire; if (!stop.aborted)
				party.open(); },
			item: (item) => { if (!stop.aborted)
				party.item(item); },
			complaint: (message, n) => { if (!stop.aborted)
				party.complaint(message, n); },
		});
		stop.addEventListener("abort", () => wire.close());
		const outcome = await wire.done;
		if (!stop.aborted)
			this.wire = null;
		return outcome;
	}
	pause(ms, stop) {
		return new Promise((resolve) => {
			const timer = setTimeout(resolve, ms);
			this.hurry = () => { clearTimeout(timer); resolve(); };
			stop.addEventListener("abort", this.hurry);
		});
	}
}

const memory = 1000;
class Position {
	last;
	ids = new Set();
	constructor(last) {
		this.last = last;
		if (last)
			this.ids.add(last);
	}
	at(id) {
		if (!id)
			return;
		this.last = id;
		this.ids.add(id);
		if (this.ids.size <= memory)
			return;
		const [oldest] = this.ids;
		this.ids.delete(oldest);
	}
	passed(id) {
		return this.ids.has(id);
	}
}

const room = 100, patience = 10_000;
class Outbox {
	letters = new Map();
	handed = new Set();
	senders = new Map();
	newest = 0;
	add(text, sender) {
		if (this.letters.size >= room)
			return Promise.reject(new Error(`rhubarb: ${room} messages wait already`));
		const id = ++this.newest;
		return new Promise((resolve, reject) => {
			const settle = (error) => {
				clearTimeout(timer);
				this.letters.delete(id);
				this.handed.delete(id);
				if (error === undefined)
					resolve();
				else
					reject(new Error(error));
			};
			const timer = setTimeout(() => {
				settle(this.handed.has(id) ? "rhubarb: it may not have been sent" : "rhubarb: no connection to send on");
			}, patience);
			this.letters.set(id, { text, sender, settle });
		});
	}
	flush(send) {
		for (const [id, { text, sender, settle }] of [...this.letters]) {
			if (this.handed.has(id))
				continue;
			const n = send(text);
			if (!n)
				return;
			settle();
			this.senders.set(n, sender);
			this.senders.delete(n - room);
		}
	}
	hand(carry) {
		for (const [id, { text }] of this.letters) {
			if (this.handed.has(id))
				continue;
			this.handed.add(id);
			carry(id, text);
		}
	}
	confirm(id, error) {
		this.letters.get(id)?.settle(error);
	}
	sender(n) {
		return n ? this.senders.get(n) : [...this.senders.values()].pop();
	}
	renew() {
		this.senders.clear();
	}
	fail(error) {
		for (const { settle } of [...this.letters.values()])
			settle(error);
	}
}

const sharing = () => typeof BroadcastChannel !== "undefined" && !!navigator.locks;
class Tabs {
	name;
	member;
	channel;
	request = null;
	release = () => { };
	constructor(name, member) {
		this.name = name;
		this.member = member;
		this.channel = new BroadcastChannel(name);
		this.channel.onmessage = (e) => member.note(e.data);
		this.queue(false);
	}
	post(note) {
		this.channel.postMessage(note);
	}
	steal() {
		this.queue(true);
	}
	leave() {
		this.channel.close();
		this.request?.abort();
		this.request = null;
		this.release();
	}
	queue(steal) {
		this.request?.abort();
		const request = (this.request = new AbortController());
		const hold = () => new Promise((resolve) => {
			if (this.request !== request)
				return resolve();
			this.release = resolve;
			this.member.lead();
		});
		navigator.locks.request(this.name, steal ? { steal } : { signal: request.signal }, hold).catch(() => {
			if (this.request !== request)
				return;
			this.member.deposed();
			this.queue(false);
		});
	}
}

const maxPending = 1000;
const answer = 1000, look = 2500;
const asked = 2, replaced = 4;
class Share {
	where;
	outbox;
	owner;
	mode = "joining";
	line;
	tabs = null;
	tab = random();
	timers = [];
	term = "";
	n = 0;
	skip = "";
	pending = [];
	silent = 0;
	state = "connecting";
	constructor(name, dial, address, where, outbox, owner) {
		this.where = where;
		this.outbox = outbox;
		this.owner = owner;
		this.line = new Line(dial, address, () => where.last, this);
		if (!name) {
			this.lead();
			return;
		}
		this.status("connecting");
		this.tabs = new Tabs(name, this);
		this.join();
		this.timers.push(setInterval(() => this.look(), look));
	}
	leave(linger = 0) {
		this.line.stop();
		this.timers.forEach(clearTimeout);
		if (linger)
			setTimeout(() => this.tabs?.leave(), linger);
		else
			this.tabs?.leave();
	}
	nudge() {
		this.line.nudge();
	}
	flush() {
		if (this.mode === "leading")
			this.outbox.flush((text) => this.line.send(text));
		if (this.mode === "following")
			this.outbox.hand((id, text) => this.post({ kind: "say", tab: this.tab, id, text }));
	}
	open() {
		if (this.mode === "leading")
			this.outbox.renew();
		this.status("open");
		this.flush();
	}
	status(status) {
		this.state = status;
		this.owner.turn(status);
		if (this.mode === "leading")
			this.post({ kind: "status", term: this.term, status });
	}
	trouble(status, message) {
		this.owner.trouble(status, message);
	}
	item(item) {
		if (this.mode === "leading")
			this.post({ kind: "item", term: this.term, n: ++this.n, item });
		this.owner.deliver(item);
		if (this.mode === "catching")
			this.meet();
	}
	complaint(message, n) {
		const tab = this.outbox.sender(n);
		if (!tab)
			this.owner.trouble(0, message);
		else
			this.post({ kind: "complaint", tab, message });
	}
	over(outcome) {
		if (this.mode === "leading" && outcome.kind === "ended")
			this.post({ kind: "over", term: this.term });
		this.owner.over(outcome);
	}
	lead() {
		this.mode = "leading";
		this.term = random();
		this.n = 0;
		this.pending = [];
		this.announce();
		this.line.start();
		this.flush();
	}
	deposed() {
		this.line.stop();
		this.join();
	}
	note(note) {
		if (this.mode === "leading")
			return this.serve(note);
		if ("term" in note && note.term === this.term)
			this.silent = 0;
		switch (note.kind) {
			case "lead":
				if (note.term !== this.term || (this.mode === "following" && note.n !== this.n))
					this.attach(note.term, note.n, note.at);
				return this.mirror(note.term, note.status);
			case "item":
				if (note.term === this.term)
					this.hear(note.n, note.item);
				return;
			case "status":
				return this.mirror(note.term, note.status);
			case "over":
				if (note.term === this.term && this.mode === "following")
					this.owner.over({ kind: "ended" });
				return;
			case "said":
				if (note.tab === this.tab)
					this.outbox.confirm(note.id, note.error);
				return;
			case "complaint":
				if (note.tab === this.tab)
					this.owner.trouble(0, note.message);
		}
	}
	serve(note) {
		if (note.kind === "hello")
			this.announce();
		if (note.kind !== "say")
			return;
		const said = (error) => this.post({ kind: "said", tab: note.tab, id: note.id, error });
		this.outbox.add(note.text, note.tab).then(() => said(), (err) => said(err.message));
		this.flush();
	}
	announce() {
		this.post({ kind: "lead", term: this.term, n: this.n, at: this.where.last, status: this.state });
	}
	post(note) {
		this.tabs?.post(note);
	}
	mirror(term, status) {
		if (this.mode === "following" && term === this.term && status !== this.state)
			this.status(status);
	}
	join() {
		this.mode = "joining";
		this.term = "";
		this.silent = 0;
		this.post({ kind: "hello" });
		this.timers.push(setTimeout(() => {
			if (this.mode === "joining")
				this.catchUp([]);
		}, answer));
	}
	attach(term, n, at) {
		this.term = term;
		this.silent = 0;
		this.catchUp([{ n, id: at }]);
	}
	catchUp(pending) {
		this.mode = "catching";
		this.pending = pending;
		if (!this.meet())
			this.line.start();
	}
	hear(n, item) {
		if (this.mode === "following" && n === this.n + 1)
			return this.follow(n, item);
		if (this.mode === "following")
			return this.attach(this.term, n, item.id);
		this.pending.push({ n, id: item.id, item });
		if (this.pending.length > maxPending)
			this.pending.shift();
		this.meet();
	}
	meet() {
		const nowhere = !this.where.last;
		const met = this.pending.findLastIndex(({ id, item }) => (id ? this.where.passed(id) : nowhere && !item));
		if (met < 0)
			return false;
		const { n, id } = this.pending[met], rest = this.pending.slice(met + 1);
		this.line.stop();
		this.mode = "following";
		this.n = n;
		this.skip = id === this.where.last ? "" : this.where.last;
		this.pending = [];
		for (const { n, item } of rest)
			this.hear(n, item);
		this.flush();
		return true;
	}
	follow(n, item) {
		this.n = n;
		if (!this.skip)
			return this.owner.deliver(item);
		if (item.id === this.skip)
			this.skip = "";
		else if (item.type === "gap")
			this.attach(this.term, n, item.id);
	}
	look() {
		if (this.mode !== "following" && this.mode !== "catching")
			return;
		this.silent++;
		if (this.silent === asked)
			this.post({ kind: "hello" });
		if (this.silent >= replaced) {
			this.silent = 0;
			this.tabs?.steal();
		}
	}
}
function random() {
	return Math.random().toString(36).slice(2);
}

function watch(patience, it) {
	const end = new AbortController(), { signal } = end;
	let timer = 0;
	const look = () => {
		clearTimeout(timer);
		if (!document.hidden || patience === Infinity)
			it.wake();
		else
			timer = setTimeout(() => it.sleep(), patience);
	};
	const leave = () => {
		clearTimeout(timer);
		it.sleep();
	};
	document.addEventListener("visibilitychange", look, { signal });
	document.addEventListener("freeze", leave, { signal });
	document.addEventListener("resume", look, { signal });
	addEventListener("pagehide", leave, { signal });
	addEventListener("pageshow", look, { signal });
	addEventListener("online", () => { if (!document.hidden)
		it.wake(); }, { signal });
	look();
	return () => {
		end.abort();
		clearTimeout(timer);
	};
}

const longest = 2 ** 31 - 1;
const linger = 1000;
export function follow(address, options = {}) {
	return new Source(streams(Math.min(options.silence ?? 45_000, longest)), "follow", address, options);
}
export function connect(address, options = {}) {
	return new Source(sockets, "connect", address, options);
}
class Source {
	dial;
	address;
	status = "asleep";
	onstatus = null;
	onerror = null;
	listeners = new Map();
	where;
	outbox = new Outbox();
	name;
	unwatch;
	share = null;
	done = false;
	constructor(dial, kind, address, options) {
		this.dial = dial;
		this.address = address;
		const { last = "", hidden = 30_000, share = typeof address === "function" ? false : new URL(address, document.baseURI).href } = options;
		this.where = new Position(last);
		this.name = share !== false && sharing() ? `rhubarb ${kind} ${share}` : "";
		this.unwatch = watch(hidden, this);
	}
	get last() {
		return this.where.last;
	}
	on(type, listener) {
		const all = this.listeners.get(type) ?? new Set();
		this.listeners.set(type, all.add(listener));
		return () => all.delete(listener);
	}
	send(message) {
		if (this.done)
			return Promise.reject(new Error(`rhubarb: the connection is ${this.status}`));
		const sent = this.outbox.add(JSON.stringify(message), "");
		this.share?.flush();
		return sent;
	}
	close() {
		this.finish("closed");
	}
	wake() {
		if (this.share)
			this.share.nudge();
		else
			this.share = new Share(this.name, this.dial, this.address, this.where, this.outbox, this);
	}
	sleep() {
		if (!this.share)
			return;
		this.share.leave();
		this.share = null;
		this.turn("asleep");
	}
	deliver(item) {
		if (this.done)
			return;
		this.where.at(item.id);
		if (!item.type)
			return;
		const event = item;
		for (const listener of [...(this.listeners.get(item.type) ?? []), ...(this.listeners.get("*") ?? [])]) {
			guard(() => listener(event));
		}
		if (item.type === "end")
			this.finish("ended");
	}
	turn(status) {
		if (status === this.status)
			return;
		this.status = status;
		guard(() => this.onstatus?.(status));
	}
	trouble(status, message) {
		guard(() => this.onerror?.({ status, message }));
	}
	over(outcome) {
		if (outcome.kind !== "refused")
			return this.finish("ended");
		this.finish("refused");
		this.trouble(outcome.status, outcome.message);
	}
	finish(status) {
		if (this.done)
			return;
		this.done = true;
		this.share?.leave(status === "ended" ? linger : 0);
		this.unwatch();
		this.turn(status);
		this.outbox.fail(`rhubarb: the connection is ${status}`);
	}
}
function guard(f) {
	try {
		f();
	}
	catch (err) {
		reportError(err);
	}
}
