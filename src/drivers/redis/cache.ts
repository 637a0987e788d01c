import {
  type CacheNode,
  FENCE_KEPT_MS,
  type FencedBounds,
  type FencedOff,
  type SharedCacheDriver,
  type SharedTier,
} from '../../cache/driver.js';
import { invalidArgument } from '../../core/validate.js';
import { cacheCalls } from './cache-calls.js';
import type { RedisCacheClient } from './cache-client.js';
import { textOf } from './cache-entry.js';
import { cacheExtend } from './cache-extend.js';
import { type CacheKeys, cacheKeys } from './cache-keys.js';
import { cacheLeases } from './cache-leases.js';
import { cacheMarks } from './cache-marks.js';
import { cacheReads } from './cache-reads.js';
import { cacheReservations, fencedOff } from './cache-reservations.js';
import { RENEW, TOUCH, WITHDRAW } from './cache-scripts.js';
import { cacheTags } from './cache-tags.js';
import { cacheTracking } from './cache-tracking.js';
import { cacheWakeups } from './cache-wakeups.js';
import { assertNamespace, NAMESPACE_DEFAULT } from './keys.js';

/** Options of {@link redisCache}. */
export interface RedisCacheOptions {
  /** An ioredis client, `Redis` or `Cluster`. It stays yours: it is not configured and not closed. */
  readonly client: RedisCacheClient;
  /** Keeps deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
}

/**
 * A cache tier in Redis 6.2 or newer, which all nodes with this cache's name share.
 *
 * Reads of one turn of the event loop are one MGET, or one for each slot of a Cluster (a script where
 * memory stands before it, for the time that is left); a miss is two calls and a fill. Reads, writes and invalidations of a key are ordered by the one master. A
 * fail-over to a replica that lagged behind may bring back an old value or forget an invalidation;
 * old values then last until their TTL. Entries may be evicted at any time: that is a miss.
 *
 * Every call is bounded whatever the client's options are, and commands are never left in its offline
 * queue. The first wait for another node's load opens one connection (`client.duplicate()`) for
 * wake-ups; `close()` of the cache closes it.
 *
 * Memory before this tier is kept coherent by the server: it tells a connection of its own which
 * entries change (`CLIENT TRACKING` in broadcast mode), on every master of a Cluster. While that
 * connection is down, or has not answered for two seconds, memory serves nothing.
 *
 * ACL: `+client|id +client|tracking +ping +get +mget +set +del +unlink +pttl +pexpire +time +publish +subscribe +eval +evalsha`, keys
 * `tricord:*`, channels `tricord:*` (with the client's keyPrefix before them).
 *
 * @throws TypeError (INVALID_ARGUMENT) for something that is no ioredis client, and for a bad
 * namespace.
 */
export function redisCache(options: RedisCacheOptions): SharedCacheDriver {
  const { client, namespace = NAMESPACE_DEFAULT } = options;
  if (typeof client?.evalsha !== 'function' || typeof client.duplicate !== 'function') {
    throw invalidArgument('client', client, 'a Redis or Cluster of ioredis');
  }
  assertNamespace(namespace);
  return {
    backend: 'redis',
    scope: 'shared',
    tells: true,
    reserves: true,
    open: (node) => redisTier(node, client, cacheKeys(client, node.name, namespace)),
  };
}

function redisTier(node: CacheNode, client: RedisCacheClient, keys: CacheKeys): SharedTier {
  const { clock, random } = node;
  const calls = cacheCalls(client, clock, node.encoding);
  const onFailure = (error: unknown): void => node.onFailure?.('follow', error);
  const tracking = cacheTracking({ client, keys, clock, random, onFailure });
  const wakeups = cacheWakeups(client, keys.channel);
  const parts = { calls, client, keys, clock, random };
  const marks = cacheMarks(parts);
  const withdraw = async (
    key: string,
    change: { readonly own?: string; readonly claim?: string; readonly claimMs?: number },
    bounds: FencedBounds,
  ): Promise<boolean | FencedOff> => {
    const { own = '', claim = '', claimMs = 0 } = change;
    const { fence } = bounds;
    const names = fence === undefined ? keys.pair(key) : [...keys.pair(key), keys.fence(key)];
    const fencing = [fence ?? '', FENCE_KEPT_MS];
    const values = [own, keys.channel, key, claim, wholeMs(claimMs), ...fencing];
    const reply = await calls.script(WITHDRAW, names, values, bounds);
    return typeof reply === 'string' ? fencedOff(keys.fence(key), reply) : reply === 1;
  };
  return {
    scope: 'shared',
    fences: true,
    leasesAtOnce: true,
    tags: cacheTags(parts, marks),
    strict: cacheReservations(parts, marks),
    read: cacheReads(parts, marks, node),
    ...cacheLeases(parts, marks),
    async renew(key, { kind, token }, claimMs, bounds) {
      const values = [kind === 'hold' ? 'h' : 'l', token, wholeMs(claimMs)];
      return (await calls.script(RENEW, keys.pair(key), values, bounds)) === 1 ? 'held' : 'lost';
    },
    async seize(key, token, leaseMs, bounds) {
      const { reply } = await marks.under('seize', bounds, (generation, { timeoutMs }) => {
        const claim = `1l${generation}${token}`;
        return withdraw(key, { claim, claimMs: leaseMs }, { ...bounds, timeoutMs });
      });
      if (typeof reply === 'object') return reply;
      return reply ? 'leader' : 'held';
    },
    async hold(key, token, holdMs, bounds) {
      const claim = `1h${token}`;
      const done = await withdraw(key, { own: claim, claim, claimMs: holdMs }, bounds);
      return typeof done === 'object' ? done : undefined;
    },
    async invalidate(key, holdToken, bounds) {
      const change = holdToken === undefined ? {} : { own: `1h${holdToken}` };
      const done = await withdraw(key, change, bounds);
      return typeof done === 'object' ? done : undefined;
    },
    async touch(key, ttlMs, bounds) {
      const [found, now] = await Promise.all([
        calls.script(TOUCH, [keys.entry(key)], [wholeMs(ttlMs)], bounds),
        marks.now(bounds.timeoutMs),
      ]);
      const stored = typeof found === 'string' ? textOf(found, now.generation) : undefined;
      return stored === undefined ? undefined : { stored, remainingMs: ttlMs };
    },
    extend: cacheExtend(parts),
    clear: marks.end,
    changed: (key, signal) => wakeups.next(key, signal),
    follow: tracking.open,
    async close() {
      tracking.close();
      wakeups.close();
      calls.dispose();
    },
  };
}

/** Redis takes whole milliseconds; less than one would be none. */
function wholeMs(ms: number): number {
  return Math.ceil(ms);
}
