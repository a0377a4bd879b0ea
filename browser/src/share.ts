import { type Address, type Status } from "./api.js";
import { Line, type Party } from "./line.js";
import { Outbox } from "./outbox.js";
import { type Position } from "./position.js";
import { type Member, type Note, Tabs } from "./tabs.js";
import { type Dial, type Item, type Outcome } from "./wire.js";

/** How many items of the leader may wait until we have caught up. */
const maxPending = 1000;

/** How long to wait for a leader's word, and between looks at it, in milliseconds. */
const answer = 1000, look = 2500;

/** After how many silent looks the leader is asked, and replaced. */
const asked = 2, replaced = 4;

/** The feed that takes part. */
export interface Owner {
  deliver(item: Item): void;
  turn(status: Status): void;
  trouble(status: number, message: string): void;
  over(outcome: Outcome): void;
}

/**
 * A feed's place among the tabs that follow the same. The leader has the
 * connection and tells the others each item, numbered. Who joins, or has missed
 * one, catches up on a short connection of its own, from its own position,
 * until it meets the leader: one has passed an id that the other is at. So
 * nobody needs to know what a newcomer is to get, or in which order ids are.
 */
export class Share implements Party, Member {
  private mode: "joining" | "leading" | "catching" | "following" = "joining";
  private readonly line: Line;
  private readonly tabs: Tabs | null = null; // null if nobody else is there
  private readonly tab = random();
  private readonly timers: number[] = [];
  private term = "";
  private n = 0; // of the leader's newest item
  private skip = ""; // we have had what comes up to this id
  private pending: { n: number; id: string; item?: Item }[] = []; // the first may be where the leader was
  private silent = 0;
  private state: Status = "connecting";

  constructor(
    name: string,
    dial: Dial,
    address: Address,
    private readonly where: Position,
    private readonly outbox: Outbox,
    private readonly owner: Owner,
  ) {
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

  leave(linger = 0): void {
    this.line.stop();
    this.timers.forEach(clearTimeout);
    if (linger) setTimeout(() => this.tabs?.leave(), linger);
    else this.tabs?.leave();
  }

  nudge(): void {
    this.line.nudge();
  }

  /** Sends what waits in the outbox, if it can go now. */
  flush(): void {
    if (this.mode === "leading") this.outbox.flush((text) => this.line.send(text));
    if (this.mode === "following") this.outbox.hand((id, text) => this.post({ kind: "say", tab: this.tab, id, text }));
  }

  // Of the line.

  open(): void {
    if (this.mode === "leading") this.outbox.renew();
    this.status("open");
    this.flush();
  }

  status(status: Status): void {
    this.state = status;
    this.owner.turn(status);
    if (this.mode === "leading") this.post({ kind: "status", term: this.term, status });
  }

  trouble(status: number, message: string): void {
    this.owner.trouble(status, message);
  }

  item(item: Item): void {
    if (this.mode === "leading") this.post({ kind: "item", term: this.term, n: ++this.n, item });
    this.owner.deliver(item);
    if (this.mode === "catching") this.meet();
  }

  complaint(message: string, n: number): void {
    const tab = this.outbox.sender(n);
    if (!tab) this.owner.trouble(0, message);
    else this.post({ kind: "complaint", tab, message });
  }

  over(outcome: Outcome): void {
    if (this.mode === "leading" && outcome.kind === "ended") this.post({ kind: "over", term: this.term });
    this.owner.over(outcome); // another finds out by itself that it is refused
  }

  // Of the tabs.

  lead(): void {
    this.mode = "leading";
    this.term = random();
    this.n = 0;
    this.pending = [];
    this.announce();
    this.line.start();
    this.flush(); // the line may have been open
  }

  deposed(): void {
    this.line.stop();
    this.join();
  }

  note(note: Note): void {
    if (this.mode === "leading") return this.serve(note);
    if ("term" in note && note.term === this.term) this.silent = 0;
    switch (note.kind) {
      case "lead":
        if (note.term !== this.term || (this.mode === "following" && note.n !== this.n)) this.attach(note.term, note.n, note.at);
        return this.mirror(note.term, note.status);
      case "item":
        if (note.term === this.term) this.hear(note.n, note.item);
        return;
      case "status":
        return this.mirror(note.term, note.status);
      case "over":
        if (note.term === this.term && this.mode === "following") this.owner.over({ kind: "ended" });
        return;
      case "said":
        if (note.tab === this.tab) this.outbox.confirm(note.id, note.error);
        return;
      case "complaint":
        if (note.tab === this.tab) this.owner.trouble(0, note.message);
    }
  }

  private serve(note: Note): void {
    if (note.kind === "hello") this.announce();
    if (note.kind !== "say") return;
    const said = (error?: string) => this.post({ kind: "said", tab: note.tab, id: note.id, error });
    this.outbox.add(note.text, note.tab).then(() => said(), (err) => said(err.message));
    this.flush();
  }

  private announce(): void {
    this.post({ kind: "lead", term: this.term, n: this.n, at: this.where.last, status: this.state });
  }

  private post(note: Note): void {
    this.tabs?.post(note);
  }

  private mirror(term: string, status: Status): void {
    if (this.mode === "following" && term === this.term && status !== this.state) this.status(status);
  }

  private join(): void {
    this.mode = "joining";
    this.term = "";
    this.silent = 0;
    this.post({ kind: "hello" });
    this.timers.push(setTimeout(() => {
      if (this.mode === "joining") this.catchUp([]); // who leads does not answer
    }, answer));
  }

  /** Follows the leader from where it is, if we have been there. */
  private attach(term: string, n: number, at: string): void {
    this.term = term;
    this.silent = 0;
    this.catchUp([{ n, id: at }]);
  }

  private catchUp(pending: { n: number; id: string }[]): void {
    this.mode = "catching";
    this.pending = pending;
    if (!this.meet()) this.line.start();
  }

  private hear(n: number, item: Item): void {
    if (this.mode === "following" && n === this.n + 1) return this.follow(n, item);
    if (this.mode === "following") return this.attach(this.term, n, item.id); // one is missing
    this.pending.push({ n, id: item.id, item });
    if (this.pending.length > maxPending) this.pending.shift();
    this.meet();
  }

  /** Lets go of our own connection if the leader was where we were. */
  private meet(): boolean {
    const nowhere = !this.where.last; // as is a leader who has had nothing
    const met = this.pending.findLastIndex(({ id, item }) => (id ? this.where.passed(id) : nowhere && !item));
    if (met < 0) return false;
    const { n, id } = this.pending[met]!, rest = this.pending.slice(met + 1);
    this.line.stop();
    this.mode = "following";
    this.n = n;
    this.skip = id === this.where.last ? "" : this.where.last;
    this.pending = [];
    for (const { n, item } of rest) this.hear(n, item!);
    this.flush();
    return true;
  }

  private follow(n: number, item: Item): void {
    this.n = n;
    if (!this.skip) return this.owner.deliver(item);
    if (item.id === this.skip) this.skip = "";
    else if (item.type === "gap") this.attach(this.term, n, item.id); // what we wait for may not come
  }

  /** Looks whether the leader is alive. One that is silent is asked, then replaced. */
  private look(): void {
    if (this.mode !== "following" && this.mode !== "catching") return;
    this.silent++;
    if (this.silent === asked) this.post({ kind: "hello" });
    if (this.silent >= replaced) {
      this.silent = 0;
      this.tabs?.steal();
    }
  }
}

function random(): string {
  return Math.random().toString(36).slice(2);
}
