export type { BreakerState, CacheBreakerOptions } from './breaker.js';
export type {
  Cache,
  CacheCallOptions,
  CacheConsistency,
  CacheFencedOptions,
  CacheKeyOptions,
  CacheOptions,
  CacheReadOptions,
  CacheWriteOptions,
  DeferredInvalidationOptions,
  LoadContext,
  Loader,
  LoadManyContext,
  ManyLoader,
} from './cache.js';
export { createCache } from './create-cache.js';
export type {
  CacheBreakerEvent,
  CacheDeferredEvent,
  CacheEvictedEvent,
  CacheFillRefusedEvent,
  CacheInvalidatedEvent,
  CacheLoadContext,
  CacheSchemaMismatchEvent,
  CacheStoredEvent,
  CacheTierFailedEvent,
} from './diagnostics.js';
export type {
  Aging,
  CacheDriver,
  CacheNode,
  CallBounds,
  Claim,
  FencedBounds,
  FencedOff,
  FillTicket,
  LeaseReply,
  LeaseTier,
  LocalStore,
  LocalTags,
  LocalValue,
  NewEntry,
  ProcessCacheDriver,
  ProcessTier,
  SharedCacheDriver,
  SharedTier,
  TagStamp,
  TagStamps,
  TierEntry,
  TierListener,
  TierTags,
} from './driver.js';
export { stableKey } from './keyed.js';
export type { CacheParticipantOptions } from './participant.js';
export { cacheParticipant } from './participant.js';
export type { CacheBranch } from './participant-branch.js';
export type {
  CacheCounts,
  CacheLoadTimes,
  CacheStats,
  CacheTierCounts,
  CacheTierStats,
  CacheWindow,
} from './stats.js';
export type { WrapOptions, Wrapped } from './wrap.js';
