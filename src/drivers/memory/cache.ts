import type {
  CacheNode,
  Claim,
  LocalValue,
  NewEntry,
  ProcessCacheDriver,
  ProcessTier,
  TierTags,
} from '../../cache/driver.js';
import { slidingMark } from '../../cache/sliding.js';
import { type WakeList, wakeList } from '../../cache/wake-list.js';
import { type Clock, instantOf, remainingMs, type Validity } from '../../core/clock.js';
import { assertNumber } from '../../core/validate.js';
import { type FenceMemory, fenceMemory } from './cache-fences.js';
import { type MemoryBounds, type MemoryStore, memoryStore } from './cache-store.js';

/** Options of {@link memoryCache}. */
export interface MemoryCacheOptions {
  /**
   * The most entries that one cache keeps; 1 to 16,777,216, a Map's own limit. Default 10,000.
   * S3-FIFO decides which entry makes room for a new one.
   */
  readonly entriesMax?: number | undefined;
  /**
   * About how many bytes of memory the entries of one cache take at most, their keys and places
   * included; at least 1,024. What weighs more by itself is not kept. An estimate, within a third of
   * the truth for plain data of Latin-1 text. Default: entries are not weighed.
   */
  readonly bytesMax?: number | undefined;
}

const ENTRIES_MAX_DEFAULT = 10_000;
const ENTRIES_MAX_LIMIT = 2 ** 24;
const BYTES_MAX_MIN = 1_024;

/**
 * A cache tier in this process: alone the embedded cache, before a shared tier the L1.
 *
 * Caches of one name that are given the same driver share its entries and leases, as several nodes
 * share a Redis; each name has `entriesMax` and `bytesMax` of its own. Everything is gone with the process.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an `entriesMax` or `bytesMax` that is no whole number within
 * bounds.
 */
export function memoryCache(options?: MemoryCacheOptions): ProcessCacheDriver {
  const { entriesMax = ENTRIES_MAX_DEFAULT, bytesMax } = options ?? {};
  assertNumber('entriesMax', entriesMax, { min: 1, max: ENTRIES_MAX_LIMIT, integer: true });
  if (bytesMax !== undefined) {
    assertNumber('bytesMax', bytesMax, { min: BYTES_MAX_MIN, integer: true });
  }
  const spaces = new Map<string, Space>();
  return {
    backend: 'memory',
    scope: 'process',
    open(node) {
      const space = spaces.get(node.name) ?? newSpace(node, { entriesMax, bytesMax });
      spaces.set(node.name, space);
      return memoryTier(node, space);
    },
  };
}

/** What the caches of one name share. */
interface Space {
  readonly store: MemoryStore;
  readonly claims: Map<string, HeldClaim>;
  /** Who waits for the end of a lease. */
  readonly followers: WakeList;
  /** The newest fencing token of each key that was written with one. */
  readonly fences: FenceMemory;
  readonly tags: TierTags;
}

interface HeldClaim extends Claim {
  validity: Validity;
}

function newSpace({ clock, onEvicted }: CacheNode, bounds: MemoryBounds): Space {
  const store = memoryStore(clock, { ...bounds, onEvicted });
  const tags = tagsOf(store);
  return { store, claims: new Map(), followers: wakeList(), fences: fenceMemory(clock), tags };
}

/** The claims of a space, as of now: one whose time is over is none. */
function liveClaims(clock: Clock, { store, claims, followers }: Space) {
  const claimOf = (key: string): HeldClaim | undefined => {
    const claim = claims.get(key);
    if (claim === undefined || remainingMs(clock, claim.validity) > 0) return claim;
    claims.delete(key);
    return undefined;
  };
  return {
    claimOf,
    endLease(key: string, token: string): boolean {
      const claim = claimOf(key);
      if (claim?.kind !== 'lease' || claim.token !== token) return false;
      claims.delete(key);
      followers.wake(key);
      return true;
    },
    /** Removes the entry and ends the lease; a hold stays. */
    remove(key: string): void {
      store.delete(key);
      if (claimOf(key)?.kind === 'lease') claims.delete(key);
      followers.wake(key);
    },
  };
}

