import { Redis, type Redis as RedisType } from 'ioredis';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Cache, type CacheConsistency, createCache } from '../../src/index.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';
import { startRedis } from '../servers/provider.js';
import { freshPrefix, measured, onServer } from '../servers/shared.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Options {
  readonly name: string;
  readonly consistency?: CacheConsistency;
  readonly keyPrefix?: string;
}

function nodeOf(url: string, { name, consistency, keyPrefix = '' }: Options) {
  const client = new Redis(url, { keyPrefix });
  client.on('error', () => {});
  const cache: Cache<number> = createCache({
    name,
    tiers: [memoryCache(), redisCache({ client })],
    ttlMs: 60_000,
    consistency,
    hardTimeoutMs: 500,
  });
  cleanups.push(() => cache.close().then(() => client.disconnect()));
  return { cache, client };
}

/** Until this process's memory keeps what it reads: until it hears of changes. */
async function warm(cache: Cache<number>, key: string): Promise<void> {
  await expect
    .poll(
      async () => {
        await cache.get(key);
        return cache.peek(key);
      },
      { timeout: 5_000, interval: 5 },
    )
    .toBeDefined();
}

/** The ids of the connections that listen for changes. */
async function trackingIds(admin: RedisType): Promise<string[]> {
  const list = (await admin.client('LIST')) as string;
  const lines = list.split('\n').filter((line) => / flags=\S*[Bt]/.test(line));
  return lines.map((line) => /id=(\d+)/.exec(line)?.[1] ?? '');
}

