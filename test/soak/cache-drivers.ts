// The caches that the nemesis knows, as one of its processes opens them.

import { Redis } from 'ioredis';
import { type Cache, type CacheOptions, createCache } from '../../src/index.js';
import { memcachedCache } from '../../src/memcached.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';
import { zookeeper, zookeeperCache } from '../../src/zookeeper.js';

export type CacheNemesisDriver = 'redis' | 'redis-strict' | 'memcached' | 'zookeeper';

/** What is cached: which version of its key it is. */
export interface Versioned {
  readonly version: number;
}

export interface CachePlace {
  readonly driver: CacheNemesisDriver;
  readonly urls: readonly string[];
  /** Memory before the shared tier, kept coherent, where the driver can. */
  readonly isTracked: boolean;
}

export interface OpenedCache {
  readonly cache: Cache<Versioned>;
  /** For so long another process may be answered an older value. */
  readonly stalenessMs: number;
  close(): Promise<void>;
}

export const CACHE_NAME = 'nemesis';
export const SESSION_TIMEOUT_MS = 2_000;
const RECONNECT_MS = 100;
/** Entries and leases end now and then, in the middle of everything. */
const TTL_MS = 4_000;
const LEASE_MS = 1_500;
/** A tracking connection that is cut off is noticed after two seconds; and the way of one message. */
const TRACKED_STALENESS_MS = 2_500;

/** Opens the cache as one process does, on a client of its own. */
export function openCache(place: CachePlace): OpenedCache {
  switch (place.driver) {
    case 'redis':
    case 'redis-strict':
      return overRedis(place);
    case 'memcached': {
      const cache = cacheOf([memcachedCache({ servers: place.urls })]);
      return { cache, stalenessMs: 0, close: () => cache.close({ drainMs: 1_000 }) };
    }
    case 'zookeeper':
      return overZookeeper(place);
  }
}

function cacheOf(
  tiers: Parameters<typeof createCache>[0]['tiers'],
  promise: Pick<CacheOptions, 'consistency' | 'strictLeaseMs' | 'leaseMs'> = {},
): Cache<Versioned> {
  const times = { ttlMs: TTL_MS, leaseMs: LEASE_MS, timeoutMs: 2_000, tierTimeoutMs: 400 };
  return createCache({ name: CACHE_NAME, tiers, ...times, jitter: 0.5, ...promise });
}

/** A reservation outlasts whatever a process may be stopped for in the middle of a commit. */
const STRICT = { consistency: 'strict', strictLeaseMs: 200, leaseMs: 9_000 } as const;

function overRedis({ urls, isTracked, driver }: CachePlace): OpenedCache {
  const client = new Redis(String(urls[0]), { retryStrategy: () => RECONNECT_MS });
  // Connections break on purpose; ioredis prints errors that nobody listens to.
  client.on('error', () => {});
  const shared = redisCache({ client });
  const isStrict = driver === 'redis-strict';
  const tiers = isTracked ? [memoryCache(), shared] : [shared];
  const cache = cacheOf(tiers, isStrict ? STRICT : {});
  return {
    cache,
    stalenessMs: isTracked && !isStrict ? TRACKED_STALENESS_MS : 0,
    async close() {
      await cache.close({ drainMs: 1_000 });
      client.disconnect();
    },
  };
}

function overZookeeper({ urls }: CachePlace): OpenedCache {
  const session = zookeeper({ servers: urls.join(','), sessionTimeoutMs: SESSION_TIMEOUT_MS });
  const cache = cacheOf([zookeeperCache({ session })]);
  return {
    cache,
    // A copy lives as long as the session believes itself connected.
    stalenessMs: SESSION_TIMEOUT_MS,
    async close() {
      await cache.close({ drainMs: 1_000 });
      await session.close();
    },
  };
}
