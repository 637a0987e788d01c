import { describe, expect, test } from 'vitest';
import { ageOf, lifetimeOf } from '../../../src/cache/lifetime.js';
import { seededRandom } from '../../../src/core/random.js';
import type { CacheOptions } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { cacheBench, heldLoader } from './support.js';

const MINUTE = 60_000;

/** A cache in which `key` is `old`, and whose clock stands `agoMs` after it was stored. */
async function agedBench(agoMs: number, options: Partial<CacheOptions>) {
  const bench = cacheBench();
  const cache = bench.node(options);
  await cache.set('key', 'old', { ttlMs: MINUTE });
  await bench.clock.advance(agoMs);
  return { ...bench, cache };
}

describe.each([
  ['memory before a shared tier', () => ({})],
  ['memory alone', () => ({ tiers: [memoryCache()] })],
])('an entry that ages: %s', (where, tiers) => {
  const isAlone = where === 'memory alone';

  test('within staleMs the old value is answered at once, and one load goes on behind it', async () => {
    const options = { staleMs: MINUTE, ...tiers() };
    const { clock, cache, shared } = await agedBench(MINUTE + 1, options);
    const { calls, loader } = heldLoader<string>();
    const reads = await Promise.all([1, 2, 3].map(() => cache.getOrLoad('key', loader)));
    expect(reads).toEqual(['old', 'old', 'old']);
    await clock.settle();
    expect(await cache.getOrLoad('key', loader)).toBe('old');
    await clock.settle();
    expect(calls).toHaveLength(1);
    if (!isAlone) expect(shared.count('lease')).toBe(1);
    expect(cache.stats()).toMatchObject({ hitCount: 4, staleCount: 4, missCount: 0 });
    calls[0]?.resolve('new');
    await clock.settle();
    expect(await cache.getOrLoad('key', loader)).toBe('new');
    expect(cache.stats()).toMatchObject({ hitCount: 5, staleCount: 4, loadCount: 1 });
  });

  test('get, peek, has and getMany never answer a stale value', async () => {
    const { cache } = await agedBench(MINUTE + 1, { staleMs: MINUTE, ...tiers() });
    expect(cache.peek('key')).toBeUndefined();
    expect(await cache.get('key')).toBeUndefined();
    expect(await cache.has('key')).toBe(false);
    expect((await cache.getMany(['key'])).size).toBe(0);
  });

  test('after staleMs it is loaded anew while the caller waits', async () => {
    const { cache } = await agedBench(2 * MINUTE + 1, { staleMs: MINUTE, ...tiers() });
    expect(await cache.getOrLoad('key', () => 'new')).toBe('new');
    expect(cache.stats()).toMatchObject({ hitCount: 0, staleCount: 0, missCount: 1 });
  });

  test('a failed load in the background is not tried again for errorBackoffMs', async () => {
    const { clock, cache } = await agedBench(MINUTE + 1, { staleMs: MINUTE, ...tiers() });
    const { calls, loader } = heldLoader<string>();
    await cache.getOrLoad('key', loader);
    await clock.settle();
    calls[0]?.reject(new Error('source is down'));
    await clock.settle();
    expect(await cache.getOrLoad('key', loader)).toBe('old');
    await clock.settle();
    expect(calls).toHaveLength(1);
    await clock.advance(1_001);
    expect(await cache.getOrLoad('key', loader)).toBe('old');
    await clock.settle();
    expect(calls).toHaveLength(2);
    calls[1]?.resolve('new');
  });

  test('an invalidation during the refresh refuses it', async () => {
    const { clock, cache } = await agedBench(MINUTE + 1, { staleMs: MINUTE, ...tiers() });
    const { calls, loader } = heldLoader<string>();
    await cache.getOrLoad('key', loader);
    await clock.settle();
    await cache.delete('key');
    calls[0]?.resolve('older than the delete');
    await clock.settle();
    expect(await cache.get('key')).toBeUndefined();
    expect(cache.stats().refusedFillCount).toBe(1);
  });

  test('within staleIfErrorMs the old value is answered when the loader fails', async () => {
    const { cache } = await agedBench(MINUTE + 1, { staleIfErrorMs: MINUTE, ...tiers() });
    let loads = 0;
    const loader = (): string => {
      loads += 1;
      throw new Error('source is down');
    };
    expect(await cache.getOrLoad('key', loader)).toBe('old');
    expect(await cache.getOrLoad('key', loader)).toBe('old');
    expect(loads).toBe(1);
    expect(cache.stats()).toMatchObject({ staleCount: 2, hitCount: 2, missCount: 0 });
  });

  test('after staleIfErrorMs the error of the loader comes out', async () => {
    const options = { staleIfErrorMs: MINUTE, ...tiers() };
    const { cache } = await agedBench(2 * MINUTE + 1, options);
    const failing = () => Promise.reject(new Error('source is down'));
    await expect(cache.getOrLoad('key', failing)).rejects.toThrow('source is down');
  });

  test('an entry that was deleted is not answered when the loader fails', async () => {
    const { cache } = await agedBench(MINUTE + 1, { staleIfErrorMs: MINUTE, ...tiers() });
    await cache.delete('key');
    const failing = () => Promise.reject(new Error('source is down'));
    await expect(cache.getOrLoad('key', failing)).rejects.toThrow('source is down');
  });

  test('softTimeoutMs answers the old value while the load goes on, and others at once', async () => {
    const options = { staleIfErrorMs: MINUTE, softTimeoutMs: 200, ...tiers() };
    const { clock, cache } = await agedBench(MINUTE + 1, options);
    const { calls, loader } = heldLoader<string>();
    let answer: unknown;
    const reading = cache.getOrLoad('key', loader).then((value) => {
      answer = value;
    });
    await clock.advance(199);
    expect(answer).toBeUndefined();
    await clock.advance(1);
    await reading;
    expect(answer).toBe('old');
    expect(await cache.getOrLoad('key', loader)).toBe('old');
    expect(calls).toHaveLength(1);
    expect(calls[0]?.signal.aborted).toBe(false);
    calls[0]?.resolve('new');
    await clock.settle();
    expect(await cache.getOrLoad('key', loader)).toBe('new');
  });

  test('a caller whose time is up is answered with what staleIfErrorMs allows', async () => {
    const options = { staleIfErrorMs: MINUTE, timeoutMs: 500, hardTimeoutMs: 100, ...tiers() };
    const { clock, cache } = await agedBench(MINUTE + 1, options);
    const { loader } = heldLoader<string>();
    const reading = cache.getOrLoad('key', loader);
    await clock.advance(500);
    expect(await reading).toBe('old');
    // The next is answered at once: the source is known to be slow.
    expect(await cache.getOrLoad('key', loader)).toBe('old');
  });

  test('earlyRefresh loads anew before the end, while the good value is answered', async () => {
    const bench = cacheBench();
    const options = { earlyRefresh: 50, random: seededRandom(7), ...tiers() };
    const cache = bench.node(options);
    const { calls, loader } = heldLoader<string>();
    const first = cache.getOrLoad('key', loader, { ttlMs: MINUTE });
    await bench.clock.advance(1_000);
    calls[0]?.resolve('first');
    expect(await first).toBe('first');
    let answered = 0;
    for (let second = 0; second < 59 && calls.length < 2; second += 1) {
      await bench.clock.advance(1_000);
      expect(await cache.getOrLoad('key', loader)).toBe('first');
      answered += 1;
      await bench.clock.settle();
    }
    expect(calls).toHaveLength(2);
    expect(answered).toBeGreaterThan(20);
    calls[1]?.resolve('second');
    await bench.clock.settle();
    expect(await cache.getOrLoad('key', loader)).toBe('second');
    expect(cache.stats()).toMatchObject({ staleCount: 0, missCount: 1 });
  });

  test('negativeTtlMs keeps that there is nothing, as a hit; delete and set end it', async () => {
    const bench = cacheBench();
    const cache = bench.node<string>({ negativeTtlMs: 10_000, ...tiers() });
    let loads = 0;
    const nothing = (): undefined => {
      loads += 1;
    };
    expect(await cache.getOrLoad('key', nothing)).toBeUndefined();
    expect(await cache.getOrLoad('key', nothing)).toBeUndefined();
    expect(await cache.get('key')).toBeUndefined();
    expect(await cache.has('key')).toBe(false);
    expect(loads).toBe(1);
    expect(cache.stats()).toMatchObject({ missCount: 1, hitCount: 2 });
    const other = bench.node<string>({ negativeTtlMs: 10_000 });
    if (!isAlone) expect(await other.getOrLoad('key', () => 'loaded')).toBeUndefined();
    await cache.delete('key');
    expect(await cache.getOrLoad('key', () => 'value')).toBe('value');
    await bench.clock.advance(10_001);
    expect(await cache.get('key')).toBe('value');
  });

  test('that there is nothing is not kept without negativeTtlMs, and no longer than it says', async () => {
    const bench = cacheBench();
    const plain = bench.node<string>(tiers());
    expect(await plain.getOrLoad('plain', () => undefined)).toBeUndefined();
    expect(await plain.getOrLoad('plain', () => 'value')).toBe('value');
    const cache = bench.node<string>({ negativeTtlMs: 10_000, ...tiers() });
    expect(await cache.getOrLoad('key', () => undefined)).toBeUndefined();
    await bench.clock.advance(10_001);
    expect(await cache.getOrLoad('key', () => 'value')).toBe('value');
  });

  test('a loader sets the time of its own value, and says what is not to be stored', async () => {
    const { clock, node } = cacheBench();
    const cache = node<string>(tiers());
    await cache.getOrLoad('short', ({ setTtl }) => {
      setTtl(1_000);
      return 'value';
    });
    expect(await cache.get('short')).toBe('value');
    await clock.advance(1_001);
    expect(await cache.get('short')).toBeUndefined();
    const loaded = await cache.getOrLoad('secret', ({ doNotStore }) => {
      doNotStore();
      return 'value';
    });
    expect(loaded).toBe('value');
    expect(await cache.get('secret')).toBeUndefined();
    await expect(
      cache.getOrLoad('bad', ({ setTtl }) => {
        setTtl(0);
        return 'value';
      }),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'ttlMs' });
  });

  test('a loader is given the old value that it is to replace', async () => {
    const { clock, cache } = await agedBench(MINUTE + 1, { staleMs: MINUTE, ...tiers() });
    const seen: unknown[] = [];
    const loader = ({ stale }: { stale: unknown }): string => {
      seen.push(stale);
      return 'new';
    };
    await cache.getOrLoad('key', loader);
    await clock.settle();
    await cache.getOrLoad('other', loader);
    expect(seen).toEqual(['old', undefined]);
  });
});

