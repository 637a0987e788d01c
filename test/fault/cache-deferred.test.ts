import { Redis } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { type Cache, type CacheDriver, createCache } from '../../src/index.js';
import { memcachedCache } from '../../src/memcached.js';
import { redisCache } from '../../src/redis.js';
import { startServer } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const DRIVERS: Readonly<Record<'redis' | 'memcached', (url: string) => CacheDriver>> = {
  redis(url) {
    const client = new Redis(url, { maxRetriesPerRequest: null });
    client.on('error', () => {});
    cleanups.push(() => client.disconnect());
    return redisCache({ client });
  },
  memcached: (url) => memcachedCache({ servers: url }),
};

function nodeOf(driver: CacheDriver, deferredInvalidation = false): Cache<string> {
  const times = { ttlMs: 60_000, hardTimeoutMs: 300, timeoutMs: 10_000 };
  const cache = createCache<string>({
    name: 'deferred',
    tiers: [driver],
    ...times,
    deferredInvalidation,
  });
  cleanups.push(() => cache.close({ drainMs: 100 }));
  return cache;
}

/** Until what waited was acknowledged. */
const replayed = (cache: Cache<string>): Promise<void> =>
  expect.poll(() => cache.stats().tiers[0]?.deferredCount, { timeout: 10_000 }).toBe(0);

describe.each(['redis', 'memcached'] as const)('invalidations deferred on %s', (kind) => {
  test(`reach it before it serves again, after it was frozen [${kind}]`, async () => {
    await using server = await startServer(kind);
    const writer = nodeOf(DRIVERS[kind](server.url), true);
    const other = nodeOf(DRIVERS[kind](server.url));
    await writer.set('key', 'old');
    expect(await other.get('key')).toBe('old');
    await server.pause();
    const sinceMs = performance.now();
    await writer.delete('key');
    const tookMs = performance.now() - sinceMs;
    measured(
      `frozen ${kind}: a deferred delete resolved after ${tookMs.toFixed(0)} ms (bound 300)`,
    );
    expect(tookMs).toBeLessThan(500);
    expect(await writer.getOrLoad('key', () => 'new')).toBe('new');
    await server.resume();
    expect(await writer.getOrLoad('key', () => 'new'), 'no moment of the old value').toBe('new');
    await replayed(writer);
    expect(await other.get('key')).toBeUndefined();
    expect(await other.getOrLoad('key', () => 'new')).toBe('new');
  });

  test(`reach it after it was killed and started again [${kind}]`, async () => {
    await using server = await startServer(kind);
    const writer = nodeOf(DRIVERS[kind](server.url), true);
    await writer.set('key', 'old');
    await server.kill();
    await writer.delete('key');
    await writer.set('other', 'value');
    expect(writer.stats().tiers[0]?.deferredCount).toBe(2);
    await server.restart();
    await replayed(writer);
    await expect.poll(() => writer.getOrLoad('key', () => 'new')).toBe('new');
    const other = nodeOf(DRIVERS[kind](server.url));
    await expect.poll(() => other.get('key'), { timeout: 5_000 }).toBe('new');
  });

  test(`reach it when the connection was cut [${kind}]`, async () => {
    await using server = await startServer(kind);
    await using proxy = await server.proxy();
    const writer = nodeOf(DRIVERS[kind](proxy.url), true);
    const other = nodeOf(DRIVERS[kind](server.url));
    await writer.set('key', 'old');
    proxy.refuse();
    proxy.cut();
    await writer.delete('key');
    expect(await other.get('key')).toBe('old');
    await proxy.pass();
    await replayed(writer);
    expect(await other.get('key')).toBeUndefined();
  });
});
