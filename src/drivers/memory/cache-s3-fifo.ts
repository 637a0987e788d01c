import { type Ghosts, ghosts, hashOf } from './cache-ghosts.js';

/** Who goes when there is no room: the order of slots, which are numbers from 1, without the entries. */
export interface S3Fifo {
  /** A slot was taken by a key. */
  add(slot: number, key: string): void;
  /** A slot was asked for. Nothing moves. */
  hit(slot: number): void;
  /** A slot was freed. */
  remove(slot: number): void;
  /**
   * The slot to give up next, which leaves the order; 0 when there is none. `keyAt` says by which key
   * it is remembered.
   */
  evict(keyAt: (slot: number) => string): number;
}

/** The small queue's share of all entries: one in ten. */
const SMALL_PART = 10;
/** Hits are counted to three, in the low bits; the next bit says that a slot is in the main queue. */
const HITS_MAX = 3;
const HITS = 0b011;
const IN_MAIN = 0b100;
/** One eviction lets so many slots of the main queue stay once more, at most. */
const CHANCES_MAX = 1_000;

/**
 * S3-FIFO (Yang et al., FIFO Queues are All You Need for Cache Eviction, SOSP 2023): a new key enters
 * a small queue, and what is not asked for again leaves by it soon, so that a scan passes the main
 * queue by. The main queue forgives a slot once for each of up to three hits. A key that comes back
 * soon after it had to leave, which its ghost tells, enters the main queue at once.
 *
 * Of the three policies that docs/reference/benchmarks.md compares it keeps the most on the whole,
 * and a hit is one count.
 */
export function s3Fifo(): S3Fifo {
  const lines = slotLines();
  const { counts, small, main } = lines;
  let remembered: { readonly capacity: number; readonly ghosts: Ghosts } | undefined;

  const wasGhost = (key: string): boolean =>
    remembered?.ghosts.take(hashOf(key), main.size + small.size) === true;
  const remember = (key: string): void => {
    const count = main.size + small.size + 1;
    if (remembered === undefined || remembered.capacity < count / 2) {
      remembered = { capacity: count, ghosts: ghosts(count) };
    }
    remembered.ghosts.note(hashOf(key));
  };

  return {
    add(slot, key) {
      lines.reach(slot);
      const isBack = wasGhost(key);
      counts.at[slot] = isBack ? IN_MAIN : 0;
      (isBack ? main : small).push(slot);
    },
    hit(slot) {
      const count = counts.at[slot] ?? 0;
      if ((count & HITS) < HITS_MAX) counts.at[slot] = count + 1;
    },
    remove(slot) {
      const queue = ((counts.at[slot] ?? 0) & IN_MAIN) === 0 ? small : main;
      queue.remove(slot);
    },
    evict(keyAt) {
      for (let chances = 0; ; chances += 1) {
        const smallMax = Math.floor((small.size + main.size) / SMALL_PART);
        const isFromSmall = small.size > smallMax || main.size === 0;
        const queue = isFromSmall ? small : main;
        const slot = queue.oldest();
        const count = counts.at[slot] ?? 0;
        const isSpared = (count & HITS) > 0 && chances < CHANCES_MAX;
        queue.remove(slot);
        if (!isSpared) {
          if (isFromSmall && slot > 0) remember(keyAt(slot));
          return slot;
        }
        counts.at[slot] = isFromSmall ? IN_MAIN : count - 1;
        main.push(slot);
      }
    },
  };
}

/** A queue of slots from which any can be taken. */
interface SlotQueue {
  readonly size: number;
  push(slot: number): void;
  remove(slot: number): void;
  /** 0 when it is empty. */
  oldest(): number;
}

const SLOTS_AT_FIRST = 64;

/** Two queues whose slots are linked in shared arrays, and the counts of the slots. */
function slotLines() {
  const counts = { at: new Uint8Array(SLOTS_AT_FIRST) };
  const links = {
    newer: new Uint32Array(SLOTS_AT_FIRST),
    older: new Uint32Array(SLOTS_AT_FIRST),
  };
  return {
    counts,
    small: slotQueue(links),
    main: slotQueue(links),
    /** Makes room for a slot. */
    reach(slot: number): void {
      if (slot < counts.at.length) return;
      counts.at = grown(counts.at, slot, Uint8Array);
      links.newer = grown(links.newer, slot, Uint32Array);
      links.older = grown(links.older, slot, Uint32Array);
    },
  };
}

function slotQueue(links: { newer: Uint32Array; older: Uint32Array }): SlotQueue {
  let [oldest, newest, size] = [0, 0, 0];
  return {
    get size() {
      return size;
    },
    push(slot) {
      links.older[slot] = newest;
      links.newer[slot] = 0;
      if (newest > 0) links.newer[newest] = slot;
      else oldest = slot;
      newest = slot;
      size += 1;
    },
    remove(slot) {
      if (slot === 0) return;
      const [newer = 0, older = 0] = [links.newer[slot], links.older[slot]];
      if (newer > 0) links.older[newer] = older;
      else newest = older;
      if (older > 0) links.newer[older] = newer;
      else oldest = newer;
      size -= 1;
    },
    oldest: () => oldest,
  };
}

/** A copy with room for an index, twice as long at least. */
export function grown<Numbers extends Uint8Array | Uint32Array | Float64Array>(
  numbers: Numbers,
  index: number,
  make: new (length: number) => Numbers,
): Numbers {
  const copy = new make(Math.max(index + 1, numbers.length * 2));
  copy.set(numbers);
  return copy;
}
