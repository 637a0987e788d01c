import { expect, test } from 'vitest';
import { type CacheIsolation, createCache, v8Codec } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { cacheBench } from './support.js';

interface Item {
  readonly list: number[];
  readonly at: Date;
}

const alone = (isolation?: CacheIsolation) =>
  createCache<Item>({ name: 'alone', tiers: [memoryCache()], ttlMs: 60_000, isolation });

test('frozen, the default: what can be frozen is shared, else everybody has a copy', async () => {
  for (const cache of [alone(), alone('frozen')]) {
    await cache.set('dated', { list: [1], at: new Date(5) });
    const found = await cache.get('dated');
    expect(() => found?.list.push(2)).toThrow(TypeError);
    found?.at.setTime(6);
    expect(cache.peek('dated')).toEqual({ list: [1], at: new Date(5) });
    await cache.set('plain', { list: [1] } as unknown as Item);
    expect(cache.peek('plain')).toBe(await cache.get('plain'));
  }
});

test('cloned: every reader has a copy that it may change', async () => {
  const { node } = cacheBench();
  for (const cache of [alone('cloned'), node<Item>({ isolation: 'cloned' })]) {
    const given = { list: [1], at: new Date(5) };
    const answers: (Item | undefined)[] = [await cache.getOrLoad('key', () => given)];
    answers.push(await cache.get('key'), cache.peek('key'));
    answers.push(...(await cache.getMany(['key'])).values());
    given.list.push(9);
    expect(answers.length).toBe(4);
    for (const found of answers) {
      expect(found).toEqual({ list: [1], at: new Date(5) });
      found?.list.push(2);
      found?.at.setTime(6);
    }
    expect(new Set([...answers, given]).size).toBe(5);
  }
});

test('none: memory keeps the very object, with a shared tier behind it and without', async () => {
  const { node } = cacheBench();
  const options = { isolation: 'none' } as const;
  for (const cache of [alone('none'), node<Item>(options)]) {
    const given = { list: [1], at: new Date(5) };
    expect(await cache.getOrLoad('key', () => given)).toBe(given);
    expect(cache.peek('key')).toBe(given);
    expect(await cache.get('key')).toBe(given);
    await cache.set('key', given);
    expect(cache.peek('key')).toBe(given);
  }
  expect(await node<Item>().get('key')).toEqual({ list: [1], at: new Date(5) });
  const other = node<Item>(options);
  const found = await other.get('key');
  expect(found).toEqual({ list: [1], at: new Date(5) });
  expect(other.peek('key')).toBe(found);
});

test('none, in memory alone, takes what no shared tier could have; before one it is refused', async () => {
  const { node } = cacheBench();
  const given = { list: [1], at: new Date(5), call: () => 1 };
  const cache = alone('none');
  await cache.set('key', given);
  expect(cache.peek('key')).toBe(given);
  for (const codec of [undefined, v8Codec]) {
    const refused = node<Item>({ isolation: 'none', codec }).set('key', given);
    await expect(refused).rejects.toMatchObject({ code: 'CACHE_VALUE_UNSUPPORTED' });
  }
});

test('a writer that changes its value after it gave it changes nothing that is sent', async () => {
  const { node, shared } = cacheBench();
  for (const isolation of ['frozen', 'cloned', 'none'] as const) {
    const given = { list: [1], at: new Date(5) };
    shared.before = (operation) => operation === 'seize' && given.list.push(2);
    await node<Item>({ isolation }).set(isolation, given);
    shared.before = undefined;
    expect(await node<Item>().get(isolation)).toEqual({ list: [1], at: new Date(5) });
  }
});

test('another isolation is refused', () => {
  expect(() => alone('deep' as CacheIsolation)).toThrow(/isolation/);
});
