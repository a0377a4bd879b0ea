// rhubarb.js follows rhubarb's streams and groups: see docs/browser.md. Apache License 2.0.

/** An event of a stream or a group. */
export interface Event {
	/** What kind it is: `message`, and of a task also `reset`, `state`, `progress`, `gap`, `end`. */
	readonly type: string;
	/** Where it is in its stream; empty for one that is kept nowhere. */
	readonly id: string;
	/** The JSON that came, parsed, or the text if it was none. */
	readonly data: any;
}
/**
 * How a feed is: it connects, is connected, waits to come back, or sleeps with
 * its page; the last three are for good.
 */
export type Status = "connecting" | "open" | "waiting" | "asleep" | "ended" | "refused" | "closed";
/** What went wrong. */
export interface Trouble {
	/** The HTTP status or WebSocket close code, 0 if there is none. */
	readonly status: number;
	readonly message: string;
}
export interface Options {
	/** Where to go on, an event's id. Empty is where the server has newcomers begin. */
	last?: string;
	/** For how many milliseconds a hidden page keeps its connection: 30,000 unless given. */
	hidden?: number;
	/**
	 * The name under which tabs share a connection. It is the URL if that is text.
	 * Feeds whose URL is a function share nothing unless they give a name, which
	 * should tell users apart. `false` is a connection of one's own.
	 */
	share?: string | false;
	/** After how many silent milliseconds an event stream is given up: 45,000 unless given. */
	silence?: number;
}
/** The address to connect to, or a function that is asked for it before each connection. */
export type Address = string | URL | (() => string | URL | Promise<string | URL>);
/** A source that is followed over breaks: each event once, in order. */
export interface Feed {
	readonly status: Status;
	/** The id of the newest event: with `last` another feed goes on from there. */
	readonly last: string;
	/** Is called when the status has changed. */
	onstatus: ((status: Status) => void) | null;
	/** Is called when something went wrong: a refusal, for good, or a message or address that failed. */
	onerror: ((trouble: Trouble) => void) | null;
	/** Has a function called for events of a type, or of all types for `"*"`. The result ends that. */
	on(type: string, listener: (event: Event) => void): () => void;
	/** Lets go of the connection for good. */
	close(): void;
}
/** A feed over a WebSocket. */
export interface Socket extends Feed {
	/**
	 * Sends JSON. It waits up to ten seconds for a connection, and resolves when
	 * the message was given to one. What the server thinks of it comes by `onerror`.
	 */
	send(message: unknown): Promise<void>;
}

/** Follows an event stream. Add listeners at once, before anything can come. */
export declare function follow(address: Address, options?: Options): Feed;
/** Follows a WebSocket that speaks rhubarb.v1, and sends on it. */
export declare function connect(address: Address, options?: Options): Socket;
