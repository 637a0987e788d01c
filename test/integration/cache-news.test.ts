import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import {
  type Cache,
  type CacheConsistency,
  type CacheFallbackEvent,
  createCache,
} from '../../src/index.js';
import { memoryCache } from '../../src/memory.js';
import { type RedisCacheNews, redisCache } from '../../src/redis.js';
import { freshPrefix, measured, onServer } from '../servers/shared.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

interface Options {
  readonly name: string;
  readonly news?: RedisCacheNews;
  readonly consistency?: CacheConsistency;
  readonly keyPrefix?: string;
  readonly username?: string;
  readonly hasMemory?: boolean;
}

function nodeOf(url: string, options: Options) {
  const { name, news = 'bus', consistency, hasMemory = true, ...more } = options;
  const client = new Redis(url, { ...more, ...(more.username ? { password: 'any' } : {}) });
  client.on('error', () => {});
  const tier = redisCache({ client, news });
  const tiers = hasMemory ? [memoryCache(), tier] : [tier];
  const cache: Cache<number> = createCache({ name, tiers, ttlMs: 60_000, consistency });
  cleanups.push(() => cache.close().then(() => client.disconnect()));
  return { cache, client };
}

/** Until this process's memory keeps what it reads: until it hears of changes. */
async function warm(cache: Cache<number>, key: string): Promise<void> {
  const look = async (): Promise<unknown> => {
    await cache.get(key);
    return cache.peek(key);
  };
  await expect.poll(look, { timeout: 5_000, interval: 5 }).toBeDefined();
}

/** A user of the shared server with the rules; removed afterwards. */
async function userOf(url: string, ...rules: string[]): Promise<string> {
  const admin = new Redis(url);
  const user = freshPrefix('user').replaceAll(/[^a-z0-9]/gi, '');
  await admin.acl('SETUSER', user, 'on', 'nopass', ...rules);
  cleanups.push(() => admin.acl('DELUSER', user).then(() => admin.disconnect()));
  return user;
}

onServer('redis', 'memory that writers keep coherent', (redis) => {
  test.each([[''], ['shop,*[1]:']])(
    'another node sees a write, a removal, a shorter life, a tag and a clear in the time of one message (keyPrefix %j)',
    async (keyPrefix) => {
      const name = freshPrefix('news');
      const [one, two] = [
        nodeOf(redis.url, { name, keyPrefix }),
        nodeOf(redis.url, { name, keyPrefix }),
      ];
      const key = 'sku {42}, ä%';
      const tags = ['brand: {x}, ä%'];
      const { cache } = one;
      const changes: Readonly<Record<string, () => Promise<unknown>>> = {
        set: () => cache.set(key, 2, { tags }),
        update: () => cache.update(key, () => {}),
        delete: () => cache.delete(key),
        touch: () => cache.touch(key, { ttlMs: 50_000 }),
        invalidateTag: () => cache.invalidateTag('brand: {x}, ä%'),
        clear: () => cache.clear(),
      };
      const tookMs: string[] = [];
      for (const [verb, change] of Object.entries(changes)) {
        await cache.set(key, 1, { tags });
        await warm(two.cache, key);
        await change();
        const sinceMs = performance.now();
        await expect.poll(() => two.cache.peek(key), { interval: 0.2 }).not.toBe(1);
        tookMs.push(`${verb} ${(performance.now() - sinceMs).toFixed(2)}`);
        expect(await two.cache.get(key)).toBe({ set: 2, touch: 1 }[verb]);
      }
      measured(`memory with news from writers: seen on another node after ${tookMs.join(', ')} ms`);
    },
  );

  test('a node without memory tells the others', async () => {
    const name = freshPrefix('news');
    const far = nodeOf(redis.url, { name, hasMemory: false });
    const near = nodeOf(redis.url, { name });
    await far.cache.set('key', 1);
    await warm(near.cache, 'key');
    await far.cache.set('key', 2);
    await expect.poll(() => near.cache.peek('key')).not.toBe(1);
    expect(await near.cache.get('key')).toBe(2);
  });

  test('processes that start, write and close leave the memory of others alone', async () => {
    const name = freshPrefix('news');
    const stays = nodeOf(redis.url, { name });
    await stays.cache.set('kept', 1);
    await warm(stays.cache, 'kept');
    // Its own beats must have passed for once: the first after a start may empty memory.
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    await warm(stays.cache, 'kept');
    for (let round = 0; round < 5; round += 1) {
      const { cache } = nodeOf(redis.url, { name });
      await cache.set(`other ${round}`, round);
      await cache.close();
    }
    // As long as it takes to notice that somebody is silent.
    for (let waitedMs = 0; waitedMs < 3_300; waitedMs += 100) {
      expect(stays.cache.peek('kept')).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  });

  test('nothing more than documented is allowed to a user who only publishes', async () => {
    // INFO is what ioredis itself asks for, and can do without.
    const commands =
      '+info +ping +get +mget +set +del +unlink +pttl +pexpire +time +publish +subscribe +eval +evalsha';
    const rules = [...commands.split(' '), '~tricord:*', '&tricord:*'];
    const username = await userOf(redis.url, ...rules);
    const name = freshPrefix('news');
    const [one, two] = [
      nodeOf(redis.url, { name, username }),
      nodeOf(redis.url, { name, username }),
    ];
    await one.cache.set('key', 1, { tags: ['tag'] });
    await warm(two.cache, 'key');
    await one.cache.invalidateTag('tag');
    await expect.poll(() => two.cache.peek('key')).toBeUndefined();
  });

  test.each([
    ['refused: the bus, and it is told once', '-client|tracking', 1],
    ['allowed: nothing is told', '+client', 0],
  ])("'auto' where tracking is %s", async (_, rule, toldCount) => {
    const name = freshPrefix('auto');
    const told: CacheFallbackEvent[] = [];
    const listen = (event: unknown): void => void told.push(event as CacheFallbackEvent);
    subscribe('tricord:cache.fallback', listen);
    cleanups.push(() => unsubscribe('tricord:cache.fallback', listen));
    const username = await userOf(redis.url, '+@all', rule, '~*', '&*');
    const auto = nodeOf(redis.url, { name, news: 'auto', username });
    const other = nodeOf(redis.url, { name, news: 'bus' });
    const admin = new Redis(redis.url);
    cleanups.push(() => admin.disconnect());
    await other.cache.set('key', 1);
    await warm(auto.cache, 'key');
    const channel = `tricord:default:cache-news:${name}`;
    const [, count] = (await admin.pubsub('NUMSUB', channel)) as [string, number];
    expect(count).toBe(1 + toldCount);
    // Its first beats may empty its memory once more: what comes afterwards is news.
    await new Promise((resolve) => setTimeout(resolve, 1_300));
    await warm(other.cache, 'key');
    await auto.cache.set('key', 2);
    await expect.poll(() => other.cache.peek('key')).not.toBe(1);
    await warm(auto.cache, 'key');
    await other.cache.set('key', 3);
    await expect.poll(() => auto.cache.peek('key')).not.toBe(2);
    expect(await auto.cache.get('key')).toBe(3);
    expect(told.filter(({ cache }) => cache === name)).toHaveLength(toldCount);
    for (const { tier, error } of told) {
      expect(tier).toBe('redis');
      expect(String(error)).toMatch(/NOPERM/);
    }
  });
});