describe('an entry that ages, on several nodes', () => {
  test('one node loads it anew, and the others answer the old value meanwhile', async () => {
    const { clock, node } = cacheBench();
    const nodes = [1, 2, 3, 4].map(() => node({ staleMs: MINUTE }));
    await nodes[0]?.set('key', 'old', { ttlMs: MINUTE });
    await clock.advance(MINUTE + 1);
    const { calls, loader } = heldLoader<string>();
    const reads = await Promise.all(nodes.map((cache) => cache.getOrLoad('key', loader)));
    expect(reads).toEqual(['old', 'old', 'old', 'old']);
    await clock.settle();
    expect(calls).toHaveLength(1);
    calls[0]?.resolve('new');
    await clock.settle();
    for (const cache of nodes) expect(await cache.getOrLoad('key', loader)).toBe('new');
    expect(calls).toHaveLength(1);
  });

  test('a node that lets nothing age does not answer the stale entries of one that does', async () => {
    const { clock, node } = cacheBench();
    await node({ staleMs: MINUTE }).set('key', 'old', { ttlMs: MINUTE });
    const alone = node({ tiers: [cacheBench().shared] });
    expect(await alone.get('key')).toBeUndefined();
    const plain = node({ localTtlMs: 10 * MINUTE });
    expect(await plain.get('key')).toBe('old');
    expect(plain.peek('key')).toBe('old');
    await clock.advance(MINUTE + 1);
    expect(await plain.get('key')).toBeUndefined();
    expect(await plain.getOrLoad('key', () => 'new')).toBe('new');
  });

  test('closing ends what goes on in the background', async () => {
    const { clock, cache } = await agedBench(MINUTE + 1, { staleMs: MINUTE });
    const { calls, loader } = heldLoader<string>();
    await cache.getOrLoad('key', loader);
    await clock.settle();
    const closing = cache.close({ drainMs: 60_000 });
    await clock.settle();
    expect(calls[0]?.signal.aborted).toBe(true);
    await closing;
  });
});

