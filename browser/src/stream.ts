import { type Dial, type Ear, type Item, type Outcome, lost, parse, refusal } from "./wire.js";

/** The longest event, in characters: more is no event stream of ours. */
const maxEvent = 4 << 20;

/**
 * Reads text/event-stream by fetch, which unlike EventSource tells a refusal
 * from a break and where we are when nothing has happened yet.
 */
export function streams(silence: number): Dial {
  return (url, ear) => {
    const stop = new AbortController();
    return {
      done: read(url, ear, silence, stop).catch(() => lost),
      send: () => 0,
      close: () => stop.abort(),
    };
  };
}

async function read(url: URL, ear: Ear, silence: number, stop: AbortController): Promise<Outcome> {
  let timer = 0;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(), silence);
  };
  alive();
  try {
    const answer = await fetch(url, { headers: { Accept: "text/event-stream" }, cache: "no-store", signal: stop.signal });
    if (answer.status !== 200) return await refusal(answer);
    if (!answer.body || !/^text\/event-stream/i.test(answer.headers.get("Content-Type") ?? "")) {
      stop.abort();
      return { kind: "refused", status: 200, message: "this is no event stream" };
    }
    ear.open();
    const reader = answer.body.getReader(), text = new TextDecoder(), parser = new Parser((item) => ear.item(item));
    for (;;) {
      alive();
      const { value, done } = await reader.read();
      if (done || stop.signal.aborted) return { kind: "lost", retry: parser.retry };
      if (parser.push(text.decode(value, { stream: true }))) continue;
      stop.abort();
      return { kind: "refused", status: 0, message: "an event has more than 4 MiB" };
    }
  } finally {
    clearTimeout(timer);
  }
}

/** https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation */
class Parser {
  retry?: number;
  private rest = "";
  private type = "";
  private id = "";
  private data: string[] = [];
  private size = 0;

  constructor(private readonly item: (item: Item) => void) {}

  /** Reads on. It is false when an event has become too large. */
  push(text: string): boolean {
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/); // a last CR may be half a CRLF
    this.rest = lines.pop() ?? "";
    for (const line of lines) this.line(line);
    return this.rest.length + this.size <= maxEvent;
  }

  private line(line: string): void {
    if (!line) return this.dispatch();
    const [, field, value = ""] = /^([^:]*)(?:: ?([^]*))?$/.exec(line) ?? [];
    if (field === "event") this.type = value;
    else if (field === "id" && !value.includes("\0")) this.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value);
    else if (field === "data") {
      this.data.push(value);
      this.size += value.length;
    }
  }

  private dispatch(): void {
    const { type, id, data } = this;
    this.type = this.id = "";
    this.data = [];
    this.size = 0;
    if (data.length) this.item({ type: type || "message", id, data: parse(data.join("\n")) });
    else if (id) this.item({ type: "", id });
  }
}
