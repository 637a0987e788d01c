import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { afterAll, expect, test, vi } from 'vitest';
import { seededRandom } from '../../src/core/random.js';
import { createCache } from '../../src/index.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';
import { freshPrefix, onServer } from '../servers/shared.js';

onServer('redis', 'a cache of memory before Redis', (redis) => {
  const clients: Redis[] = [];
  afterAll(() => {
    for (const client of clients) client.disconnect();
  });
  const newClient = (): Redis => {
    const client = new Redis(redis.url);
    clients.push(client);
    return client;
  };
  const newNode = <Value>(name: string, localTtlMs = 5_000, client = newClient()) =>
    createCache<Value>({
      name,
      consistency: 'ttl',
      tiers: [memoryCache(), redisCache({ client })],
      ttlMs: 60_000,
      localTtlMs,
    });

  test('a value has the same type from the loader, from memory and from Redis', async () => {
    const name = freshPrefix('cache');
    const [a, b] = [newNode<object>(name), newNode<object>(name)];
    const product = {
      sku: 42n,
      since: new Date(1_700_000_000_000),
      prices: new Map([['EUR', 9.99]]),
      tags: new Set(['new']),
      image: new Uint8Array([1, 2, 3]),
      note: undefined,
      weight: Number.NaN,
    };
    const answers = [
      await a.getOrLoad('sku:42', () => product),
      await a.getOrLoad('sku:42', () => ({})),
      await b.getOrLoad('sku:42', () => ({})),
      await b.get('sku:42'),
    ];
    for (const answer of answers) assert.deepStrictEqual(answer, product);
    expect(b.stats().tiers.map(({ hitCount }) => hitCount)).toEqual([1, 1]);
    expect(b.stats()).toMatchObject({ requestCount: 2, hitCount: 2, hitRate: 1 });
    await Promise.all([a.close(), b.close()]);
  });

  test('the statistics of two nodes agree with somebody who counts independently', async () => {
    const name = freshPrefix('cache');
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    const random = seededRandom(seed);
    const far = new Set<string>();
    const nodes = [1, 2].map(() => {
      const counts = { memory: [0, 0], redis: [0, 0], loads: 0 };
      return { cache: newNode<string>(name, 60_000), near: new Set<string>(), counts };
    });
    const keys = ['a', 'b', 'c', 'd'];
    const count = (pair: number[], isHit: boolean): void => {
      pair[isHit ? 0 : 1] = (pair[isHit ? 0 : 1] ?? 0) + 1;
    };
    for (let i = 0; i < 400; i += 1) {
      const node = nodes[Math.floor(random.fraction() * 2)];
      const key = keys[Math.floor(random.fraction() * keys.length)];
      assert.ok(node !== undefined && key !== undefined);
      const { cache, near, counts } = node;
      if (random.fraction() < 0.2) {
        await cache.delete(key);
        near.delete(key);
        far.delete(key);
        continue;
      }
      count(counts.memory, near.has(key));
      if (!near.has(key)) {
        count(counts.redis, far.has(key));
        if (!far.has(key)) counts.loads += 1;
        near.add(key);
        far.add(key);
      }
      await cache.getOrLoad(key, () => 'value');
    }
    for (const { cache, counts } of nodes) {
      const { memory, redis, loads } = counts;
      const stats = cache.stats();
      const counted = stats.tiers.map(({ hitCount, missCount }) => [hitCount, missCount]);
      assert.deepEqual(counted, [memory, redis], `seed ${seed}`);
      const [hits = 0, misses = 0] = memory;
      expect(stats.requestCount).toBe(hits + misses);
      expect(stats.hitRate).toBe((hits + (redis[0] ?? 0)) / (hits + misses));
      expect(stats.loadCount).toBe(loads);
      await cache.close();
    }
  });

  test('memory keeps an entry no longer than Redis does', async () => {
    const name = freshPrefix('cache');
    const [writer, reader] = [newNode<string>(name), newNode<string>(name)];
    await writer.set('key', 'value', { ttlMs: 2_000 });
    await sleep(500);
    expect(await reader.get('key')).toBe('value');
    expect(reader.peek('key')).toBe('value');
    await sleep(1_510);
    expect(reader.peek('key')).toBeUndefined();
    expect(writer.peek('key')).toBeUndefined();
    await Promise.all([writer.close(), reader.close()]);
  });

  test('another node’s copy is old for localTtlMs at most, and the writer’s own never', async () => {
    const name = freshPrefix('cache');
    const [writer, reader] = [newNode<string>(name, 200), newNode<string>(name, 200)];
    await writer.set('key', 'old');
    expect(await reader.get('key')).toBe('old');
    await writer.set('key', 'new');
    const acknowledgedMs = performance.now();
    expect(await writer.get('key')).toBe('new');
    for (let found: string | undefined = 'old'; found === 'old'; ) {
      const begunMs = performance.now() - acknowledgedMs;
      found = await reader.get('key');
      if (found === 'old') expect(begunMs).toBeLessThan(200);
      await sleep(5);
    }
    expect(await reader.get('key')).toBe('new');
    await Promise.all([writer.close(), reader.close()]);
  });

  test('followers are woken at once, also where the client queues nothing and does not subscribe again', async () => {
    const name = freshPrefix('cache');
    const options = { enableOfflineQueue: false, autoResubscribe: false };
    const clientOf = async () => {
      const client = new Redis(redis.url, options);
      clients.push(client);
      if (client.status !== 'ready') await once(client, 'ready');
      return client;
    };
    const [leader, follower] = [
      newNode<string>(name, 5_000, await clientOf()),
      newNode<string>(name, 5_000, await clientOf()),
    ];
    const waitsMs: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      const key = `key ${round}`;
      let finish = (_: string): void => {};
      const led = leader.getOrLoad(key, () => new Promise<string>((resolve) => (finish = resolve)));
      await sleep(60);
      const followed = follower.getOrLoad(key, () => 'own');
      await sleep(60);
      const sinceMs = performance.now();
      finish('value');
      expect(await followed).toBe('value');
      waitsMs.push(performance.now() - sinceMs);
      await led;
    }
    // The first wait opens the connection. Polling alone would take up to 250 ms, 60 at the median.
    const median = waitsMs.slice(1).sort((a, b) => a - b)[3] ?? 0;
    expect(median).toBeLessThan(30);
    await Promise.all([leader.close(), follower.close()]);
  });

  test('what stands in Redis is JSON that other tools can read, and ends by itself', async () => {
    const client = newClient();
    const name = freshPrefix('cache');
    const node = newNode<object>(name, 5_000, client);
    await node.set('sku:42', { name: 'Café', price: 1.5 });
    const key = `tricord:default:cache:${name}:{sku:42}`;
    expect(await client.get(key)).toMatch(/^\["1[\w-]{21}",\[1,{"name":"Café","price":1.5}]]$/);
    const leftMs = await client.pttl(key);
    expect(leftMs).toBeGreaterThan(50_000);
    expect(leftMs).toBeLessThanOrEqual(60_000);
    expect(await client.keys(`tricord:default:cache-claim:${name}:*`)).toEqual([]);
    await node.close();
    expect(client.status).toBe('ready');
  });

  test('clear outdates thousands of entries of this cache at once, and none of another', async () => {
    const client = newClient();
    const name = freshPrefix('cache');
    const [node, other] = [newNode(name, 5_000, client), newNode(`${name}x`, 5_000, client)];
    await node.setMany(Array.from({ length: 3_000 }, (_, i) => [`key ${i}`, i] as const));
    await other.set('key 1', 'stays');
    const sent = vi.spyOn(client, 'sendCommand');
    await node.clear();
    expect(sent).toHaveBeenCalledOnce();
    expect(await node.getMany(['key 1', 'key 2'])).toEqual(new Map());
    expect(await other.get('key 1')).toBe('stays');
    await node.set('key 1', 'new');
    expect(await node.getMany(['key 1', 'key 2'])).toEqual(new Map([['key 1', 'new']]));
    await Promise.all([node.close(), other.close()]);
  });

  test('tags of entries end by themselves, later than what carries them', async () => {
    const client = newClient();
    const name = freshPrefix('cache');
    const node = newNode<string>(name, 5_000, client);
    await node.set('key', 'value', { tags: ['a'], ttlMs: 30_000 });
    const versionKey = `tricord:default:cache-version:${name}:{tag:a}`;
    expect(await client.pttl(versionKey)).toBeGreaterThan(30_000);
    await node.set('key', 'value', { tags: ['a'], ttlMs: 90_000 });
    expect(await client.pttl(versionKey)).toBeGreaterThan(90_000);
    await node.invalidateTag('a');
    expect(await client.exists(versionKey)).toBe(0);
    await node.close();
  });

  test('a version that Redis has evicted makes its entries misses, for ever', async () => {
    const client = newClient();
    const name = freshPrefix('cache');
    const node = newNode<string>(name, 5_000, client);
    await node.set('key', 'value', { tags: ['a'] });
    const reader = newNode<string>(name);
    expect(await reader.get('key')).toBe('value');
    await client.del(`tricord:default:cache-version:${name}:{tag:a}`);
    await reader.set('other', 'value', { tags: ['a'] });
    const late = newNode<string>(name);
    expect(await late.get('key')).toBeUndefined();
    expect(await late.get('other')).toBe('value');
    await Promise.all([node.close(), reader.close(), late.close()]);
  });
});

onServer('redis', 'cache writes under a lock', (redis) => {
  test('a holder that was paused past its lease cannot overwrite what came after', async () => {
    const client = new Redis(redis.url);
    const options = { name: freshPrefix('fenced'), ttlMs: 60_000 };
    const cache = createCache<string>({ ...options, tiers: [redisCache({ client })] });
    const token = (digits: number): bigint => 10n ** BigInt(digits) + 7n;
    await cache.set('key', 'first', { fencingToken: token(15) });
    await cache.set('key', 'second', { fencingToken: String(token(16)) });
    const stale = {
      code: 'FENCE_STALE',
      details: { resource: 'key', token: token(15), newest: token(16) },
    };
    const late = { fencingToken: token(15) };
    await expect(cache.set('key', 'late', late)).rejects.toMatchObject(stale);
    await expect(cache.delete('key', late)).rejects.toMatchObject(stale);
    await expect(cache.update('key', () => 'late', late)).rejects.toMatchObject(stale);
    expect(await cache.get('key')).toBe('second');
    await cache.delete('key', { fencingToken: token(16) });
    expect(await cache.get('key')).toBeUndefined();
    await cache.close();
    client.disconnect();
  });
});
