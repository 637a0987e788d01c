import { describe, expect, test } from 'vitest';
import { createCache, stableKey } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { virtualClock } from '../../../src/testing.js';
import { cacheBench, heldLoader } from './support.js';

describe('several keys at once', () => {
  test('the loader gets the missing keys once, and each has its own lifetime, tags and storing', async () => {
    const { clock, node } = cacheBench();
    const cache = node<number>();
    await cache.set('a', 1);
    const calls: (readonly string[])[] = [];
    const found = await cache.getOrLoadMany(['a', 'b', 'c', 'd', 'e'], (keys, { of }) => {
      calls.push(keys);
      of('b').setTtl(100);
      of('c').setTags(['tag']);
      of('d').doNotStore();
      expect(() => of('a')).toThrow(TypeError);
      return new Map(keys.filter((key) => key !== 'e').map((key) => [key, 2]));
    });
    expect(calls).toEqual([['b', 'c', 'd', 'e']]);
    expect(Array.from(found)).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 2],
      ['d', 2],
    ]);
    expect(cache.stats()).toMatchObject({ requestCount: 5, hitCount: 1, missCount: 4 });
    await clock.advance(100);
    await cache.invalidateTag('tag');
    expect((await cache.getMany(['a', 'b', 'c', 'd', 'e'])).size).toBe(1);
  });

  test('that the source has none is kept for negativeTtlMs, for each of them', async () => {
    const { node } = cacheBench();
    const cache = node<number>({ negativeTtlMs: 1_000 });
    const load = () => [];
    expect((await cache.getOrLoadMany(['a', 'b'], load)).size).toBe(0);
    expect((await cache.getOrLoadMany(['a', 'b'], load)).size).toBe(0);
    expect(cache.stats()).toMatchObject({ loadCount: 2, hitCount: 2 });
  });

  test('a key that somebody else is loading is waited for, and keeps nobody waiting', async () => {
    const { node } = cacheBench();
    const cache = node<string>();
    const { calls, loader } = heldLoader<string>();
    const alone = cache.getOrLoad('a', loader);
    await expect.poll(() => calls.length).toBe(1);
    const asked: (readonly string[])[] = [];
    const both = cache.getOrLoadMany(['a', 'b'], (keys) => {
      asked.push(keys);
      return keys.map((key) => [key, 'many'] as const);
    });
    await expect.poll(() => asked).toEqual([['b']]);
    calls[0]?.resolve('one');
    expect(await both).toEqual(
      new Map([
        ['a', 'one'],
        ['b', 'many'],
      ]),
    );
    expect(await alone).toBe('one');
  });

  test('the loader is not called until it is known of every key whether it is missing', async () => {
    const { shared, node } = cacheBench();
    const cache = node<string>();
    shared.before = (operation, key) =>
      operation === 'lease' && key === 'b' ? new Promise((go) => setTimeout(go, 20)) : undefined;
    const asked: (readonly string[])[] = [];
    await cache.getOrLoadMany(['a', 'b', 'c'], (keys) => {
      asked.push(keys);
      return keys.map((key) => [key, 'value'] as const);
    });
    expect(asked).toEqual([['a', 'b', 'c']]);
  });

  test('an error of the loader reaches the caller, and a bad answer is told', async () => {
    const { node } = cacheBench();
    const cache = node<string>();
    const failure = new Error('down');
    const failing = cache.getOrLoadMany(['a', 'b'], () => Promise.reject(failure));
    await expect(failing).rejects.toBe(failure);
    const bad = cache.getOrLoadMany(['a'], (() => undefined) as never);
    await expect(bad).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'loadMany()' });
    const notKeys = cache.getOrLoadMany('ab', () => []);
    await expect(notKeys).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'keys' });
    expect((await cache.getOrLoadMany([], () => Promise.reject(failure))).size).toBe(0);
  });

  test('the signal of a load is aborted when nobody waits for any of its keys', async () => {
    const { clock, node } = cacheBench();
    const cache = node<string>();
    let signal: AbortSignal | undefined;
    const loading = cache.getOrLoadMany(
      ['a', 'b'],
      (_, context) => {
        signal = context.signal;
        return new Promise(() => {});
      },
      { timeoutMs: 100 },
    );
    loading.catch(() => {});
    await expect.poll(() => signal).toBeDefined();
    expect(signal?.aborted).toBe(false);
    await clock.advance(100);
    await expect(loading).rejects.toMatchObject({ code: 'CACHE_TIMEOUT' });
    expect(signal?.aborted).toBe(true);
  });
});

