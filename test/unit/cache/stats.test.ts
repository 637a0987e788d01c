import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { cacheStatistics } from '../../../src/cache/statistics.js';
import { newCounters } from '../../../src/cache/stats.js';
import { createCache } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { virtualClock } from '../../../src/testing.js';
import { cacheBench, heldLoader } from './support.js';

describe('a request is counted', () => {
  test('as one hit of the cache and a miss of memory, when the second tier has it', async () => {
    const { node } = cacheBench();
    await node().set('key', 'value');
    const cache = node();
    expect(cache.stats().hitRate, 'before the first request').toBeUndefined();
    await cache.get('key');
    expect(cache.stats()).toMatchObject({ requestCount: 1, hitCount: 1, missCount: 0, hitRate: 1 });
    expect(cache.stats().tiers).toMatchObject([
      { backend: 'memory', requestCount: 1, hitCount: 0, missCount: 1, hitRate: 0 },
      { backend: 'shared', requestCount: 1, hitCount: 1, missCount: 0, hitRate: 1 },
    ]);
  });

  test('as a miss, coalesced, when it waits for the load of another', async () => {
    const { clock, node } = cacheBench();
    const cache = node();
    const { calls, loader } = heldLoader<string>();
    const reads = [1, 2, 3].map(() => cache.getOrLoad('key', loader));
    await clock.settle();
    calls[0]?.resolve('value');
    await Promise.all(reads);
    const expected = { requestCount: 3, hitCount: 0, missCount: 3, coalescedCount: 2 };
    expect(cache.stats()).toMatchObject({ ...expected, loadCount: 1 });
  });

  test('as a hit, when what is kept is that there is none', async () => {
    const { node } = cacheBench();
    const cache = node({ negativeTtlMs: 1_000 });
    await cache.getOrLoad('key', () => undefined);
    await cache.getOrLoad('key', () => undefined);
    expect(cache.stats()).toMatchObject({ hitCount: 1, missCount: 1, loadCount: 1 });
  });

  test('for each key of getMany and for peek, and not for has', async () => {
    const { node } = cacheBench();
    const cache = node();
    await cache.set('a', '1');
    await cache.getMany(['a', 'b', 'c']);
    cache.peek('a');
    cache.peek('b');
    await cache.has('a');
    expect(cache.stats()).toMatchObject({ requestCount: 5, hitCount: 2, missCount: 3 });
  });
});

describe('the statistics of a cache', () => {
  test('can be subtracted, tier by tier', async () => {
    const { node } = cacheBench();
    const cache = node();
    await cache.getOrLoad('key', () => 'value');
    const before = cache.stats();
    await cache.get('key');
    await cache.get('other');
    const since = cache.stats().minus(before);
    const expected = { requestCount: 2, hitCount: 1, missCount: 1, hitRate: 0.5, loadCount: 0 };
    expect(since).toMatchObject(expected);
    expect(since.tiers).toMatchObject([
      { backend: 'memory', requestCount: 2, hitCount: 1, missCount: 1 },
      { backend: 'shared', requestCount: 1, hitCount: 0, missCount: 1 },
    ]);
    expect(cache.stats().minus(cache.stats()).hitRate, 'nothing happened').toBeUndefined();
  });

  test('are plain, and stay as they were', async () => {
    const { node } = cacheBench();
    const cache = node();
    const before = cache.stats();
    await cache.get('key');
    expect(structuredClone(before)).toEqual(before);
    expect(before.requestCount).toBe(0);
  });

  test('tell how long loads took that succeeded, in all and in the last minute', async () => {
    const { clock, node } = cacheBench();
    const cache = node();
    const load = async (key: string, ms: number): Promise<void> => {
      const loader = () => new Promise<string>((done) => clock.schedule(ms, () => done(key)));
      await clock.runUntil(cache.getOrLoad(key, loader));
    };
    expect(cache.stats().loadMs).toEqual({ p50: undefined, p99: undefined });
    await load('slow', 900);
    await clock.advance(70_000);
    for (const ms of [1, 2, 3]) await load(`${ms}`, ms);
    expect(cache.stats().loadMs).toEqual({ p50: 2, p99: 900 });
    expect(cache.stats().window.loadMs).toEqual({ p50: 2, p99: 3 });
  });

  test('leave no timer behind when the cache is closed, and keep no process', async () => {
    const { clock, node } = cacheBench();
    const cache = node();
    expect([clock.timerCount, clock.keepAliveCount]).toEqual([1, 0]);
    await cache.close();
    expect(clock.timerCount).toBe(0);
  });

  test('stop by themselves when the cache was let go without a close', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const clock = virtualClock();
    cacheStatistics(clock, newCounters(clock), () => []);
    for (let i = 0; i < 10 && clock.timerCount > 0; i += 1) {
      await nextTurn();
      gc();
      await clock.advance(10_000);
    }
    expect(clock.timerCount).toBe(0);
  });
});

