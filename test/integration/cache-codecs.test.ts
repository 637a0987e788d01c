import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Redis } from 'ioredis';
import { afterAll, expect, test } from 'vitest';
import {
  type CacheOptions,
  type Codec,
  compressed,
  createCache,
  jsonCodec,
  type SharedCacheDriver,
  type StandardSchema,
  v8Codec,
} from '../../src/index.js';
import { memcachedCache } from '../../src/memcached.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';
import { zookeeper, zookeeperCache } from '../../src/zookeeper.js';
import { freshPrefix, onServer } from '../servers/shared.js';

/** Hands bytes on as they are. */
const raw: Codec = {
  id: 'raw',
  form: 'bytes',
  encode: (value) => value as Uint8Array,
  decode: (bytes) => Uint8Array.from(bytes),
};
const everyByte = Uint8Array.from({ length: 65_536 }, (_, index) =>
  index < 512 ? index % 256 : (randomBytes(1)[0] ?? 0),
);
const longKey = `ключ 🔑 ${'x'.repeat(300)}`;

type Open = () => Promise<{ driver: SharedCacheDriver; close?: () => void | Promise<void> }>;

function codecsOn(open: Open): void {
  const closing: (() => unknown)[] = [];
  afterAll(() => Promise.all(closing.map((close) => close())));
  const nodesOf = async <Value>(options: Partial<CacheOptions<Value>>) => {
    const { driver, close } = await open();
    const name = freshPrefix('cache');
    const node = (isNear: boolean, more: Partial<CacheOptions<Value>> = {}) => {
      const tiers = isNear ? [memoryCache(), driver] : [driver];
      const base = { name, tiers, ttlMs: 60_000, ...options, ...more };
      const cache = createCache<Value>(base);
      closing.unshift(() => cache.close());
      return cache;
    };
    if (close !== undefined) closing.push(close);
    return node;
  };

  test('every byte comes back, by read, lease, touch and batch, under long keys and with tags', async () => {
    const node = await nodesOf<Uint8Array>({ codec: raw });
    const [writer, reader, near] = [node(false), node(false), node(true)];
    await writer.set(longKey, everyByte, { tags: ['тег'] });
    const load = () => Promise.reject(new Error('it is there'));
    assert.deepStrictEqual(await reader.get(longKey), everyByte);
    assert.deepStrictEqual(await reader.getOrLoad(longKey, load), everyByte);
    assert.deepStrictEqual(await near.get(longKey), everyByte);
    assert.deepStrictEqual(near.peek(longKey) ?? everyByte, everyByte);
    expect(await reader.touch(longKey, { ttlMs: 60_000 })).toBe(true);
    await writer.getOrLoadMany(['a', 'b'], (keys) => keys.map((key) => [key, everyByte] as const));
    const found = await reader.getMany(['a', 'b', longKey]);
    for (const value of found.values()) assert.deepStrictEqual(value, everyByte);
    expect(found.size).toBe(3);
    await reader.invalidateTag('тег');
    expect(await writer.get(longKey)).toBeUndefined();
    expect(reader.stats().tiers[0]).toMatchObject({ failureCount: 0, unreadableCount: 0 });
  });

  test('an entry of another codec is a miss both ways, and is replaced', async () => {
    const node = await nodesOf<unknown>({});
    const value = { at: new Date(7), note: 'é🎉', bytes: new Uint8Array([0, 255]) };
    const codecs = [jsonCodec, v8Codec, compressed(jsonCodec, { aboveBytes: 0 })];
    const caches = codecs.flatMap((codec) => [node(false, { codec }), node(true, { codec })]);
    for (const cache of caches) {
      assert.deepStrictEqual(await cache.getOrLoad(longKey, () => value), value);
      assert.deepStrictEqual(await cache.get(longKey), value);
    }
    const unreadable = caches.map((cache) => cache.stats().tiers.at(-1)?.unreadableCount ?? 0);
    expect(unreadable.filter((count) => count > 0).length).toBeGreaterThanOrEqual(2);
    expect(caches.map((cache) => cache.stats().tiers.at(-1)?.failureCount)).toEqual(
      caches.map(() => 0),
    );
  });

  test('what does not fit the schema is a miss, counted, and replaced for all', async () => {
    const node = await nodesOf<unknown>({});
    const schema: StandardSchema<{ cents: number }> = {
      '~standard': {
        version: 1,
        validate: (value) => {
          const { cents } = value as { cents?: unknown };
          return typeof cents === 'number' ? { value: { cents } } : { issues: [{ message: 'no' }] };
        },
      },
    };
    for (const isNear of [false, true]) {
      const key = `price-${isNear}`;
      await node(false).set(key, { price: 7 });
      const cache = node(isNear, { schema });
      const price = cache.wrap(async () => ({ cents: 700 }), { key: () => key });
      expect(await cache.get(key)).toBeUndefined();
      expect(cache.stats().tiers.at(-1)).toMatchObject({ schemaMismatchCount: 1, failureCount: 0 });
      expect(await price()).toEqual({ cents: 700 });
      expect(await node(false, { schema }).get(key)).toEqual({ cents: 700 });
      expect(cache.stats().loadCount).toBe(1);
    }
  });

  test.each(['frozen', 'cloned', 'none'] as const)(
    'isolation %s, from every tier',
    async (isolation) => {
      interface Item {
        readonly list: number[];
        readonly at: Date;
      }
      const node = await nodesOf<Item>({ isolation });
      const [far, near, other] = [node(false), node(true), node(true)];
      const given: Item = { list: [1], at: new Date(5) };
      const loaded = await near.getOrLoad('key', () => given);
      if (isolation === 'none') expect(loaded).toBe(given);
      given.list.push(2);
      for (const cache of [far, other, other]) {
        const found = await cache.get('key');
        expect(found, 'what was sent is as of then').toEqual({ list: [1], at: new Date(5) });
        expect(Object.isFrozen(found?.list)).toBe(isolation === 'frozen');
        if (isolation === 'cloned') found?.list.push(9);
        found?.at.setTime(isolation === 'none' ? 5 : 6);
      }
      const [first, again] = [await other.get('key'), other.peek('key')];
      if (again !== undefined) expect(first === again).toBe(isolation === 'none');
    },
  );
}

onServer('redis', 'codecs of redisCache', (redis) => {
  codecsOn(async () => {
    const client = new Redis(redis.url);
    return { driver: redisCache({ client }), close: () => client.disconnect() };
  });

  test('bytes take no more room than they are', async () => {
    const client = new Redis(redis.url);
    const name = freshPrefix('cache');
    const options = { name, tiers: [redisCache({ client })], ttlMs: 60_000 };
    const cache = createCache<Uint8Array>({ ...options, codec: raw });
    await cache.set('key', everyByte);
    const [key = ''] = await client.keys(`tricord:default:cache:${name}:*key*`);
    expect(await client.strlen(key)).toBeLessThan(everyByte.length + 100);
    await cache.close();
    client.disconnect();
  });
});

onServer('memcached', 'codecs of memcachedCache', (memcached) => {
  codecsOn(async () => ({ driver: memcachedCache({ servers: memcached.url }) }));
});

onServer('zookeeper', 'codecs of zookeeperCache', (server) => {
  codecsOn(async () => {
    const session = zookeeper({ servers: server.url, sessionTimeoutMs: 4_000 });
    await session.ready();
    return { driver: zookeeperCache({ session }), close: () => session.close() };
  });
});