function memoryTier({ clock }: CacheNode, space: Space): ProcessTier {
  const { store, claims, followers, fences, tags } = space;
  const { claimOf, endLease, remove } = liveClaims(clock, space);
  const validFor = (forMs: number): Validity => ({ since: instantOf(clock), forMs });

  return {
    scope: 'process',
    fences: true,
    local: store,
    tags,
    async read(key) {
      return entryOf(store, key);
    },
    async lease(key, token, leaseMs, { refresh = false }) {
      const entry = refresh ? undefined : entryOf(store, key);
      if (entry !== undefined) return { state: 'found', entry };
      const claim = claimOf(key);
      if (claim === undefined) {
        claims.set(key, { kind: 'lease', token, validity: validFor(leaseMs) });
        return { state: 'leader', epoch: epochOf(store) };
      }
      if (claim.kind === 'hold') return { state: 'held' };
      if (claim.token === token) return { state: 'leader', epoch: epochOf(store) };
      return { state: 'follower', remainingMs: remainingMs(clock, claim.validity) };
    },
    async renew(key, { kind, token }, claimMs) {
      const claim = claimOf(key);
      if (claim?.kind !== kind || claim.token !== token) return 'lost';
      claim.validity = validFor(claimMs);
      return 'held';
    },
    async fill(key, token, { stored, ttlMs }: NewEntry<LocalValue>) {
      if (!endLease(key, token)) return 'refused';
      store.write(key, stored, validFor(ttlMs));
      return 'stored';
    },
    async release(key, token) {
      return endLease(key, token) ? 'released' : 'refused';
    },
    async seize(key, token, leaseMs, { fence }) {
      const stale = fences.refusal(key, fence);
      if (stale !== undefined) return stale;
      remove(key);
      if (claimOf(key) !== undefined) return 'held';
      claims.set(key, { kind: 'lease', token, validity: validFor(leaseMs) });
      return 'leader';
    },
    async hold(key, token, holdMs, { fence }) {
      const stale = fences.refusal(key, fence);
      if (stale !== undefined) return stale;
      remove(key);
      claims.set(key, { kind: 'hold', token, validity: validFor(holdMs) });
      return undefined;
    },
    async invalidate(key, holdToken, { fence }) {
      const stale = fences.refusal(key, fence);
      if (stale !== undefined) return stale;
      remove(key);
      if (claimOf(key)?.token === holdToken) claims.delete(key);
      return undefined;
    },
    async touch(key, ttlMs) {
      const found = store.find(key);
      if (found === undefined) return undefined;
      store.write(key, found.value, validFor(ttlMs));
      return { stored: found.value, remainingMs: ttlMs };
    },
    async extend(key, ttlMs, mark) {
      const found = store.find(key);
      const { sliding } = found?.value ?? {};
      if (found === undefined || sliding === undefined) return 'unchanged';
      if (slidingMark(sliding) !== mark || found.remainingMs >= ttlMs) return 'unchanged';
      store.write(key, found.value, validFor(ttlMs));
      return 'extended';
    },
    async clear() {
      store.clear();
      for (const [key, { kind }] of claims) if (kind === 'lease') claims.delete(key);
      followers.wakeAll();
    },
    changed: (key, signal) => followers.next(key, signal),
    // The entries stay for other caches of this name, and go with the driver.
    async close() {},
  };
}

/** A version is the next number; the epoch is the moment of the last renewal. */
function tagsOf({ tags }: MemoryStore): TierTags {
  let versionNumber = 0;
  const versionOf = (tag: string): string => {
    const known = tags.get(tag);
    if (known !== undefined) return known;
    versionNumber += 1;
    tags.note(tag, String(versionNumber), tags.moment);
    return String(versionNumber);
  };
  return {
    versions: async (names) => names.map(tags.get),
    stamp: async (names) => ({ versions: names.map(versionOf), epoch: String(tags.moment) }),
    async renew(names) {
      for (const name of names) tags.renewed(name);
    },
  };
}

function epochOf({ tags }: MemoryStore): string {
  return String(tags.moment);
}

function entryOf(store: MemoryStore, key: string) {
  const found = store.find(key);
  return found && { stored: found.value, remainingMs: found.remainingMs };
}