describe('the window of the last minute', () => {
  test('is the running bucket of ten seconds and the five before it', async () => {
    const { clock, node } = cacheBench();
    const cache = node();
    await cache.get('a');
    expect(cache.stats().window).toMatchObject({ requestCount: 1, forMs: 0 });
    await clock.advance(59_999);
    expect(cache.stats().window).toMatchObject({ requestCount: 1, forMs: 59_999 });
    await clock.advance(1);
    expect(cache.stats().window).toMatchObject({ requestCount: 0, forMs: 50_000 });
    expect(cache.stats().window.hitRate).toBeUndefined();
    expect(cache.stats().requestCount).toBe(1);
  });

  // Goal: totals and windows are what anybody can count who writes down each request with its time.
  // Method: random requests and pauses, on a naive cache beside it.
  test('and the totals agree with somebody who counts independently', async () => {
    const step = fc.record({
      do: fc.constantFrom('get', 'peek', 'load', 'many', 'set', 'delete'),
      key: fc.constantFrom('a', 'b', 'c'),
      pauseMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 25_000 })),
    });
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    const property = fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = virtualClock();
      const ttlMs = 15_000;
      const cache = createCache<string>({ name: 'count', tiers: [memoryCache()], ttlMs, clock });
      const kept = new Map<string, number>();
      const requests: { readonly atMs: number; readonly isHit: boolean }[] = [];
      const request = (key: string): boolean => {
        const isHit = (kept.get(key) ?? 0) > clock.monotonicMs();
        requests.push({ atMs: clock.monotonicMs(), isHit });
        return isHit;
      };
      const keep = (key: string): void => void kept.set(key, clock.monotonicMs() + ttlMs);
      for (const { do: verb, key, pauseMs } of steps) {
        await clock.advance(pauseMs);
        if (verb === 'get') expect((await cache.get(key)) !== undefined).toBe(request(key));
        if (verb === 'peek') expect(cache.peek(key) !== undefined).toBe(request(key));
        if (verb === 'many') {
          expect((await cache.getMany(['a', key])).size).toBe(
            Array.from(new Set(['a', key]), request).filter(Boolean).length,
          );
        }
        if (verb === 'load') {
          await cache.getOrLoad(key, () => 'value');
          if (!request(key)) keep(key);
        }
        if (verb === 'set') keep(key);
        if (verb === 'set') await cache.set(key, 'value');
        if (verb === 'delete') kept.delete(key);
        if (verb === 'delete') await cache.delete(key);
      }
      const nowMs = clock.monotonicMs();
      const sinceMs = Math.max(Math.floor(nowMs / 10_000) * 10_000 - 50_000, 0);
      const { window, ...total } = cache.stats();
      for (const [counted, fromMs] of [[total, 0] as const, [window, sinceMs] as const]) {
        const those = requests.filter(({ atMs }) => atMs >= fromMs);
        const hitCount = those.filter(({ isHit }) => isHit).length;
        const missCount = those.length - hitCount;
        const hitRate = those.length === 0 ? undefined : hitCount / those.length;
        const expected = { requestCount: those.length, hitCount, missCount, hitRate };
        expect(counted).toMatchObject({ ...expected, tiers: [expected] });
      }
      expect(window.forMs).toBe(nowMs - sinceMs);
      await cache.close();
    });
    await fc.assert(property, { numRuns: 200, seed });
  });
});

