/** How many messages may wait, and for how many milliseconds each. */
const room = 100, patience = 10_000;

interface Letter {
  readonly text: string;
  readonly sender: string;
  readonly settle: (error?: string) => void;
}

/** What waits to be sent, and who sent what. */
export class Outbox {
  private readonly letters = new Map<number, Letter>();
  private readonly handed = new Set<number>(); // to the leader, who has not confirmed
  private readonly senders = new Map<number, string>(); // by the message's number on the connection
  private newest = 0;

  /** Resolves when the message was sent. */
  add(text: string, sender: string): Promise<void> {
    if (this.letters.size >= room) return Promise.reject(new Error(`rhubarb: ${room} messages wait already`));
    const id = ++this.newest;
    return new Promise((resolve, reject) => {
      const settle = (error?: string) => {
        clearTimeout(timer);
        this.letters.delete(id);
        this.handed.delete(id);
        if (error === undefined) resolve();
        else reject(new Error(error));
      };
      const timer = setTimeout(() => {
        settle(this.handed.has(id) ? "rhubarb: it may not have been sent" : "rhubarb: no connection to send on");
      }, patience);
      this.letters.set(id, { text, sender, settle });
    });
  }

  /** Sends what waits, until send says 0. */
  flush(send: (text: string) => number): void {
    for (const [id, { text, sender, settle }] of [...this.letters]) {
      if (this.handed.has(id)) continue;
      const n = send(text);
      if (!n) return;
      settle();
      this.senders.set(n, sender);
      this.senders.delete(n - room);
    }
  }

  /** Hands what waits to the leader, once. */
  hand(carry: (id: number, text: string) => void): void {
    for (const [id, { text }] of this.letters) {
      if (this.handed.has(id)) continue;
      this.handed.add(id);
      carry(id, text);
    }
  }

  /** The leader has sent what it was handed, or could not. */
  confirm(id: number, error?: string): void {
    this.letters.get(id)?.settle(error);
  }

  /** Who sent the nth message of the connection, or without a number the newest. */
  sender(n: number): string | undefined {
    return n ? this.senders.get(n) : [...this.senders.values()].pop();
  }

  /** Begins a connection, whose messages are numbered from 1. */
  renew(): void {
    this.senders.clear();
  }

  /** Gives up what waits. */
  fail(error: string): void {
    for (const { settle } of [...this.letters.values()]) settle(error);
  }
}
