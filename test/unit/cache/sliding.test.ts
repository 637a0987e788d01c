import { describe, expect, test } from 'vitest';
import { type CacheOptions, createCache, v8Codec } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { cacheBench } from './support.js';

const sliding = { maxAgeMs: 600_000 };

function bench(options: Partial<CacheOptions<string>> = {}) {
  const made = cacheBench();
  const { clock, shared } = made;
  const node = (more: Partial<CacheOptions<string>> = {}) =>
    made.node<string>({ sliding, ...options, ...more });
  return { clock, shared, node };
}

describe.each([
  ['a shared tier alone', (made: ReturnType<typeof bench>) => made.node({ tiers: [made.shared] })],
  ['memory before a shared tier', (made: ReturnType<typeof bench>) => made.node()],
  ['memory alone', (made: ReturnType<typeof bench>) => made.node({ tiers: [memoryCache()] })],
  ['bytes', (made: ReturnType<typeof bench>) => made.node({ codec: v8Codec })],
  ['an entry that gets stale', (made: ReturnType<typeof bench>) => made.node({ staleMs: 1_000 })],
])('with %s', (_, open) => {
  test('a hit lets the entry live for its ttlMs from then on, and for maxAgeMs in all', async () => {
    const made = bench();
    const cache = open(made);
    await cache.set('key', 'value');
    let aliveMs = 0;
    while ((await cache.get('key')) !== undefined && aliveMs < 900_000) {
      await made.clock.advance(20_000);
      aliveMs += 20_000;
    }
    expect(aliveMs).toBeGreaterThanOrEqual(580_000);
    expect(aliveMs).toBeLessThanOrEqual(620_000);
  });

  test('what is not hit ends at its ttlMs', async () => {
    const made = bench();
    const cache = open(made);
    await cache.getOrLoad('key', () => 'value');
    await made.clock.advance(59_000);
    expect(await cache.has('key')).toBe(true);
    await made.clock.advance(2_000);
    expect(await cache.get('key')).toBeUndefined();
  });
});

test('hits of getOrLoad extend too, alone and together with others', async () => {
  const made = bench();
  const cache = made.node({ tiers: [made.shared] });
  await cache.setMany(['alone', 'together'].map((key) => [key, 'value'] as const));
  const load = () => 'another';
  for (let i = 0; i < 6; i += 1) {
    await made.clock.advance(40_000);
    expect(await cache.getOrLoad('alone', load)).toBe('value');
    const both = [cache.getOrLoad('together', load), cache.getOrLoad('together', load)];
    expect(await Promise.all(both)).toEqual(['value', 'value']);
  }
});

test('hits stay cheap: one extension in a quarter of the time, whatever the number of hits', async () => {
  const { clock, shared, node } = bench();
  const cache = node({ consistency: 'ttl', localTtlMs: 5_000 });
  await cache.set('key', 'value');
  for (let second = 0; second < 60; second += 1) {
    for (let i = 0; i < 20; i += 1) {
      await cache.get('key');
      cache.peek('key');
      await cache.getOrLoad('key', () => 'other');
    }
    await clock.advance(1_000);
  }
  expect(await cache.get('key')).toBe('value');
  expect(shared.count('extend')).toBeGreaterThanOrEqual(3);
  expect(shared.count('extend')).toBeLessThanOrEqual(5);
});

test('an extension is for the entry that was hit, not for what took its place', async () => {
  const { clock, shared, node } = bench();
  const [a, b] = [node({ tiers: [shared] }), node({ tiers: [shared] })];
  await a.set('key', 'old');
  await clock.advance(30_000);
  shared.before = async (operation) => {
    if (operation !== 'extend') return;
    shared.before = undefined;
    await b.set('key', 'new', { ttlMs: 5_000 });
  };
  expect(await a.get('key')).toBe('old');
  await clock.advance(10);
  expect(await b.get('key')).toBe('new');
  await clock.advance(5_100);
  expect(await b.has('key')).toBe(false);
});

test('an extension never brings an end nearer', async () => {
  const { clock, shared, node } = bench();
  const cache = node({ consistency: 'ttl', localTtlMs: 60_000 });
  await cache.set('key', 'value');
  await clock.advance(50_000);
  await node({ tiers: [shared] }).touch('key', { ttlMs: 500_000 });
  expect(await cache.get('key')).toBe('value');
  await clock.advance(200_000);
  expect(await cache.has('key')).toBe(true);
});

test('a tier that does not answer costs a hit nothing, and few extensions wait', async () => {
  const { shared, node, clock } = bench();
  const cache = node({ tiers: [shared], breaker: false });
  const keys = Array.from({ length: 1_200 }, (_, index) => `key-${index}`);
  await cache.setMany(keys.map((key) => [key, 'value'] as const));
  await clock.advance(40_000);
  shared.freeze('extend');
  expect((await cache.getMany(keys)).size).toBe(1_200);
  expect((await cache.getMany(keys)).size).toBe(1_200);
  expect(shared.count('extend')).toBe(1_000);
  await cache.close();
});

test('the copies of other nodes never outlive the entry', async () => {
  const { clock, shared, node } = bench();
  const [a, b] = [node({ consistency: 'ttl' }), node({ consistency: 'ttl', localTtlMs: 60_000 })];
  await a.set('key', 'value');
  await clock.advance(40_000);
  shared.fail('extend');
  expect(await b.get('key')).toBe('value');
  await clock.advance(19_000);
  expect(b.peek('key')).toBe('value');
  await clock.advance(2_000);
  expect(b.peek('key')).toBeUndefined();
  expect(await b.get('key')).toBeUndefined();
});

test('a maxAgeMs under ttlMs is refused', () => {
  for (const maxAgeMs of [0, 59_999, Number.NaN, '1' as unknown as number]) {
    const options = { name: 'x', tiers: [memoryCache()], ttlMs: 60_000, sliding: { maxAgeMs } };
    expect(() => createCache(options)).toThrow(/sliding\.maxAgeMs/);
  }
});
