// Eviction policies as plain simulations over numbered keys, each exactly as its paper has it, to
// choose by. What tricord ships is measured beside them through its own memory tier.

/** Asks for a key, and stores it if it was not there. Answers whether it was. */
export type Policy = (key: number) => boolean;

export type PolicyFactory = (capacity: number) => Policy;

export const lru: PolicyFactory = (capacity) => {
  const keys = new Set<number>();
  return (key) => {
    const isHit = keys.delete(key);
    keys.add(key);
    if (keys.size > capacity) keys.delete(firstOf(keys));
    return isHit;
  };
};

/** Zhang et al., SIEVE is Simpler than LRU (NSDI 2024). */
export const sieve: PolicyFactory = (capacity) => {
  const order: { key: number; isVisited: boolean }[] = [];
  const nodes = new Map<number, { key: number; isVisited: boolean }>();
  // The hand stands so far from the oldest.
  let hand = 0;
  return (key) => {
    const node = nodes.get(key);
    if (node !== undefined) {
      node.isVisited = true;
      return true;
    }
    if (nodes.size >= capacity) {
      for (;;) {
        if (hand >= order.length) hand = 0;
        const candidate = order[hand];
        if (candidate === undefined) break;
        if (!candidate.isVisited) {
          order.splice(hand, 1);
          nodes.delete(candidate.key);
          break;
        }
        candidate.isVisited = false;
        hand += 1;
      }
    }
    const added = { key, isVisited: false };
    order.push(added);
    nodes.set(key, added);
    return false;
  };
};

/** Yang et al., FIFO Queues are All You Need for Cache Eviction (SOSP 2023). */
export const s3Fifo =
  ({ smallPart = 0.1, promoteAt = 2 } = {}): PolicyFactory =>
  (capacity) => {
    const smallMax = Math.max(Math.floor(capacity * smallPart), 1);
    const mainMax = capacity - smallMax;
    // Sets keep the order of insertion: queues with removal.
    const [small, main, ghost] = [new Set<number>(), new Set<number>(), new Set<number>()];
    const counts = new Map<number, number>();
    const evictMain = (): void => {
      for (;;) {
        const key = firstOf(main);
        main.delete(key);
        const count = counts.get(key) ?? 0;
        if (count === 0) {
          counts.delete(key);
          return;
        }
        counts.set(key, count - 1);
        main.add(key);
      }
    };
    const evictSmall = (): void => {
      while (small.size > 0) {
        const key = firstOf(small);
        small.delete(key);
        if ((counts.get(key) ?? 0) >= promoteAt) {
          main.add(key);
          counts.set(key, 0);
          if (main.size > mainMax) evictMain();
          continue;
        }
        counts.delete(key);
        ghost.add(key);
        if (ghost.size > mainMax) ghost.delete(firstOf(ghost));
        return;
      }
    };
    return (key) => {
      const count = counts.get(key);
      if (count !== undefined) {
        counts.set(key, Math.min(count + 1, 3));
        return true;
      }
      while (counts.size >= capacity) {
        if (small.size >= smallMax) evictSmall();
        else evictMain();
      }
      (ghost.delete(key) ? main : small).add(key);
      counts.set(key, 0);
      return false;
    };
  };

/**
 * Einziger, Friedman and Manes, TinyLFU (ToS 2017): a window of 1 % and a segmented main part, whose
 * entry and victim are compared by how often each was asked for; counts are halved now and then. The
 * counts are exact here, where an implementation has a sketch: its upper bound.
 */
export const wTinyLfu: PolicyFactory = (capacity) => {
  const windowMax = Math.max(Math.floor(capacity * 0.01), 1);
  const mainMax = capacity - windowMax;
  const protectedMax = Math.floor(mainMax * 0.8);
  const [window, probation, guarded] = [new Set<number>(), new Set<number>(), new Set<number>()];
  const counts = new Map<number, number>();
  let sampled = 0;
  const note = (key: number): void => {
    counts.set(key, Math.min((counts.get(key) ?? 0) + 1, 15));
    sampled += 1;
    if (sampled < capacity * 10) return;
    sampled = 0;
    for (const [each, count] of counts) {
      if (count < 2) counts.delete(each);
      else counts.set(each, count >> 1);
    }
  };
  const promote = (key: number): void => {
    probation.delete(key);
    guarded.add(key);
    if (guarded.size <= protectedMax) return;
    const demoted = firstOf(guarded);
    guarded.delete(demoted);
    probation.add(demoted);
  };
  const admit = (): void => {
    if (window.size <= windowMax) return;
    const candidate = firstOf(window);
    window.delete(candidate);
    if (probation.size + guarded.size < mainMax) {
      probation.add(candidate);
      return;
    }
    const from = probation.size > 0 ? probation : guarded;
    const victim = firstOf(from);
    if ((counts.get(candidate) ?? 0) <= (counts.get(victim) ?? 0)) return;
    from.delete(victim);
    probation.add(candidate);
  };
  return (key) => {
    note(key);
    if (window.delete(key)) {
      window.add(key);
      return true;
    }
    if (probation.has(key)) {
      promote(key);
      return true;
    }
    if (guarded.delete(key)) {
      guarded.add(key);
      return true;
    }
    window.add(key);
    admit();
    return false;
  };
};

/** Belady's optimum, which knows the future: the share of hits that no policy can exceed. */
export function optimalHitCount(keys: Uint32Array, capacity: number): number {
  const nextAt = new Float64Array(keys.length);
  const seenAt = new Map<number, number>();
  for (let index = keys.length - 1; index >= 0; index -= 1) {
    const key = keys[index] ?? 0;
    nextAt[index] = seenAt.get(key) ?? Number.POSITIVE_INFINITY;
    seenAt.set(key, index);
  }
  const cached = new Map<number, number>();
  const farthest = maxHeap();
  let hits = 0;
  for (const [index, key] of keys.entries()) {
    const next = nextAt[index] ?? 0;
    if (cached.has(key)) hits += 1;
    else if (cached.size >= capacity) evictFarthest(cached, farthest);
    cached.set(key, next);
    farthest.push(next, key);
  }
  return hits;
}

function evictFarthest(cached: Map<number, number>, farthest: ReturnType<typeof maxHeap>): void {
  for (;;) {
    const top = farthest.pop();
    if (top === undefined) return;
    // Only the newest word on a key counts.
    if (cached.get(top[1]) !== top[0]) continue;
    cached.delete(top[1]);
    return;
  }
}

function maxHeap() {
  const items: (readonly [order: number, key: number])[] = [];
  const orderAt = (index: number): number => items[index]?.[0] ?? Number.NEGATIVE_INFINITY;
  const swap = (one: number, other: number): void => {
    [items[one], items[other]] = [items[other] ?? [0, 0], items[one] ?? [0, 0]];
  };
  return {
    push(order: number, key: number): void {
      let at = items.push([order, key]) - 1;
      while (at > 0 && orderAt((at - 1) >> 1) < order) {
        swap(at, (at - 1) >> 1);
        at = (at - 1) >> 1;
      }
    },
    pop(): readonly [order: number, key: number] | undefined {
      const [top] = items;
      const last = items.pop();
      if (top === undefined || last === undefined || items.length === 0) return top;
      items[0] = last;
      for (let at = 0; ; ) {
        const left = 2 * at + 1;
        const child = orderAt(left + 1) > orderAt(left) ? left + 1 : left;
        if (orderAt(child) <= orderAt(at)) return top;
        swap(at, child);
        at = child;
      }
    },
  };
}

function firstOf(keys: ReadonlySet<number>): number {
  for (const key of keys) return key;
  return Number.NaN;
}
