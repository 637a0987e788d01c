import {
  type EventChannel,
  eventChannel,
  type OperationChannel,
  operationChannel,
} from '../core/diagnostics.js';
import type { BreakerState } from './breaker.js';

/** What `tricord:cache.load` tells about a call of a loader. */
export interface CacheLoadContext {
  /** The cache's name. */
  readonly cache: string;
  /** The key that is loaded. */
  readonly key: string;
}

/** What `tricord:cache.tier-failed` tells about a call that a tier did not answer as it should. */
export interface CacheTierFailedEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The tier's backend. */
  readonly tier: string;
  /** The operation: `read`, `lease`, `fill`, `invalidate` and so on. */
  readonly operation: string;
  /** Undefined for `clear`. */
  readonly key: string | undefined;
  /** The coded error where the cause is known. */
  readonly error: unknown;
}

/** What `tricord:cache.fill-refused` tells about a load that a write overtook. */
export interface CacheFillRefusedEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The key whose load was overtaken. */
  readonly key: string;
}

/** What `tricord:cache.invalidated` tells about a write or removal that was acknowledged. */
export interface CacheInvalidatedEvent {
  /** The cache's name. */
  readonly cache: string;
  /** Undefined when everything was removed, or what carries a tag. */
  readonly key: string | undefined;
  /** The tags that were invalidated. */
  readonly tags?: readonly string[] | undefined;
  /** Which call it was. */
  readonly by: 'set' | 'delete' | 'update' | 'tags' | 'clear' | 'transaction';
}

/** What `tricord:cache.stored` tells about a value that the farthest tier has taken. */
export interface CacheStoredEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The tier's backend. */
  readonly tier: string;
  /** The key. */
  readonly key: string;
  /** Whether a loader found it, or a writer gave it. */
  readonly by: 'load' | 'set';
  /** For how long, the time in which it is stale included, in milliseconds. */
  readonly ttlMs: number;
}

/** What `tricord:cache.evicted` tells about a live entry that had to go. */
export interface CacheEvictedEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The tier's backend. */
  readonly tier: string;
  /** The key that is not kept any more. */
  readonly key: string;
}

/** What `tricord:cache.breaker` tells when a tier is given up for a while, tried again, or used again. */
export interface CacheBreakerEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The tier's backend. */
  readonly tier: string;
  /** How the breaker stands from now on. */
  readonly state: BreakerState;
}

/** What `tricord:cache.fallback` tells about a shared tier that can tell of changes only by its writers. */
export interface CacheFallbackEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The tier's backend. */
  readonly tier: string;
  /** Why the server does not tell by itself. */
  readonly error: unknown;
}

/** What `tricord:cache.deferred` tells about invalidations that did not reach their tier. */
export interface CacheDeferredEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The tier's backend. */
  readonly tier: string;
  /**
   * `deferred`: one waits; `refused`: there was no room, and its writer was told; `replayed`: all were
   * acknowledged; `lost`: the cache was closed before they were.
   */
  readonly state: 'deferred' | 'refused' | 'replayed' | 'lost';
  /** How many wait now, were replayed, or were lost. */
  readonly count: number;
}

/** What `tricord:cache.schema-mismatch` tells about an entry that does not fit the cache's schema. */
export interface CacheSchemaMismatchEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The tier's backend. */
  readonly tier: string;
  /** The key, whose entry counts as a miss and is replaced by the next load. */
  readonly key: string;
  /** What is wrong, at most five lines of `path: message`. */
  readonly issues: readonly string[];
}

/** What `tricord:cache.write-behind` tells about writes that did not reach their source. */
export interface CacheWriteBehindEvent {
  /** The cache's name. */
  readonly cache: string;
  /** `failed`: they are tried again; `lost`: they are not, and were removed from the cache. */
  readonly state: 'failed' | 'lost';
  /** How many keys. */
  readonly count: number;
  /** The source's error, or CLOSED. */
  readonly error: unknown;
}

/** What `tricord:cache.unreadable` tells about an entry that the cache's codec cannot read. */
export interface CacheUnreadableEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The tier's backend. */
  readonly tier: string;
  /** The key, whose entry counts as a miss and is replaced by the next load. */
  readonly key: string;
  /**
   * `other-codec`: it was written by another one; `not-decoded`: the codec threw; `too-large`:
   * decompressed it would have more bytes than allowed.
   */
  readonly reason: 'other-codec' | 'not-decoded' | 'too-large';
  /** The codec by which the entry was written. */
  readonly codec: string;
  /** What the codec threw. */
  readonly error?: unknown;
}

/** What `tricord:cache.inconsistent` tells about a copy in memory that the shared tier does not have so. */
export interface CacheInconsistentEvent {
  /** The cache's name. */
  readonly cache: string;
  /** The backend of the copy. */
  readonly tier: string;
  /** The key; its values are not told. */
  readonly key: string;
  /** What the shared tier has. */
  readonly found: 'another value' | 'nothing';
}

/** Calls of loaders. */
export const cacheLoad: OperationChannel<CacheLoadContext> = operationChannel('tricord:cache.load');
/** Calls that a tier did not answer as it should. */
export const cacheTierFailed: EventChannel<CacheTierFailedEvent> = eventChannel(
  'tricord:cache.tier-failed',
);
/** Entries of a shared tier that do not fit the schema. */
export const cacheSchemaMismatch: EventChannel<CacheSchemaMismatchEvent> = eventChannel(
  'tricord:cache.schema-mismatch',
);
/** Entries of a shared tier that the codec cannot read. */
export const cacheUnreadable: EventChannel<CacheUnreadableEvent> = eventChannel(
  'tricord:cache.unreadable',
);
/** Copies in memory that an audit found to differ. */
export const cacheInconsistent: EventChannel<CacheInconsistentEvent> = eventChannel(
  'tricord:cache.inconsistent',
);
/** Loads that were not stored because a write had overtaken them. */
export const cacheFillRefused: EventChannel<CacheFillRefusedEvent> = eventChannel(
  'tricord:cache.fill-refused',
);
/** Values that the farthest tier has taken. */
export const cacheStored: EventChannel<CacheStoredEvent> = eventChannel('tricord:cache.stored');
/** Live entries that a process's memory gave up for others. */
export const cacheEvicted: EventChannel<CacheEvictedEvent> = eventChannel('tricord:cache.evicted');
/** Changes of circuit breakers. */
export const cacheBreaker: EventChannel<CacheBreakerEvent> = eventChannel('tricord:cache.breaker');
/** Shared tiers that changed over to news from writers, for as long as the cache is open. */
export const cacheFallback: EventChannel<CacheFallbackEvent> =
  eventChannel('tricord:cache.fallback');
/** Invalidations that did not reach their tier, and what became of them. */
export const cacheDeferred: EventChannel<CacheDeferredEvent> =
  eventChannel('tricord:cache.deferred');
/** Batches of a write-behind that failed, and what was given up. */
export const cacheWriteBehind: EventChannel<CacheWriteBehindEvent> = eventChannel(
  'tricord:cache.write-behind',
);
/** Acknowledged writes and removals. */
export const cacheInvalidated: EventChannel<CacheInvalidatedEvent> = eventChannel(
  'tricord:cache.invalidated',
);
