/** Keys that were given up lately, remembered by 32 bits of each. */
export interface Ghosts {
  /** Remembers a key, in place of the one of its line that was given up longest ago. */
  note(hash: number): void;
  /** Whether a key was among the last `lately` that were noted; it is forgotten then. */
  take(hash: number, lately: number): boolean;
}

/** So many keys share a line: the more, the nearer to one queue of all. */
const WAYS = 4;
/** Places for each key, so that few lines are too short. */
const PLACES = 1.5;

/** Remembers about `capacity` keys in 12 bytes each or more; of a few it forgets too early. */
export function ghosts(capacity: number): Ghosts {
  const lineCount = 2 ** Math.ceil(Math.log2(Math.max((capacity * PLACES) / WAYS, 1)));
  const prints = new Uint32Array(lineCount * WAYS);
  const notedAt = new Uint32Array(lineCount * WAYS);
  let now = 0;
  const ageAt = (at: number): number => (now - (notedAt[at] ?? 0)) >>> 0;
  const lineOf = (hash: number): number => (hash & (lineCount - 1)) * WAYS;
  // Zero is an empty place.
  const printOf = (hash: number): number => (hash === 0 ? 1 : hash);

  return {
    note(hash) {
      const line = lineOf(hash);
      let place = line;
      for (let at = line; at < line + WAYS; at += 1) {
        if (prints[at] === 0) place = at;
        else if (prints[place] !== 0 && ageAt(at) > ageAt(place)) place = at;
      }
      now = (now + 1) >>> 0;
      prints[place] = printOf(hash);
      notedAt[place] = now;
    },
    take(hash, lately) {
      const line = lineOf(hash);
      const print = printOf(hash);
      for (let at = line; at < line + WAYS; at += 1) {
        if (prints[at] !== print) continue;
        prints[at] = 0;
        return ageAt(at) < lately;
      }
      return false;
    },
  };
}

/** 32 bits of a text: FNV-1a over its UTF-16 units, mixed as MurmurHash3 ends. */
export function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
