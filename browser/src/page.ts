/** What a page's life means for a connection. */
export interface Sleeper {
  sleep(): void;
  wake(): void; // also when it is awake
}

/**
 * Lets go when the page is hidden for so many milliseconds, frozen or left, and
 * comes back when it is seen, also from the back-forward cache. The result ends
 * that.
 */
export function watch(patience: number, it: Sleeper): () => void {
  const end = new AbortController(), { signal } = end;
  let timer = 0;
  const look = () => {
    clearTimeout(timer);
    if (!document.hidden || patience === Infinity) it.wake();
    else timer = setTimeout(() => it.sleep(), patience);
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
  addEventListener("online", () => { if (!document.hidden) it.wake(); }, { signal });
  look();
  return () => {
    end.abort();
    clearTimeout(timer);
  };
}
