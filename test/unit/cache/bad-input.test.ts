import { describe, expect, test } from 'vitest';
import { type CacheOptions, createCache } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { redisCache } from '../../../src/redis.js';
import { virtualClock } from '../../../src/testing.js';
import { sharedMemory } from './shared-memory.js';
import { cacheBench } from './support.js';

const invalid = (argument: string) => ({ name: 'TypeError', code: 'INVALID_ARGUMENT', argument });
const caught = (call: () => unknown): unknown => {
  try {
    return call();
  } catch (error) {
    return error;
  }
};

describe('a cache with bad options is not created', () => {
  const shared = sharedMemory(virtualClock());
  const BAD: readonly (readonly [argument: string, options: object])[] = [
    ['name', { name: '' }],
    ['name', { name: 'x'.repeat(129) }],
    ['name', { name: '\ud800' }],
    ['name', { name: 7 }],
    ['ttlMs', { ttlMs: undefined }],
    ['ttlMs', { ttlMs: 0 }],
    ['ttlMs', { ttlMs: Number.NaN }],
    ['ttlMs', { ttlMs: Number.POSITIVE_INFINITY }],
    ['localTtlMs', { localTtlMs: -1 }],
    ['timeoutMs', { timeoutMs: 0 }],
    ['timeoutMs', { timeoutMs: '5s' }],
    ['hardTimeoutMs', { timeoutMs: 100, hardTimeoutMs: 101 }],
    ['leaseMs', { leaseMs: 99 }],
    ['tiers', { tiers: [] }],
    ['tiers', { tiers: undefined }],
    ['tiers', { tiers: [{}] }],
    ['tiers', { tiers: [memoryCache(), memoryCache()] }],
    ['tiers', { tiers: [shared, memoryCache()] }],
    ['tiers', { tiers: [memoryCache(), shared, shared] }],
  ];
  test.each(BAD)('%s: %o', (argument, options) => {
    const good: CacheOptions = { name: 'cache', tiers: [memoryCache()], ttlMs: 1_000 };
    expect(caught(() => createCache({ ...good, ...options }))).toMatchObject(invalid(argument));
  });

  test('nor a driver', () => {
    for (const entriesMax of [0, 1.5, Number.NaN, 2 ** 24 + 1]) {
      expect(caught(() => memoryCache({ entriesMax }))).toMatchObject(invalid('entriesMax'));
    }
    const notClient = { client: { get: () => 1 } as never };
    expect(caught(() => redisCache(notClient))).toMatchObject(invalid('client'));
    const client = { evalsha: () => {}, duplicate: () => {} } as never;
    const bad = { client, namespace: 'a:b' };
    expect(caught(() => redisCache(bad))).toMatchObject(invalid('namespace'));
    const news = { client, news: 'pubsub' as 'bus' };
    expect(caught(() => redisCache(news))).toMatchObject(invalid('news'));
  });
});

describe('a call with bad arguments sends nothing', () => {
  const KEYS: readonly unknown[] = [
    '',
    'k'.repeat(1_025),
    '🎉'.repeat(257),
    '\udc00',
    7,
    undefined,
  ];
  test.each(KEYS)('key %o', async (key) => {
    const { shared, node } = cacheBench();
    const cache = node();
    const bad = key as string;
    const calls = [
      () => cache.get(bad),
      () => cache.has(bad),
      () => cache.getOrLoad(bad, () => 'x'),
      () => cache.set(bad, 'x'),
      () => cache.delete(bad),
      () => cache.update(bad, () => 'x'),
      () => cache.getMany(['good', bad]),
      () => cache.setMany([['good', 'x'] as const, [bad, 'x'] as const]),
    ];
    for (const call of calls) await expect(call()).rejects.toMatchObject(invalid('key'));
    expect(caught(() => cache.peek(bad))).toMatchObject(invalid('key'));
    expect(shared.count('read') + shared.count('seize') + shared.count('invalidate')).toBe(0);
    expect(cache.stats().requestCount).toBe(0);
  });

  test('values, loaders, times and signals', async () => {
    const { shared, node } = cacheBench();
    const cache = node<unknown>();
    await expect(cache.set('key', undefined)).rejects.toMatchObject(invalid('value'));
    await expect(cache.set('key', () => 1)).rejects.toMatchObject({
      code: 'CACHE_VALUE_UNSUPPORTED',
      details: { key: 'key', path: 'value', type: 'function' },
    });
    const mixed = [['a', 1] as const, ['b', Symbol('s')] as const];
    await expect(cache.setMany(mixed)).rejects.toMatchObject({ code: 'CACHE_VALUE_UNSUPPORTED' });
    for (const [name, breaker] of [
      ['failureRatio', { failureRatio: 0 }],
      ['failureRatio', { failureRatio: 1.1 }],
      ['callsMin', { callsMin: 2.5 }],
      ['windowMs', { windowMs: 0 }],
      ['openMs', { openMs: Number.NaN }],
    ] as const) {
      expect(caught(() => node({ breaker }))).toMatchObject(invalid(`breaker.${name}`));
    }
    expect(caught(() => node({ outageTtlMs: -1 }))).toMatchObject(invalid('outageTtlMs'));
    const notFunction = 'value' as never;
    await expect(cache.getOrLoad('key', notFunction)).rejects.toMatchObject(invalid('loader'));
    await expect(cache.update('key', notFunction)).rejects.toMatchObject(invalid('commit'));
    for (const ttlMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
      await expect(cache.set('key', 1, { ttlMs })).rejects.toMatchObject(invalid('ttlMs'));
      const load = cache.getOrLoad('key', () => 1, { ttlMs });
      await expect(load).rejects.toMatchObject(invalid('ttlMs'));
    }
    await expect(cache.get('key', { timeoutMs: 0 })).rejects.toMatchObject(invalid('timeoutMs'));
    const reason = new Error('shutting down');
    const aborted = { signal: AbortSignal.abort(reason) };
    for (const call of [
      () => cache.get('key', aborted),
      () => cache.getOrLoad('key', () => 1, aborted),
      () => cache.set('key', 1, aborted),
      () => cache.delete('key', aborted),
      () => cache.update('key', () => 1, aborted),
    ]) {
      await expect(call()).rejects.toBe(reason);
    }
    expect(shared.count('read') + shared.count('seize') + shared.count('hold')).toBe(0);
  });
});

describe('a hit is no way around the checks', () => {
  test('of options that are given, and of a signal that was aborted', async () => {
    const { node } = cacheBench();
    const cache = node();
    await cache.set('key', 'value');
    const bad = { timeoutMs: Number.NaN };
    await expect(cache.get('key', bad)).rejects.toMatchObject(invalid('timeoutMs'));
    await expect(cache.getOrLoad('key', () => 'x', bad)).rejects.toMatchObject(
      invalid('timeoutMs'),
    );
    const reason = new Error('gone');
    const aborted = { signal: AbortSignal.abort(reason) };
    await expect(cache.get('key', aborted)).rejects.toBe(reason);
    await expect(cache.getOrLoad('key', () => 'x', aborted)).rejects.toBe(reason);
    expect(cache.stats().requestCount).toBe(0);
  });
});

describe('what is no collection of keys or entries is refused', () => {
  test.each(['key', 7, undefined, null, {}])('%o', async (value) => {
    const cache = cacheBench().node();
    await expect(cache.getMany(value as never)).rejects.toMatchObject(invalid('keys'));
    await expect(cache.setMany(value as never)).rejects.toMatchObject(invalid('entries'));
  });
});
