import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { instantOf } from '../../../src/core/clock.js';
import { seededRandom } from '../../../src/core/random.js';
import { type SieveNode, sieve } from '../../../src/drivers/memory/cache-sieve.js';
import { memoryStore } from '../../../src/drivers/memory/cache-store.js';
import { virtualClock } from '../../../src/testing.js';

/** SIEVE as its paper's listing has it: an array, newest first, and a hand that is an index. */
class PaperSieve {
  readonly line: { key: string; isVisited: boolean }[] = [];
  hand: string | undefined;
  constructor(readonly capacity: number) {}
  touch(key: string): void {
    const entry = this.line.find((each) => each.key === key);
    if (entry !== undefined) {
      entry.isVisited = true;
      return;
    }
    if (this.line.length === this.capacity) this.evict();
    this.line.unshift({ key, isVisited: false });
  }
  evict(): void {
    let at = this.line.findIndex((each) => each.key === this.hand);
    if (at < 0) at = this.line.length - 1;
    for (; this.line[at]?.isVisited; at = at === 0 ? this.line.length - 1 : at - 1) {
      const entry = this.line[at];
      if (entry !== undefined) entry.isVisited = false;
    }
    this.hand = this.line[at - 1]?.key;
    this.line.splice(at, 1);
  }
}

describe('eviction', () => {
  test('gives up the same entries as the paper’s SIEVE, on any trace', () => {
    const trace = fc.array(fc.integer({ min: 0, max: 12 }).map(String), { maxLength: 200 });
    const property = fc.property(trace, fc.integer({ min: 1, max: 6 }), (keys, capacity) => {
      const paper = new PaperSieve(capacity);
      const line = sieve<SieveNode>();
      const nodes = new Map<string, SieveNode>();
      for (const key of keys) {
        paper.touch(key);
        const present = nodes.get(key);
        if (present !== undefined) {
          present.isVisited = true;
          continue;
        }
        if (nodes.size === capacity) {
          const victim = line.victim();
          assert.ok(victim);
          nodes.delete(victim.key);
          line.remove(victim);
        }
        const node = { key, isVisited: false, newer: undefined, older: undefined };
        nodes.set(key, node);
        line.add(node);
        const kept = paper.line.map((each) => each.key);
        assert.deepEqual(new Set(nodes.keys()), new Set(kept));
      }
    });
    fc.assert(property, { numRuns: 500, seed: Number(process.env.SEED ?? Date.now() % 2 ** 31) });
  });

  test('keeps at least eight points more of a skewed trace than LRU would', () => {
    const [capacity, keyCount, requests] = [500, 10_000, 100_000];
    const random = seededRandom(42);
    const weights = Array.from({ length: keyCount }, (_, rank) => 1 / (rank + 1) ** 0.9);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    let sum = 0;
    const bounds = weights.map((weight) => {
      sum += weight;
      return sum / total;
    });
    const draw = (): string => {
      const point = random.fraction();
      let [low, high] = [0, keyCount - 1];
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((bounds[middle] ?? 1) < point) low = middle + 1;
        else high = middle;
      }
      return String(low);
    };
    const clock = virtualClock();
    const store = memoryStore(clock, capacity);
    const validity = { since: instantOf(clock), forMs: 1_000 };
    const lru = new Map<string, true>();
    let [hits, lruHits] = [0, 0];
    for (let i = 0; i < requests; i += 1) {
      const key = draw();
      if (store.get(key) !== undefined) hits += 1;
      else store.write(key, { value: 1, isShareable: true }, validity);
      if (lru.delete(key)) lruHits += 1;
      lru.set(key, true);
      const [oldest] = lru.keys();
      if (lru.size > capacity && oldest !== undefined) lru.delete(oldest);
    }
    expect(store.entryCount).toBe(capacity);
    const points = (100 * (hits - lruHits)) / requests;
    expect(points).toBeGreaterThan(8);
  });
});

describe('the memory of a process', () => {
  const value = (text: string) => ({ value: text, isShareable: true });

  test('never holds more than its bound, and counts only live entries as evicted', async () => {
    const clock = virtualClock();
    const store = memoryStore(clock, 3);
    const put = (key: string, forMs: number) =>
      store.write(key, value(key), { since: instantOf(clock), forMs });
    for (const key of ['a', 'b', 'c', 'd']) put(key, 100);
    expect([store.entryCount, store.evictionCount]).toEqual([3, 1]);
    await clock.advance(100);
    put('e', 100);
    expect([store.entryCount, store.evictionCount]).toEqual([3, 1]);
    expect(store.get('b')).toBeUndefined();
  });

  test('refuses what was asked for before the key was removed, and takes it afterwards', () => {
    const clock = virtualClock();
    const store = memoryStore(clock, 3);
    const validity = { since: instantOf(clock), forMs: 100 };
    for (const remove of [() => store.delete('key'), () => store.clear()]) {
      const [before, beside] = [store.begin('key'), store.begin('other')];
      store.delete('unrelated');
      remove();
      const after = store.begin('key');
      expect(store.put(before, value('old'), validity)).toBe('refused');
      expect(store.put(after, value('new'), validity)).toBe('stored');
      expect(store.get('key')?.value).toBe('new');
      for (const ticket of [before, beside, after]) store.end(ticket);
    }
  });

  test('refuses a value whose time has passed on the way', async () => {
    const clock = virtualClock();
    const store = memoryStore(clock, 3);
    const ticket = store.begin('key');
    const validity = { since: instantOf(clock), forMs: 100 };
    await clock.advance(100);
    expect(store.put(ticket, value('late'), validity)).toBe('refused');
  });
});
