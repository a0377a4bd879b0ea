import { type Status } from "./api.js";
import { type Item } from "./wire.js";

/** What tabs tell each other. A term is the time of one leader. */
export type Note =
  | { readonly kind: "hello" } // who leads?
  | { readonly kind: "lead"; readonly term: string; readonly n: number; readonly at: string; readonly status: Status }
  | { readonly kind: "item"; readonly term: string; readonly n: number; readonly item: Item }
  | { readonly kind: "status"; readonly term: string; readonly status: Status }
  | { readonly kind: "over"; readonly term: string }
  | { readonly kind: "say"; readonly tab: string; readonly id: number; readonly text: string }
  | { readonly kind: "said"; readonly tab: string; readonly id: number; readonly error?: string }
  | { readonly kind: "complaint"; readonly tab: string; readonly message: string };

export interface Member {
  note(note: Note): void;
  /** We lead now. */
  lead(): void;
  /** We lead no more: another took it, since we were silent. */
  deposed(): void;
}

/** Reports whether tabs can share here: Web Locks need a secure context. */
export const sharing = (): boolean => typeof BroadcastChannel !== "undefined" && !!navigator.locks;

/**
 * The tabs of one name. A Web Lock says who leads, so that a tab that closes or
 * crashes is followed by the next in line.
 */
export class Tabs {
  private readonly channel: BroadcastChannel;
  private request: AbortController | null = null;
  private release = () => {};

  constructor(private readonly name: string, private readonly member: Member) {
    this.channel = new BroadcastChannel(name);
    this.channel.onmessage = (e) => member.note(e.data);
    this.queue(false);
  }

  post(note: Note): void {
    this.channel.postMessage(note);
  }

  /** Takes the lead from a tab that does not answer. */
  steal(): void {
    this.queue(true);
  }

  leave(): void {
    this.channel.close();
    this.request?.abort();
    this.request = null;
    this.release();
  }

  private queue(steal: boolean): void {
    this.request?.abort();
    const request = (this.request = new AbortController());
    const hold = () => new Promise<void>((resolve) => {
      if (this.request !== request) return resolve();
      this.release = resolve;
      this.member.lead();
    });
    navigator.locks.request(this.name, steal ? { steal } : { signal: request.signal }, hold).catch(() => {
      if (this.request !== request) return; // we gave it up
      this.member.deposed();
      this.queue(false);
    });
  }
}
