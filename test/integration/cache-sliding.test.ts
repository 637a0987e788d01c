import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { createCache, type SharedCacheDriver } from '../../src/index.js';
import { memcachedCache } from '../../src/memcached.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';
import { zookeeper, zookeeperCache } from '../../src/zookeeper.js';
import { freshPrefix, onServer } from '../servers/shared.js';

/** Hits one entry of two through a whole life and more; the other one is left alone. */
async function outlive(driver: SharedCacheDriver, ttlMs: number): Promise<void> {
  const name = freshPrefix('cache');
  const sliding = { maxAgeMs: 60_000 };
  const nodes = [[driver], [memoryCache(), driver]].map((tiers) =>
    createCache<string>({ name, tiers, ttlMs, sliding }),
  );
  const [far, near] = nodes;
  await far?.setMany(['far', 'near', 'idle'].map((key) => [key, 'value'] as const));
  for (let waitedMs = 0; waitedMs < 1.5 * ttlMs; waitedMs += ttlMs / 20) {
    await Promise.all([far?.get('far'), near?.get('near')]);
    await sleep(ttlMs / 20);
  }
  expect(await far?.get('far')).toBe('value');
  expect(await near?.get('near')).toBe('value');
  expect(await far?.get('idle')).toBeUndefined();
  for (const cache of nodes) expect(cache.stats().tiers.at(-1)?.failureCount).toBe(0);
  await Promise.all(nodes.map((cache) => cache.close()));
}

onServer('redis', 'sliding in redisCache', (redis) => {
  test('hits extend an entry, through memory too', async () => {
    const client = new Redis(redis.url);
    await outlive(redisCache({ client }), 1_000);
    client.disconnect();
  });
});

onServer('memcached', 'sliding in memcachedCache', (memcached) => {
  // It counts whole seconds.
  test('hits extend an entry, through memory too', () =>
    outlive(memcachedCache({ servers: memcached.url }), 4_000));
});

onServer('zookeeper', 'sliding in zookeeperCache', (server) => {
  test('hits extend an entry, through memory too', async () => {
    const session = zookeeper({ servers: server.url, sessionTimeoutMs: 4_000 });
    await session.ready();
    await outlive(zookeeperCache({ session }), 1_500);
    await session.close();
  });
});
