export type { BreakerState, CacheBreakerOptions } from './breaker.js';
export type {
  Cache,
  CacheCallOptions,
  CacheConsistency,
  CacheFencedOptions,
  CacheOptions,
  CacheWriteOptions,
  LoadContext,
  Loader,
} from './cache.js';
export { createCache } from './create-cache.js';
export type {
  CacheBreakerEvent,
  CacheDeferredEvent,
  CacheEvictedEvent,
  CacheFillRefusedEvent,
  CacheInvalidatedEvent,
  CacheLoadContext,
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
  TierEntry,
  TierListener,
  TierTags,
} from './driver.js';
export type {
  CacheCounts,
  CacheLoadTimes,
  CacheStats,
  CacheTierCounts,
  CacheTierStats,
  CacheWindow,
} from './stats.js';
