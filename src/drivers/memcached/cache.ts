import type {
  CacheNode,
  CallBounds,
  Claim,
  LeaseReply,
  NewEntry,
  SharedCacheDriver,
  SharedTier,
  TierEntry,
} from '../../cache/driver.js';
import { sleep } from '../../core/abort.js';
import { parseAddresses } from './addresses.js';
import { unknown } from './errors.js';
import { claimPayload, entryPayload } from './item.js';
import { type Change, type ItemCalls, type MemcachedItems, memcachedItems } from './items.js';
import { type MemcachedKeys, memcachedKeys } from './keys.js';
import { type KnownLease, type KnownLeases, knownLeases } from './known-leases.js';

/** Options of {@link memcachedCache}. */
export interface MemcachedCacheOptions {
  /**
   * The servers: `'host:port'`, several with commas between or as a list; the port is 11211 where none
   * is given. Every process must name the same servers in the same words: each key lives on one of
   * them, found by the consistent hash "ketama".
   */
  readonly servers: string | readonly string[];
  /** Keeps deployments on one Memcached apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
}

const NAMESPACE_DEFAULT = 'default';
/** Each time somebody else changed the item in between. */
const ATTEMPTS_MAX = 16;
/** Memcached takes a larger number for a date. */
const SECONDS_MAX = 30 * 24 * 60 * 60;
const POLL_MS_MIN = 10;
const POLL_MS_MAX = 100;
/** What is told of a claim in its last second. */
const LAST_MS = 250;
/** Holds have no generation: they outlast `clear`. */
const NO_GENERATION = '-----------';

/**
 * A cache tier in Memcached 1.6.12 or newer, which all nodes with this cache's name share.
 *
 * It speaks the meta protocol over one connection a server, opened at the first call and closed by the
 * cache's `close()`; requests of one turn of the event loop leave in one message. A hit is one
 * request, a miss two and a fill.
 *
 * Reads, writes and invalidations of one key are ordered by its server. Memcached forgets at any time,
 * by eviction or restart: of an entry that is a miss; of a hold of `update` it means that a load which
 * began before the commit may be stored until its TTL. When the list of servers changes, a key that
 * moves to another server may later be found there as it was: use another namespace then.
 * Memcached counts in whole seconds and up to 30 days: an entry lasts up to a second less than its
 * TTL, one of less than a second up to one. Values are at most as large as the server's `-I` (1 MiB
 * by default). Other nodes' loads are waited for by asking again, every 10 to 100 ms.
 *
 * @throws TypeError (INVALID_ARGUMENT) for bad addresses or a bad namespace.
 */
export function memcachedCache(options: MemcachedCacheOptions): SharedCacheDriver {
  const { servers, namespace = NAMESPACE_DEFAULT } = options;
  parseAddresses(servers);
  memcachedKeys('check', namespace);
  return {
    backend: 'memcached',
    scope: 'shared',
    open(node) {
      const keys = memcachedKeys(node.name, namespace);
      const items = memcachedItems({ servers, keys, clock: node.clock, random: node.random });
      return memcachedTier({ node, keys, items, leases: knownLeases() });
    },
  };
}

interface Parts {
  readonly node: CacheNode;
  readonly keys: MemcachedKeys;
  readonly items: MemcachedItems;
  readonly leases: KnownLeases;
}

function memcachedTier(parts: Parts): SharedTier {
  const { keys, items, leases } = parts;
  const begin = (key: string, operation: string, bounds: CallBounds): ItemCalls =>
    items.calls(keys.item(key), operation, bounds);

  return {
    scope: 'shared',
    async read(key, bounds) {
      const { found } = await begin(key, 'read', bounds).read();
      if (found?.item.kind !== 'entry') return undefined;
      return entryOf(found.item, bounds.withRemaining);
    },
    lease: (key, token, leaseMs, bounds) =>
      lease(leases, begin(key, 'lease', bounds), { token, leaseMs }),
    renew: (key, claim, claimMs, bounds) =>
      renew(leases, begin(key, 'renew', bounds), { claim, claimMs }),
    async fill(key, token, entry, bounds) {
      const filling = { item: keys.item(key), token, entry };
      return (await fill(leases, begin(key, 'fill', bounds), filling)) ? 'stored' : 'refused';
    },
    async release(key, token, bounds) {
      const calls = begin(key, 'release', bounds);
      const known = leases.take(token) ?? (await ownLease(calls, token));
      const isDone = known !== undefined && (await calls.remove(known)).state === 'done';
      return isDone ? 'released' : 'refused';
    },
    seize: (key, token, leaseMs, bounds) =>
      seize(leases, begin(key, 'seize', bounds), { token, leaseMs }),
    async hold(key, token, holdMs, bounds) {
      const payload = claimPayload({ kind: 'hold', token }, NO_GENERATION);
      await begin(key, 'hold', bounds).put(payload, claimSeconds(holdMs));
    },
    invalidate: (key, holdToken, bounds) => invalidate(begin(key, 'invalidate', bounds), holdToken),
    clear: (bounds) => items.renewGenerations(bounds),
    changed: (key, signal) => changed(parts, key, signal),
    async close() {
      items.close();
    },
  };
}

interface LeaseWish {
  readonly token: string;
  readonly leaseMs: number;
}

async function lease(
  leases: KnownLeases,
  calls: ItemCalls,
  { token, leaseMs }: LeaseWish,
): Promise<LeaseReply<string>> {
  const seconds = claimSeconds(leaseMs);
  return again('lease', async () => {
    const generation = await calls.generation();
    const payload = claimPayload({ kind: 'lease', token }, generation);
    const isWon = (change: Change): boolean => leases.note(token, generation, change);
    if (isWon(await calls.add(payload, seconds))) return { state: 'leader' };
    const { found, answer } = await calls.look();
    switch (found?.item.kind) {
      case undefined:
        return undefined;
      case 'entry':
        return { state: 'found', entry: entryOf(found.item, true) };
      case 'hold':
        return { state: 'held' };
      case 'lease':
        if (found.item.token !== token) {
          return { state: 'follower', remainingMs: claimMsLeft(found.item) };
        }
        leases.set(token, {
          cas: found.cas,
          connection: answer.connection,
          generation: answer.generation ?? generation,
        });
        return { state: 'leader' };
      case 'outdated': {
        const target = { cas: found.cas, connection: answer.connection };
        if (answer.generation !== generation) return undefined;
        return isWon(await calls.replace(target, payload, seconds))
          ? { state: 'leader' }
          : undefined;
      }
    }
  });
}

async function renew(
  leases: KnownLeases,
  calls: ItemCalls,
  { claim, claimMs }: { readonly claim: Claim; readonly claimMs: number },
): Promise<'held' | 'lost'> {
  leases.take(claim.token);
  return again('renew', async () => {
    const { found, answer } = await calls.look();
    const { item, cas } = found ?? {};
    if (item?.kind !== claim.kind || item.token !== claim.token || cas === undefined) return 'lost';
    const generation = claim.kind === 'hold' ? NO_GENERATION : (answer.generation ?? '');
    const payload = claimPayload(claim, generation);
    const target = { cas, connection: answer.connection };
    const change = await calls.replace(target, payload, claimSeconds(claimMs));
    if (change.state !== 'done') return undefined;
    if (claim.kind === 'lease') leases.note(claim.token, generation, change);
    return 'held';
  });
}

/** Stores with the lease in one request, as long as its connection lives; else looks first. */
async function fill(
  leases: KnownLeases,
  calls: ItemCalls,
  filling: {
    readonly item: ReturnType<MemcachedKeys['item']>;
    readonly token: string;
    readonly entry: NewEntry<string>;
  },
): Promise<boolean> {
  const { item, token, entry } = filling;
  const own = leases.take(token) ?? (await ownLease(calls, token));
  if (own === undefined) return false;
  const payload = entryPayload(item, entry.stored, own.generation);
  const change = await calls.replace(own, payload, entrySeconds(entry.ttlMs));
  // Of another generation it is never read: the cache was cleared since the lease was won.
  return change.state === 'done' && change.answer.generation === own.generation;
}

/** The lease of this token, if it is still there. */
async function ownLease(calls: ItemCalls, token: string): Promise<KnownLease | undefined> {
  const { found, answer } = await calls.look();
  if (found?.item.kind !== 'lease' || found.item.token !== token) return undefined;
  const { connection, generation = '' } = answer;
  return { cas: found.cas, connection, generation };
}

async function seize(
  leases: KnownLeases,
  calls: ItemCalls,
  { token, leaseMs }: LeaseWish,
): Promise<'leader' | 'held'> {
  const seconds = claimSeconds(leaseMs);
  return again('seize', async () => {
    const seen = await calls.glance();
    if (seen?.isHold) return 'held';
    const generation = await calls.generation();
    const payload = claimPayload({ kind: 'lease', token }, generation);
    const change =
      seen === undefined
        ? await calls.add(payload, seconds)
        : await calls.replace(seen, payload, seconds);
    return leases.note(token, generation, change) ? 'leader' : undefined;
  });
}

async function invalidate(calls: ItemCalls, holdToken: string | undefined): Promise<void> {
  await again('invalidate', async () => {
    const seen = await calls.glance();
    if (seen === undefined) return true;
    if (!seen.isHold) return (await calls.remove(seen)).state === 'changed' ? undefined : true;
    const { found, answer } = await calls.look();
    if (found?.item.kind !== 'hold') return undefined;
    if (found.item.token !== holdToken) return true;
    const target = { cas: found.cas, connection: answer.connection };
    return (await calls.remove(target)).state === 'changed' ? undefined : true;
  });
}

/** Asks again and again whether somebody still has the lease. */
async function changed({ node, keys, items }: Parts, key: string, signal: AbortSignal) {
  const { clock } = node;
  try {
    for (let pauseMs = POLL_MS_MIN; !signal.aborted; pauseMs = Math.min(pauseMs * 2, POLL_MS_MAX)) {
      await sleep(clock, pauseMs, { signal });
      const calls = items.calls(keys.item(key), 'changed', { timeoutMs: POLL_MS_MAX * 10 });
      if ((await calls.look()).found?.item.kind !== 'lease') return;
    }
  } catch {
    // A hint only: the caller looks by itself.
  }
}

/** Until somebody has not changed the item in between. */
async function again<Result>(
  operation: string,
  attempt: () => Promise<Result | undefined>,
): Promise<Result> {
  for (let count = 0; count < ATTEMPTS_MAX; count += 1) {
    const result = await attempt();
    if (result !== undefined) return result;
  }
  throw unknown(operation, `the item was changed by others ${ATTEMPTS_MAX} times`);
}

function entryOf(
  { text, leftSeconds }: { readonly text: string; readonly leftSeconds: number },
  withRemaining: boolean,
): TierEntry<string> {
  // The server's clock ticks once a second: the last one has begun already.
  const remainingMs = withRemaining ? Math.max(leftSeconds - 1, 0) * 1_000 : undefined;
  return { stored: text, remainingMs };
}

/** A claim was given a second more than it has; the last one is still to be waited for. */
function claimMsLeft({ leftSeconds }: { readonly leftSeconds: number }): number {
  return Math.max((leftSeconds - 1) * 1_000, LAST_MS);
}

/** A claim must not end early. */
function claimSeconds(ms: number): number {
  return Math.min(Math.ceil(ms / 1_000) + 1, SECONDS_MAX);
}

/** An entry must not end late; 0 would mean never. */
function entrySeconds(ms: number): number {
  return Math.min(Math.max(Math.floor(ms / 1_000), 1), SECONDS_MAX);
}
