/** What a connection brings. One whose type is empty says only where we are. */
export interface Item {
  readonly type: string;
  readonly id: string;
  readonly data?: unknown;
}

/** How a connection ended: for good, for good with a reason, or not. */
export type Outcome =
  | { readonly kind: "ended" }
  | { readonly kind: "refused"; readonly status: number; readonly message: string }
  | { readonly kind: "lost"; readonly retry?: number }; // milliseconds, if the server said

export const lost: Outcome = { kind: "lost" };

/** Who listens to a connection. */
export interface Ear {
  open(): void;
  item(item: Item): void;
  /** The server's complaint about the nth message on this connection. */
  complaint(message: string, n: number): void;
}

/** One connection. */
export interface Wire {
  readonly done: Promise<Outcome>; // never rejects
  /** Sends, and says as which message of this connection; 0 if it could not. */
  send(text: string): number;
  close(): void;
}

export type Dial = (url: URL, ear: Ear) => Wire;

export function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** What an HTTP answer without a connection means. */
export async function refusal(answer: Response): Promise<Outcome> {
  const { status } = answer;
  if (status === 204) return { kind: "ended" };
  if (status >= 500 || status === 408 || status === 425 || status === 429) {
    const seconds = Number(answer.headers.get("Retry-After"));
    return seconds > 0 ? { kind: "lost", retry: seconds * 1000 } : lost;
  }
  const said: any = parse(await answer.text().catch(() => ""));
  return { kind: "refused", status, message: String(said?.detail ?? said).slice(0, 300) };
}
