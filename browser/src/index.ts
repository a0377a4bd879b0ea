import { type Address, type Event, type Feed, type Options, type Socket, type Status, type Trouble } from "./api.js";
import { Outbox } from "./outbox.js";
import { watch } from "./page.js";
import { Position } from "./position.js";
import { type Owner, Share } from "./share.js";
import { sockets } from "./socket.js";
import { streams } from "./stream.js";
import { sharing } from "./tabs.js";
import { type Dial, type Item, type Outcome } from "./wire.js";

export type { Address, Event, Feed, Options, Socket, Status, Trouble } from "./api.js";

const longest = 2 ** 31 - 1; // a timer's, in milliseconds
const linger = 1000; // milliseconds

/** Follows an event stream. Add listeners at once, before anything can come. */
export function follow(address: Address, options: Options = {}): Feed {
  return new Source(streams(Math.min(options.silence ?? 45_000, longest)), "follow", address, options);
}

/** Follows a WebSocket that speaks rhubarb.v1, and sends on it. */
export function connect(address: Address, options: Options = {}): Socket {
  return new Source(sockets, "connect", address, options);
}

class Source implements Socket, Owner {
  status: Status = "asleep";
  onstatus: ((status: Status) => void) | null = null;
  onerror: ((trouble: Trouble) => void) | null = null;
  private readonly listeners = new Map<string, Set<(event: Event) => void>>();
  private readonly where: Position;
  private readonly outbox = new Outbox();
  private readonly name: string;
  private readonly unwatch: () => void;
  private share: Share | null = null; // null while asleep
  private done = false;

  constructor(private readonly dial: Dial, kind: string, private readonly address: Address, options: Options) {
    const { last = "", hidden = 30_000, share = typeof address === "function" ? false : new URL(address, document.baseURI).href } = options;
    this.where = new Position(last);
    this.name = share !== false && sharing() ? `rhubarb ${kind} ${share}` : "";
    this.unwatch = watch(hidden, this);
  }

  get last(): string {
    return this.where.last;
  }

  on(type: string, listener: (event: Event) => void): () => void {
    const all = this.listeners.get(type) ?? new Set();
    this.listeners.set(type, all.add(listener));
    return () => all.delete(listener);
  }

  send(message: unknown): Promise<void> {
    if (this.done) return Promise.reject(new Error(`rhubarb: the connection is ${this.status}`));
    const sent = this.outbox.add(JSON.stringify(message), "");
    this.share?.flush();
    return sent;
  }

  close(): void {
    this.finish("closed");
  }

  // Of the page.

  wake(): void {
    if (this.share) this.share.nudge();
    else this.share = new Share(this.name, this.dial, this.address, this.where, this.outbox, this);
  }

  sleep(): void {
    if (!this.share) return;
    this.share.leave();
    this.share = null;
    this.turn("asleep");
  }

  // Of the share.

  deliver(item: Item): void {
    if (this.done) return;
    this.where.at(item.id);
    if (!item.type) return;
    const event = item as Event;
    for (const listener of [...(this.listeners.get(item.type) ?? []), ...(this.listeners.get("*") ?? [])]) {
      guard(() => listener(event));
    }
    if (item.type === "end") this.finish("ended");
  }

  turn(status: Status): void {
    if (status === this.status) return;
    this.status = status;
    guard(() => this.onstatus?.(status));
  }

  trouble(status: number, message: string): void {
    guard(() => this.onerror?.({ status, message }));
  }

  over(outcome: Outcome): void {
    if (outcome.kind !== "refused") return this.finish("ended");
    this.finish("refused");
    this.trouble(outcome.status, outcome.message);
  }

  private finish(status: Status): void {
    if (this.done) return;
    this.done = true;
    // The lead is kept for as long as the others need to hear of the end.
    this.share?.leave(status === "ended" ? linger : 0);
    this.unwatch();
    this.turn(status);
    this.outbox.fail(`rhubarb: the connection is ${status}`);
  }
}

/** A listener that fails does not disturb the others. */
function guard(f: () => void): void {
  try {
    f();
  } catch (err) {
    reportError(err);
  }
}
