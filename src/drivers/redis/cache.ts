import {
  type CacheNode,
  type CallBounds,
  FENCE_KEPT_MS,
  type FencedBounds,
  type FencedOff,
  type LeaseReply,
  type SharedCacheDriver,
  type SharedTier,
  type TierEntry,
} from '../../cache/driver.js';
import { invalidArgument } from '../../core/validate.js';
import { type CacheCalls, cacheCalls } from './cache-calls.js';
import { clearCache } from './cache-clear.js';
import type { RedisCacheClient } from './cache-client.js';
import { type CacheKeys, cacheKeys } from './cache-keys.js';
import { FILL, LEASE, READ, RENEW, WITHDRAW } from './cache-scripts.js';
import { cacheTracking } from './cache-tracking.js';
import { cacheWakeups } from './cache-wakeups.js';
import { formatError } from './errors.js';
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
 * A hit is one GET (one script where memory stands before it, for the time that is left); a miss two
 * calls and a fill. Reads, writes and invalidations of a key are ordered by the one master. A
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
 * ACL: `+client|id +client|tracking +ping +get +set +del +unlink +pttl +pexpire +publish +subscribe +eval +evalsha +scan`, keys
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
    open: (node) => redisTier(node, client, cacheKeys(client, node.name, namespace)),
  };
}

function redisTier(node: CacheNode, client: RedisCacheClient, keys: CacheKeys): SharedTier {
  const { clock, random } = node;
  const calls = cacheCalls(client, clock);
  const onFailure = (error: unknown): void => node.onFailure?.('follow', error);
  const tracking = cacheTracking({ client, keys, clock, random, onFailure });
  const wakeups = cacheWakeups(client, keys.channel);
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
  const fill = async (
    key: string,
    token: string,
    entry: { readonly stored: string; readonly ttlMs: number } | undefined,
    bounds: CallBounds,
  ): Promise<boolean> => {
    const values = [token, keys.channel, key, entry ? wholeMs(entry.ttlMs) : 0];
    const stored = entry?.stored ?? '';
    return (await calls.script(FILL, keys.pair(key), [...values, stored], bounds)) === 1;
  };

  return {
    scope: 'shared',
    fences: true,
    read: (key, bounds) => read(calls, keys, key, bounds),
    async lease(key, token, leaseMs, bounds) {
      const values = [token, wholeMs(leaseMs), bounds.refresh ? 1 : 0];
      return leaseReply(key, await calls.script(LEASE, keys.pair(key), values, bounds));
    },
    async renew(key, { kind, token }, claimMs, bounds) {
      const values = [kind === 'hold' ? 'h' : 'l', token, wholeMs(claimMs)];
      return (await calls.script(RENEW, keys.pair(key), values, bounds)) === 1 ? 'held' : 'lost';
    },
    fill: async (key, token, entry, bounds) =>
      (await fill(key, token, entry, bounds)) ? 'stored' : 'refused',
    release: async (key, token, bounds) =>
      (await fill(key, token, undefined, bounds)) ? 'released' : 'refused',
    async seize(key, token, leaseMs, bounds) {
      const done = await withdraw(key, { claim: `1l${token}`, claimMs: leaseMs }, bounds);
      if (typeof done === 'object') return done;
      return done ? 'leader' : 'held';
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
    clear: (bounds) => clearCache({ calls, client, keys, clock }, bounds),
    changed: (key, signal) => wakeups.next(key, signal),
    follow: tracking.open,
    async close() {
      tracking.close();
      wakeups.close();
      calls.dispose();
    },
  };
}

async function read(
  calls: CacheCalls,
  keys: CacheKeys,
  key: string,
  bounds: CallBounds & { readonly withRemaining: boolean },
): Promise<TierEntry<string> | undefined> {
  if (!bounds.withRemaining) {
    const stored = await calls.get(keys.entry(key), bounds);
    return stored === null ? undefined : { stored, remainingMs: undefined };
  }
  const reply = (await calls.script(READ, keys.pair(key), [], bounds)) as [string, number] | null;
  return reply ? { stored: reply[0], remainingMs: reply[1] } : undefined;
}

function leaseReply(key: string, reply: unknown): LeaseReply<string> {
  const [state, ...rest] = reply as [string, ...unknown[]];
  switch (state) {
    case 'found':
      return { state, entry: { stored: String(rest[0]), remainingMs: Number(rest[1]) } };
    case 'follower':
      return { state, remainingMs: Number(rest[0]) };
    case 'leader':
    case 'held':
      return { state };
    default:
      throw formatError(`the claim of key ${JSON.stringify(key)}`, String(rest[0]), 1);
  }
}

/** The newest token that a key has seen, as it is stored: the format's version, and its digits. */
function fencedOff(where: string, stored: string): FencedOff {
  if (!/^1\d{40}$/.test(stored)) throw formatError(where, stored.slice(0, 1), 1);
  return { newest: stored.slice(1) };
}

/** Redis takes whole milliseconds; less than one would be none. */
function wholeMs(ms: number): number {
  return Math.ceil(ms);
}
