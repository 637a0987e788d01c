import { FewMap } from './few-map.js';

/** Items in the order of the times they are noted for; each item stands in it once at most. */
export interface Agenda<Item extends object> {
  /** Notes an item for a time, in milliseconds on whatever axis, and for no other time any more. */
  note(item: Item, atMs: number): void;
  /** Strikes an item out, if it is noted. */
  strike(item: Item): void;
  /** The earliest time; infinity when nothing is noted. */
  readonly nextMs: number;
  /** Strikes out and answers the earliest item, if its time is not after `untilMs`. */
  take(untilMs: number): Item | undefined;
}

interface Entry<Item> {
  readonly item: Item;
  atMs: number;
  /** Where it stands in the heap. */
  place: number;
}

/** An empty agenda: a binary heap that knows its items' places, so that each change takes log n steps. */
export function agenda<Item extends object>(): Agenda<Item> {
  const entries = new FewMap<Item, Entry<Item>>();
  const heap: Entry<Item>[] = [];

  const put = (entry: Entry<Item>, place: number): void => {
    heap[place] = entry;
    entry.place = place;
  };
  const earlierChild = (place: number): Entry<Item> | undefined => {
    const left = heap[2 * place + 1];
    const right = heap[2 * place + 2];
    return left !== undefined && right !== undefined && right.atMs < left.atMs ? right : left;
  };
  /** Moves an entry from its place to where its time belongs. */
  const sift = (entry: Entry<Item>): void => {
    let { place } = entry;
    for (let above = heap[(place - 1) >> 1]; place > 0 && above; above = heap[(place - 1) >> 1]) {
      if (above.atMs <= entry.atMs) break;
      const higher = above.place;
      put(above, place);
      place = higher;
    }
    for (let below = earlierChild(place); below !== undefined; below = earlierChild(place)) {
      if (below.atMs >= entry.atMs) break;
      const lower = below.place;
      put(below, place);
      place = lower;
    }
    put(entry, place);
  };
  const strike = (item: Item): void => {
    const entry = entries.get(item);
    const last = heap.at(-1);
    if (entry === undefined || last === undefined) return;
    entries.delete(item);
    heap.pop();
    if (last === entry) return;
    last.place = entry.place;
    sift(last);
  };
  return {
    note(item, atMs) {
      const known = entries.get(item);
      const entry = known ?? { item, atMs, place: heap.length };
      entry.atMs = atMs;
      entries.set(item, entry);
      sift(entry);
    },
    strike,
    get nextMs() {
      return heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
    },
    take(untilMs) {
      const first = heap[0];
      if (first === undefined || first.atMs > untilMs) return undefined;
      strike(first.item);
      return first.item;
    },
  };
}
