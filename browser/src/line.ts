import { type Address, type Status } from "./api.js";
import { type Dial, type Ear, type Outcome, type Wire } from "./wire.js";

const firstPause = 1000, longestPause = 30_000; // milliseconds
const steady = 5000; // a connection of so many milliseconds was a good one

/** What a line tells. */
export interface Party extends Ear {
  status(status: Status): void;
  trouble(status: number, message: string): void;
  over(outcome: Outcome): void;
}

/** A connection that is made again when it breaks, from where we are then. */
export class Line {
  private stopper: AbortController | null = null;
  private wire: Wire | null = null;
  private hurry = () => {};

  constructor(
    private readonly dial: Dial,
    private readonly address: Address,
    private readonly last: () => string,
    private readonly party: Party,
  ) {}

  start(): void {
    if (this.stopper) return;
    this.stopper = new AbortController();
    void this.run(this.stopper.signal);
  }

  stop(): void {
    this.stopper?.abort();
    this.stopper = this.wire = null;
  }

  /** Ends a pause. */
  nudge(): void {
    this.hurry();
  }

  send(text: string): number {
    return this.wire?.send(text) ?? 0;
  }

  private async run(stop: AbortSignal): Promise<void> {
    let fresh = true; // no address was refused since the last connection
    for (let tries = 0; !stop.aborted; tries++) {
      this.party.status("connecting");
      let opened = 0;
      const outcome = await this.once(stop, () => { opened = Date.now(); });
      if (stop.aborted) return;
      if (opened) fresh = true;
      const again = fresh && typeof this.address === "function" && outcome.kind === "refused" && [401, 403].includes(outcome.status);
      if (outcome.kind !== "lost" && !again) {
        this.stop();
        return this.party.over(outcome);
      }
      if (again) fresh = false;
      if (opened && Date.now() - opened > steady) tries = 0;
      this.party.status("waiting");
      // Full jitter: those that were cut off at once do not come back at once.
      const pause = Math.random() * Math.min(longestPause, firstPause * 2 ** tries);
      await this.pause((outcome.kind === "lost" && outcome.retry) || pause, stop);
    }
  }

  /** Has one connection until it ends. */
  private async once(stop: AbortSignal, opened: () => void): Promise<Outcome> {
    const { address, party } = this;
    let url: URL;
    try {
      url = new URL(typeof address === "function" ? await address() : address, document.baseURI);
    } catch (err) {
      if (!stop.aborted) party.trouble(0, `no address: ${err}`);
      return { kind: "lost" };
    }
    if (stop.aborted) return { kind: "lost" };
    const last = this.last();
    if (last) url.searchParams.set("last_event_id", last);
    const wire = this.dial(url, {
      open: () => { opened(); this.wire = wire; if (!stop.aborted) party.open(); },
      item: (item) => { if (!stop.aborted) party.item(item); },
      complaint: (message, n) => { if (!stop.aborted) party.complaint(message, n); },
    });
    stop.addEventListener("abort", () => wire.close());
    const outcome = await wire.done;
    if (!stop.aborted) this.wire = null;
    return outcome;
  }

  private pause(ms: number, stop: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.hurry = () => { clearTimeout(timer); resolve(); };
      stop.addEventListener("abort", this.hurry);
    });
  }
}