// Goal: loads, their failures, stale answers, negative hits and evictions are what anybody can count.
// Method: random requests with loaders that find, find nothing or fail, on a naive cache beside it.
test('loads, failures, stale and negative answers agree with somebody who counts independently', async () => {
  const step = fc.record({
    do: fc.constantFrom('get', 'load', 'load', 'load', 'set', 'delete'),
    key: fc.constantFrom('a', 'b'),
    finds: fc.constantFrom('value', 'nothing', 'error'),
    pauseMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 9_000 })),
  });
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  const times = { ttlMs: 5_000, negativeTtlMs: 3_000, staleIfErrorMs: 10_000, errorBackoffMs: 0 };
  const property = fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const clock = virtualClock();
    const cache = createCache<string>({ name: 'count', tiers: [memoryCache()], ...times, clock });
    const kept = new Map<string, { freshMs: number; staleMs: number }>();
    const counts = { hitCount: 0, missCount: 0, staleCount: 0, loadCount: 0, loadFailureCount: 0 };
    const keep = (key: string, ttlMs: number, graceMs: number): void => {
      const freshMs = clock.monotonicMs() + ttlMs;
      kept.set(key, { freshMs, staleMs: freshMs + graceMs });
    };
    const load = async (key: string, finds: string): Promise<void> => {
      const loader = (): string | undefined => {
        if (finds === 'error') throw new Error('source down');
        return finds === 'value' ? 'value' : undefined;
      };
      await cache.getOrLoad(key, loader).catch(() => {});
      const { freshMs = 0, staleMs = 0 } = kept.get(key) ?? {};
      if (freshMs > clock.monotonicMs()) {
        counts.hitCount += 1;
        return;
      }
      counts.loadCount += 1;
      if (finds === 'error') {
        const isStale = staleMs > clock.monotonicMs();
        counts.loadFailureCount += 1;
        counts[isStale ? 'hitCount' : 'missCount'] += 1;
        if (isStale) counts.staleCount += 1;
        return;
      }
      counts.missCount += 1;
      if (finds === 'value') keep(key, times.ttlMs, times.staleIfErrorMs);
      else keep(key, times.negativeTtlMs, 0);
    };
    for (const { do: verb, key, finds, pauseMs } of steps) {
      await clock.advance(pauseMs);
      if (verb === 'load') await load(key, finds);
      if (verb === 'get') {
        await cache.get(key);
        const isHit = (kept.get(key)?.freshMs ?? 0) > clock.monotonicMs();
        counts[isHit ? 'hitCount' : 'missCount'] += 1;
      }
      if (verb === 'set') keep(key, times.ttlMs, times.staleIfErrorMs);
      if (verb === 'set') await cache.set(key, 'value');
      if (verb === 'delete') kept.delete(key);
      if (verb === 'delete') await cache.delete(key);
    }
    const before = cache.stats();
    const requestCount = counts.hitCount + counts.missCount;
    expect(before).toMatchObject({ ...counts, requestCount, coalescedCount: 0 });
    expect(before.window).toMatchObject({ refusedFillCount: 0, evictionCount: 0 });
    expect(cache.stats().minus(before)).toMatchObject({ requestCount: 0, loadCount: 0 });
    await cache.close();
  });
  await fc.assert(property, { numRuns: 200, seed });
});

test('what is stored and what is evicted is told on the channels', async () => {
  const { clock, shared } = cacheBench();
  const tiers = [memoryCache({ entriesMax: 1 }), shared];
  const cache = createCache<string>({ name: 'told', tiers, ttlMs: 9_000, clock });
  const events: unknown[] = [];
  const listen = (event: unknown): void => {
    events.push(event);
  };
  const channels = ['tricord:cache.stored', 'tricord:cache.evicted'];
  for (const channel of channels) subscribe(channel, listen);
  await cache.set('a', '1');
  await cache.getOrLoad('b', () => '2');
  for (const channel of channels) unsubscribe(channel, listen);
  expect(events).toEqual([
    { cache: 'told', tier: 'shared', key: 'a', by: 'set', ttlMs: 9_000 },
    { cache: 'told', tier: 'shared', key: 'b', by: 'load', ttlMs: 9_000 },
    { cache: 'told', tier: 'memory', key: 'a' },
  ]);
  expect(cache.stats().evictionCount).toBe(1);
});
