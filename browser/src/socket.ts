import { type Dial, type Ear, type Outcome, lost, parse, refusal } from "./wire.js";

/** How long a handshake may take, in milliseconds. */
const handshake = 20_000;

/** How much may wait for the network, in bytes. */
const maxBuffered = 1 << 20;

/** Speaks rhubarb.v1, in which each message says where it is. */
export const sockets: Dial = (url, ear) => {
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
      if (socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > maxBuffered) return 0;
      socket.send(text);
      return ++sent;
    },
    close: () => socket.close(),
  };
};

function hear(text: unknown, ear: Ear): void {
  const said: any = typeof text === "string" ? parse(text) : null;
  if (typeof said !== "object" || !said) return; // it is not of rhubarb.v1
  if ("error" in said) return ear.complaint(String(said.error), Number(said.n) || 0);
  if (said.gap) return ear.item({ type: "gap", id: "", data: {} });
  ear.item({ type: said.event || ("data" in said ? "message" : ""), id: said.id ?? "", data: said.data });
}

function closed({ code, reason }: CloseEvent): Outcome {
  if (code === 1000) return { kind: "ended" };
  // 4401 is a permission that has ended: there may be a new one.
  const final = code === 1008 || (code >= 4400 && code < 4500 && ![4401, 4408, 4425, 4429].includes(code));
  if (final) return { kind: "refused", status: code, message: reason };
  const hint = /\bretry=(\d+)/.exec(reason)?.[1];
  return hint ? { kind: "lost", retry: Number(hint) } : lost;
}

/** A browser does not say why a handshake failed: a plain request does, of what is for good. */
async function why(url: URL): Promise<Outcome> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), handshake);
  try {
    const answer = await fetch(url, { cache: "no-store", signal: stop.signal });
    return [401, 403, 404, 410].includes(answer.status) ? await refusal(answer) : lost;
  } catch {
    return lost;
  } finally {
    clearTimeout(timer);
    stop.abort();
  }
}