onServer('redis', 'memory that the server keeps coherent', (redis) => {
  test.each([[''], ['shop,*[1]:']])(
    'another node sees a write in the time of one message (keyPrefix %j)',
    async (keyPrefix) => {
      const name = freshPrefix('tracked');
      const one = nodeOf(redis.url, { name, keyPrefix });
      const two = nodeOf(redis.url, { name, keyPrefix });
      const key = 'sku {42}, ä%';
      await one.cache.set(key, 0);
      await warm(two.cache, key);
      const latencies: number[] = [];
      for (let value = 1; value <= 50; value += 1) {
        await one.cache.set(key, value);
        const sinceMs = performance.now();
        // What is not in memory any more is read from Redis: it is the new value.
        await expect.poll(() => two.cache.peek(key), { interval: 0.2 }).not.toBe(value - 1);
        latencies.push(performance.now() - sinceMs);
        expect(await two.cache.get(key)).toBe(value);
        await warm(two.cache, key);
      }
      latencies.sort((a, b) => a - b);
      measured(
        `tracked memory: a write is visible on another node after p50 ${latencies[25]?.toFixed(2)} ms, max ${latencies.at(-1)?.toFixed(2)} ms`,
      );
    },
  );

  test('a connection that is killed again and again leaves no old copy behind', async () => {
    const name = freshPrefix('killed');
    const nodes = [1, 2, 3].map(() => nodeOf(redis.url, { name }));
    const admin = new Redis(redis.url);
    cleanups.push(() => admin.disconnect());
    const keys = Array.from({ length: 50 }, (_, index) => `key-${index}`);
    let value = 0;
    for (let kill = 0; kill < 12; kill += 1) {
      for (const key of keys) {
        const writer = nodes[value % 3];
        value += 1;
        await writer?.cache.set(key, value);
        await nodes[(value + 1) % 3]?.cache.get(key);
        if (value % 17 === 0) {
          for (const id of await trackingIds(admin)) {
            await admin.client('KILL', 'ID', id).catch(() => {});
          }
        }
      }
    }
    await expect
      .poll(async () => (await trackingIds(admin)).length, { timeout: 10_000 })
      .toBeGreaterThanOrEqual(3);
    for (const { cache } of nodes) await warm(cache, 'key-0');
    let differing = 0;
    for (const key of keys) {
      const views = await Promise.all(nodes.map(({ cache }) => cache.get(key)));
      if (new Set(views).size > 1) differing += 1;
    }
    expect(differing).toBe(0);
  });

  test('another node sees an invalidated tag, and a clear, in the time of one message', async () => {
    const name = freshPrefix('tagged');
    const [one, two] = [nodeOf(redis.url, { name }), nodeOf(redis.url, { name })];
    const keys = ['a', 'b', 'c'];
    const tag = 'brand: {x}, ä%';
    const fill = async (): Promise<void> => {
      for (const key of keys) await one.cache.set(key, 1, { tags: key === 'c' ? [] : [tag] });
      for (const key of keys) await warm(two.cache, key);
    };
    const latencies: number[] = [];
    for (let round = 0; round < 30; round += 1) {
      await fill();
      const isClear = round % 2 === 1;
      await (isClear ? one.cache.clear() : one.cache.invalidateTag(tag));
      const sinceMs = performance.now();
      await expect.poll(() => two.cache.peek('a'), { interval: 0.2 }).toBeUndefined();
      latencies.push(performance.now() - sinceMs);
      expect(two.cache.peek('b')).toBeUndefined();
      expect(await two.cache.get('a')).toBeUndefined();
      // A clear is told a second time, when the next one to store makes another generation.
      if (!isClear) expect(two.cache.peek('c')).toBe(1);
      expect(await two.cache.get('c')).toBe(isClear ? undefined : 1);
    }
    latencies.sort((a, b) => a - b);
    measured(
      `tracked memory: an invalidated tag is seen on another node after p50 ${latencies[15]?.toFixed(2)} ms, max ${latencies.at(-1)?.toFixed(2)} ms`,
    );
  });

  test('a hit that carries tags asks Redis for its entry, and for their versions once', async () => {
    const name = freshPrefix('trips');
    const [one, two] = [nodeOf(redis.url, { name }), nodeOf(redis.url, { name })];
    const keys = Array.from({ length: 5 }, (_, index) => `key-${index}`);
    for (const key of keys) await one.cache.set(key, 1, { tags: ['x', 'y'] });
    await warm(two.cache, 'key-0');
    const sent = vi.spyOn(two.client, 'sendCommand');
    expect(await two.cache.get('key-0')).toBe(1);
    expect(sent).toHaveBeenCalledTimes(0);
    for (const key of keys.slice(1)) expect(await two.cache.get(key)).toBe(1);
    expect(sent).toHaveBeenCalledTimes(4);
  });

  test('tags that are invalidated while connections are killed leave no old copy behind', async () => {
    const name = freshPrefix('killed');
    const nodes = [1, 2, 3].map(() => nodeOf(redis.url, { name }));
    const admin = new Redis(redis.url);
    cleanups.push(() => admin.disconnect());
    const keys = Array.from({ length: 30 }, (_, index) => `key-${index}`);
    let value = 0;
    let kills = 0;
    for (let round = 0; round < 12; round += 1) {
      value += 1;
      const writer = nodes[round % 3]?.cache;
      await writer?.invalidateTag(`tag-${round % 3}`);
      for (const [index, key] of keys.entries()) {
        const reader = nodes[(index + round) % 3]?.cache;
        await reader?.getOrLoad(key, () => value, { tags: [`tag-${index % 3}`] });
        if (index % 15 !== 0) continue;
        for (const id of await trackingIds(admin)) {
          kills += Number(await admin.client('KILL', 'ID', id).catch(() => 0));
        }
      }
    }
    expect(kills).toBeGreaterThanOrEqual(12);
    for (const { cache } of nodes) {
      await warm(cache, 'key-1');
      await cache.getMany(keys);
    }
    const views = await Promise.all(nodes.map(({ cache }) => cache.getMany(keys)));
    for (const view of views) expect(view).toEqual(views[0]);
    for (const [index, key] of keys.entries()) {
      // The last rounds that invalidated the three tags had the values 10, 11 and 12.
      expect(views[0]?.get(key), key).toBe(10 + (index % 3));
    }
  });

  test('where the server refuses tracking, memory keeps nothing, and it is told', async () => {
    const admin = new Redis(redis.url);
    const user = freshPrefix('user').replaceAll(/[^a-z0-9]/gi, '');
    const rules = ['on', 'nopass', '+@all', '-client|tracking', '~*', '&*'];
    await admin.acl('SETUSER', user, ...rules);
    cleanups.push(() => admin.acl('DELUSER', user).then(() => admin.disconnect()));
    const client = new Redis(redis.url, { username: user, password: 'any' });
    client.on('error', () => {});
    const cache = createCache<number>({
      name: freshPrefix('refused'),
      tiers: [memoryCache(), redisCache({ client })],
      ttlMs: 60_000,
    });
    cleanups.push(() => cache.close().then(() => client.disconnect()));
    await cache.set('key', 1);
    expect(await cache.get('key')).toBe(1);
    expect(cache.peek('key')).toBeUndefined();
    await expect.poll(() => cache.stats().tiers[1]?.failureCount).toBeGreaterThan(0);
  });

  test('a fill that a change overtook is not kept in memory', async () => {
    const name = freshPrefix('overtaken');
    const one = nodeOf(redis.url, { name });
    const two = nodeOf(redis.url, { name });
    await one.cache.set('key', 1);
    await warm(two.cache, 'key');
    await two.cache.delete('key');
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const loading = two.cache.getOrLoad('key', async () => {
      await gate;
      return 2;
    });
    await expect.poll(() => two.cache.stats().loadCount).toBe(1);
    await one.cache.set('key', 3);
    release();
    expect([2, 3]).toContain(await loading);
    await expect.poll(() => two.cache.get('key')).toBe(3);
    expect(await two.cache.get('key')).toBe(3);
  });
});

