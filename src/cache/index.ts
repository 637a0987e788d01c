export type { BreakerState, CacheBreakerOptions } from './breaker.js';
export type {
  Cache,
  CacheAuditOptions,
  CacheCallOptions,
  CacheConsistency,
  CacheFencedOptions,
  CacheKeyOptions,
  CacheOptions,
  CacheReadOptions,
  CacheUpdateOptions,
  CacheWriteOptions,
  DeferredInvalidationOptions,
  LoadContext,
  Loader,
  LoadManyContext,
  ManyLoader,
  SlidingOptions,
} from './cache.js';
export type { CompressionOptions } from './codec-compressed.js';
export { compressed } from './codec-compressed.js';
export { jsonCodec } from './codec-json.js';
export type { BytesCodec, Codec, CodecId, TextCodec } from './codec-types.js';
export { v8Codec } from './codec-v8.js';
export { createCache } from './create-cache.js';
export type {
  CacheBreakerEvent,
  CacheDeferredEvent,
  CacheEvictedEvent,
  CacheFallbackEvent,
  CacheFillRefusedEvent,
  CacheInconsistentEvent,
  CacheInvalidatedEvent,
  CacheLoadContext,
  CacheSchemaMismatchEvent,
  CacheStoredEvent,
  CacheTierFailedEvent,
  CacheUnreadableEvent,
  CacheWriteBehindEvent,
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
  Sliding,
  StrictTier,
  TagStamp,
  TagStamps,
  TextEncoding,
  TierEntry,
  TierListener,
  TierTags,
} from './driver.js';
export type { CacheIsolation } from './isolation.js';
export { stableKey } from './keyed.js';
export type { CacheParticipantOptions } from './participant.js';
export { cacheParticipant } from './participant.js';
export type { CacheBranch } from './participant-branch.js';
export type {
  WriteBatch,
  WriteBehind,
  WriteBehindEnding,
  WriteBehindOptions,
  WriteBehindRetry,
  WriteBehindStats,
} from './policy-behind.js';
export { writeBehind } from './policy-behind.js';
export type {
  ReadThrough,
  ReadThroughOptions,
  WriteContext,
  WriteThrough,
  WriteThroughOptions,
} from './policy-through.js';
export { readThrough, writeThrough } from './policy-through.js';
export type {
  CacheCounts,
  CacheLoadTimes,
  CacheStats,
  CacheTierCounts,
  CacheTierStats,
  CacheWindow,
} from './stats.js';
export type { WrapOptions, Wrapped } from './wrap.js';
