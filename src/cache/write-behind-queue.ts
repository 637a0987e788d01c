/** What one key waits for. */
export interface Pending<Value> {
  /** Undefined: the key is to be removed. */
  readonly value: Value | undefined;
  /** When the first of the writes that were joined came, on the monotonic clock. */
  readonly sinceMs: number;
  /** The number of that write: they are counted from 1. */
  readonly first: number;
}

/** Writes that wait for their source, at most one for each key, in the order of their keys' arrival. */
export interface WriteQueue<Key, Value> {
  /** Keys that wait, those that are being written included. */
  readonly count: number;
  /** When the oldest came. */
  readonly oldestMs: number | undefined;
  /** The number of the newest write so far. */
  readonly last: number;
  /** Whether a write up to that number waits or is being written. */
  hasUpTo(last: number): boolean;
  /** Whether a key finds room: there is some, or it waits already. */
  hasRoom(key: Key): boolean;
  /** Takes the place of an earlier write of the key; answers how to take it back, if nothing came since. */
  put(key: Key, value: Value | undefined, nowMs: number): { readonly undo: () => void };
  /** How many writes took the place of an earlier one. */
  readonly coalescedCount: number;
  /** What a key will have, if it waits or is being written. */
  get(key: Key): Pending<Value> | undefined;
  /** The next ones to be written; they count until `done` or `failed`. */
  take(max: number): readonly (readonly [Key, Value | undefined])[];
  /** What was taken is written. */
  done(): void;
  /** What was taken waits again, in front; what came meanwhile for the same key goes instead. */
  failed(): void;
  /** Everything that waits or is being written, and nothing waits any more. */
  drain(): readonly (readonly [Key, Value | undefined])[];
}

/** An empty queue. */
export function writeQueue<Key, Value>(pendingMax: number): WriteQueue<Key, Value> {
  let waiting = new Map<Key, Pending<Value>>();
  let taken = new Map<Key, Pending<Value>>();
  let last = 0;
  let coalescedCount = 0;
  const count = (): number => {
    let both = 0;
    for (const key of taken.keys()) if (waiting.has(key)) both += 1;
    return waiting.size + taken.size - both;
  };
  /** What came later goes in the place of what was taken, and is as old as that. */
  const merged = (): Map<Key, Pending<Value>> => {
    const all = new Map(taken);
    for (const [key, later] of waiting) {
      const { sinceMs, first } = taken.get(key) ?? later;
      all.set(key, { value: later.value, sinceMs, first });
    }
    return all;
  };
  const pairs = (from: ReadonlyMap<Key, Pending<Value>>) =>
    Array.from(from, ([key, { value }]) => [key, value] as const);
  return {
    get count() {
      return count();
    },
    get oldestMs() {
      const [first] = merged().values();
      return first?.sinceMs;
    },
    hasRoom: (key) => waiting.has(key) || taken.has(key) || count() < pendingMax,
    put(key, value, nowMs) {
      const earlier = waiting.get(key);
      last += 1;
      if (earlier !== undefined) coalescedCount += 1;
      const own = { value, sinceMs: earlier?.sinceMs ?? nowMs, first: earlier?.first ?? last };
      waiting.set(key, own);
      const undo = (): void => {
        if (waiting.get(key) !== own) return;
        if (earlier === undefined) waiting.delete(key);
        else waiting.set(key, earlier);
      };
      return { undo };
    },
    get last() {
      return last;
    },
    get coalescedCount() {
      return coalescedCount;
    },
    hasUpTo: (number) =>
      [taken, waiting].some((part) =>
        Array.from(part.values()).some(({ first }) => first <= number),
      ),
    get: (key) => waiting.get(key) ?? taken.get(key),
    take(max) {
      for (const [key, pending] of waiting) {
        if (taken.size === max) break;
        taken.set(key, pending);
        waiting.delete(key);
      }
      return pairs(taken);
    },
    done() {
      taken = new Map();
    },
    failed() {
      waiting = merged();
      taken = new Map();
    },
    drain() {
      const all = pairs(merged());
      waiting = new Map();
      taken = new Map();
      return all;
    },
  };
}
