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
import { cachePublisher, silentChanges } from './cache-changes.js';
import type { RedisCacheClient } from './cache-client.js';
import { textOf } from './cache-entry.js';
import { cacheExtend } from './cache-extend.js';
import { cacheFollow, type RedisCacheNews } from './cache-follow.js';
import { type CacheKeys, cacheKeys } from './cache-keys.js';
import { cacheLeases } from './cache-leases.js';
import type { CacheListening } from './cache-listening.js';
import { cacheMarks } from './cache-marks.js';
import type { ToldChange } from './cache-news.js';
import { cacheReads } from './cache-reads.js';
import { cacheReservations, fencedOff } from './cache-reservations.js';
import { RENEW, TOUCH, WITHDRAW } from './cache-scripts.js';
import { cacheTags } from './cache-tags.js';
import { cacheWakeups } from './cache-wakeups.js';
import { assertNamespace, NAMESPACE_DEFAULT } from './keys.js';

/** Options of {@link redisCache}. */
export interface RedisCacheOptions {
  /** An ioredis client, `Redis` or `Cluster`. It stays yours: it is not configured and not closed. */
  readonly client: RedisCacheClient;
  /** Keeps deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * How memory before this tier hears of changes; the same for all nodes of a cache, those without
   * memory included.
   *
   * - `tracking`: the server tells, of every change by whomever, expiry and eviction included.
   * - `bus`: whoever changes something with this option publishes it, for servers that refuse
   *   `CLIENT TRACKING`. It promises less: see `notified` of `CacheConsistency`.
   * - `auto`: publishes as with `bus`, and listens by tracking where that is allowed; else by the bus.
   *   It changes over once, on a refusal that no repetition can change (NOPERM, unknown command), says
   *   so on `tricord:cache.fallback`, and stays there. It promises what the bus does.
   *
   * Default `tracking`.
   */
  readonly news?: RedisCacheNews | undefined;
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
 * Where the server refuses that, `news: 'bus'` has the writers tell: each change is published from within
 * the script that makes it, numbered, and once a second every process says up to where it came. Who
 * misses a number, or three times such a sign, drops its memory. To every master of a Cluster
 * a connection listens, and hears each message as often as there are masters.
 *
 * ACL: `+client|id +client|tracking +ping +get +mget +set +del +unlink +pttl +pexpire +time +publish +subscribe +eval +evalsha`, keys
 * `tricord:*`, channels `tricord:*` (with the client's keyPrefix before them).
 *
 * @throws TypeError (INVALID_ARGUMENT) for something that is no ioredis client, and for a bad
 * namespace or news.
 */
export function redisCache(options: RedisCacheOptions): SharedCacheDriver {
  const { client, namespace = NAMESPACE_DEFAULT, news = 'tracking' } = options;
  if (typeof client?.evalsha !== 'function' || typeof client.duplicate !== 'function') {
    throw invalidArgument('client', client, 'a Redis or Cluster of ioredis');
  }
  assertNamespace(namespace);
  if (!['tracking', 'bus', 'auto'].includes(news)) {
    throw invalidArgument('news', news, "'tracking', 'bus' or 'auto'");
  }
  return {
    backend: 'redis',
    scope: 'shared',
    tells: news === 'tracking' ? true : 'writes',
    reserves: true,
    open: (node) => redisTier(node, client, cacheKeys(client, node.name, namespace), news),
  };
}

function redisTier(
  node: CacheNode,
  client: RedisCacheClient,
  keys: CacheKeys,
  news: RedisCacheNews,
): SharedTier {
  const { clock, random } = node;
  const calls = cacheCalls(client, clock, node.encoding);
  const publisher =
    news === 'tracking' ? undefined : cachePublisher({ calls, client, keys, clock, random });
  const changes = publisher ?? silentChanges(calls, client);
  let listening: CacheListening | undefined;
  const wakeups = cacheWakeups(client, keys.channel);
  const parts = { calls, changes, client, keys, clock, random };
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
    const reply = await changes.script(WITHDRAW, names, values, bounds, toldOf(key));
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
        changes.script(TOUCH, [keys.entry(key)], [wholeMs(ttlMs)], bounds, toldOf(key)),
        marks.now(bounds.timeoutMs),
      ]);
      const stored = typeof found === 'string' ? textOf(found, now.generation) : undefined;
      return stored === undefined ? undefined : { stored, remainingMs: ttlMs };
    },
    extend: cacheExtend(parts),
    clear: marks.end,
    changed: (key, signal) => wakeups.next(key, signal),
    follow(listener) {
      listening = cacheFollow({ node, client, keys, news, publisher, listener });
      listening.open();
    },
    async close() {
      listening?.close();
      await publisher?.end();
      wakeups.close();
      calls.dispose();
    },
  };
}

function toldOf(key: string): ToldChange {
  return { of: 'keys', names: [key] };
}

/** Redis takes whole milliseconds; less than one would be none. */
function wholeMs(ms: number): number {
  return Math.ceil(ms);
}