describe('the life of an entry', () => {
  const policy = { staleMs: 0, staleIfErrorMs: 0, jitter: 0, earlyRefresh: 0 };

  test('is its ttl, without options', () => {
    expect(lifetimeOf(policy, seededRandom(1), { ttlMs: 1_000, loadMs: 5 })).toEqual({
      ttlMs: 1_000,
      aging: undefined,
    });
  });

  test('is shortened by chance, by the jitter at most', () => {
    const random = seededRandom(2);
    const lives = Array.from({ length: 1_000 }, () =>
      lifetimeOf({ ...policy, jitter: 0.2 }, random, { ttlMs: 1_000 }),
    ).map(({ ttlMs }) => ttlMs);
    expect(Math.min(...lives)).toBeGreaterThanOrEqual(800);
    expect(Math.max(...lives)).toBeLessThanOrEqual(1_000);
    expect(Math.max(...lives) - Math.min(...lives)).toBeGreaterThan(150);
  });

  test('has its parts in this order: fresh, due for a refresh, stale, over', () => {
    const aging = { graceMs: 300, earlyMs: 100 };
    expect([401, 400, 301, 300, 1, 0].map((left) => ageOf(aging, left))).toEqual([
      'fresh',
      'early',
      'early',
      'stale',
      'stale',
      'over',
    ]);
  });

  test.each([
    [{ staleMs: -1 }, 'staleMs'],
    [{ staleIfErrorMs: Number.NaN }, 'staleIfErrorMs'],
    [{ jitter: 1 }, 'jitter'],
    [{ earlyRefresh: 101 }, 'earlyRefresh'],
    [{ negativeTtlMs: 0 }, 'negativeTtlMs'],
    [{ softTimeoutMs: 0 }, 'softTimeoutMs'],
    [{ errorBackoffMs: -1 }, 'errorBackoffMs'],
    [{ consistency: 'tracked' }, 'consistency'],
    [{ consistency: 'lease' }, 'consistency'],
  ] as const)('refuses %j', (options, argument) => {
    expect(() => cacheBench().node(options)).toThrow(expect.objectContaining({ argument }));
  });
});