describe('touch', () => {
  test.each(['memory alone', 'memory before a shared tier'])('over %s', async (tiers) => {
    const bench = cacheBench();
    const isAlone = tiers === 'memory alone';
    const { clock } = bench;
    const cache = bench.node<string>(isAlone ? { tiers: [memoryCache()] } : {});
    await cache.set('key', 'value', { ttlMs: 100, tags: ['tag'] });
    await clock.advance(90);
    expect(await cache.touch('key', { ttlMs: 200 })).toBe(true);
    await clock.advance(190);
    expect(await cache.get('key')).toBe('value');
    expect(await cache.touch('key', { ttlMs: 50 })).toBe(true);
    await clock.advance(60);
    expect(await cache.get('key')).toBeUndefined();
    expect(await cache.touch('key')).toBe(false);
    await cache.set('key', 'value', { tags: ['tag'] });
    await cache.invalidateTag('tag');
    expect(await cache.touch('key')).toBe(false);
    expect(await cache.get('key')).toBeUndefined();
  });
});

describe('wrap', () => {
  test('keeps the results of a function by its arguments', async () => {
    const { node } = cacheBench();
    const cache = node<string>();
    let calls = 0;
    const fn = async (sku: number, country: string) => {
      calls += 1;
      return `${sku} in ${country} ${calls}`;
    };
    const wrapped = cache.wrap(fn, {
      key: (sku, country) => `${country}:${sku}`,
      tags: (_, country) => [country],
    });
    expect(await wrapped(1, 'eu')).toBe('1 in eu 1');
    expect(await wrapped(1, 'eu')).toBe('1 in eu 1');
    expect(await wrapped(1, 'us')).toBe('1 in us 2');
    await wrapped.invalidate(1, 'eu');
    expect(await wrapped(1, 'eu')).toBe('1 in eu 3');
    await cache.invalidateTag('us');
    expect(await wrapped(1, 'us')).toBe('1 in us 4');
  });
});

describe('keys of another type', () => {
  test('equal keys are one key, on every call', async () => {
    const clock = virtualClock();
    const cache = createCache<string, { sku: number; country: string }>({
      name: 'keyed',
      tiers: [memoryCache()],
      ttlMs: 1_000,
      keyOf: stableKey,
      clock,
    });
    const key = { sku: 1, country: 'eu' };
    const same = { country: 'eu', sku: 1 };
    const other = { sku: 2, country: 'eu' };
    await cache.set(key, 'value');
    expect(await cache.get(same)).toBe('value');
    expect(cache.peek(same)).toBe('value');
    expect(await cache.has(other)).toBe(false);
    const found = await cache.getOrLoadMany([key, same, other], (keys, { of }) => {
      expect(keys).toEqual([other]);
      of(other).setTtl(10);
      return [[other, 'loaded']];
    });
    expect(Array.from(found)).toEqual([
      [key, 'value'],
      [other, 'loaded'],
    ]);
    expect(await cache.getMany([same])).toEqual(new Map([[same, 'value']]));
    await cache.deleteMany([same]);
    expect(await cache.get(key)).toBeUndefined();
    expect(await cache.getOrLoad(key, ({ key: text }) => text)).toBe('{"country":"eu","sku":1}');
    await cache.setMany([[other, 'set']]);
    expect(await cache.touch(other)).toBe(true);
    expect(await cache.update(other, () => 1)).toBe(1);
    await cache.delete(key);
    await cache.close();
  });
});
