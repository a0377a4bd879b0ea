/** How many ids are remembered. */
const memory = 1000;

/** Where we are in a stream, and where we lately were. */
export class Position {
  private readonly ids = new Set<string>();

  constructor(public last: string) {
    if (last) this.ids.add(last);
  }

  at(id: string): void {
    if (!id) return;
    this.last = id;
    this.ids.add(id);
    if (this.ids.size <= memory) return;
    const [oldest] = this.ids;
    this.ids.delete(oldest!);
  }

  /** Reports whether we were there. */
  passed(id: string): boolean {
    return this.ids.has(id);
  }
}