describe('memory before a redis that is cut off [redis]', () => {
  test('a half-open connection is noticed within two seconds, and memory then serves nothing', async () => {
    await using redis = await startRedis();
    await using proxy = await redis.proxy();
    const name = 'half-open';
    const near = nodeOf(proxy.url, { name });
    const far = nodeOf(redis.url, { name });
    await far.cache.set('key', 1);
    await warm(near.cache, 'key');
    proxy.freeze();
    await far.cache.set('key', 2);
    const sinceMs = performance.now();
    await expect
      .poll(() => near.cache.peek('key'), { timeout: 5_000, interval: 5 })
      .toBeUndefined();
    const tookMs = performance.now() - sinceMs;
    measured(
      `tracked memory: a half-open connection was noticed after ${tookMs.toFixed(0)} ms (bound 2000 + 200)`,
    );
    expect(tookMs).toBeLessThan(2_200);
    proxy.thaw();
    await warm(near.cache, 'key');
    expect(near.cache.peek('key')).toBe(2);
  });

  test('a server that restarts is listened to again', async () => {
    await using redis = await startRedis();
    const { cache } = nodeOf(redis.url, { name: 'restarted' });
    await cache.set('key', 1);
    await warm(cache, 'key');
    await redis.kill();
    await expect.poll(() => cache.peek('key')).toBeUndefined();
    await redis.restart();
    await expect
      .poll(
        () =>
          cache.set('key', 2).then(
            () => 'stored',
            () => 'refused',
          ),
        { timeout: 10_000 },
      )
      .toBe('stored');
    await warm(cache, 'key');
    expect(cache.stats().tiers[1]?.failureCount).toBeGreaterThan(0);
  });

  test('FLUSHALL empties memory too', async () => {
    await using redis = await startRedis();
    const { cache, client } = nodeOf(redis.url, { name: 'flushed' });
    await cache.set('key', 1);
    await warm(cache, 'key');
    await client.flushall();
    await expect.poll(() => cache.peek('key')).toBeUndefined();
  });
});
