import type { Clock } from '../core/clock.js';
import type { BreakerState } from './breaker.js';

/**
 * What a cache counted in some span of time.
 *
 * A request is one key of `get`, `peek`, `getMany` or `getOrLoad` that was answered or given up;
 * `has` and `touch` are none. `requestCount` is always `hitCount + missCount`.
 */
export interface CacheCounts {
  /** Keys that were asked for. */
  readonly requestCount: number;
  /**
   * Requests that were answered from a tier, without waiting for a load: with a stale value too, and
   * with the knowledge that there is none (`negativeTtlMs`).
   */
  readonly hitCount: number;
  /** Requests for which no tier had a value. */
  readonly missCount: number;
  /** Hits whose value was past its `ttlMs`; see `staleMs` and `staleIfErrorMs`. */
  readonly staleCount: number;
  /** `hitCount / requestCount`; undefined before the first request. */
  readonly hitRate: number | undefined;
  /** Misses that waited for a load which another request had begun, here or on another node. */
  readonly coalescedCount: number;
  /** Calls of loaders. */
  readonly loadCount: number;
  /** Calls of loaders that failed, or were aborted because nobody waited any more. */
  readonly loadFailureCount: number;
  /** Loads that were not stored because a write had overtaken them. */
  readonly refusedFillCount: number;
  /** Live entries that this process's memory gave up for others. */
  readonly evictionCount: number;
  /** The same by tier, nearest first. */
  readonly tiers: readonly CacheTierCounts[];
}

/** What one tier was asked in some span of time. A hit of the second tier is a miss of the first. */
export interface CacheTierCounts {
  /** Which backend, for example `memory`. */
  readonly backend: string;
  /**
   * How often it was asked for a key. Callers of one key that wait together ask the shared tier once.
   */
  readonly requestCount: number;
  /** Requests for which it had a value. */
  readonly hitCount: number;
  /** Includes requests that it did not answer. */
  readonly missCount: number;
  /** `hitCount / requestCount`; undefined before the first request. */
  readonly hitRate: number | undefined;
  /** Reads that went by without asking it, as it was out of order: neither requests nor misses. */
  readonly skippedCount: number;
  /** Calls of any kind that it did not answer, or with an error. */
  readonly failureCount: number;
  /** Entries that it had and that did not fit `schema`: misses of it. */
  readonly schemaMismatchCount: number;
  /** Entries that it had and that the codec could not read: misses of it. */
  readonly unreadableCount: number;
  /** Hits of memory that were compared with the shared tier; see `audit`. */
  readonly auditedCount: number;
  /** Those that were another value than the shared tier's, or of a key that it did not have. */
  readonly inconsistentCount: number;
  /** Live entries given up for others; 0 where the tier does not tell. */
  readonly evictionCount: number;
}

/** What a cache counted since it was created. A plain object that does not change afterwards. */
export interface CacheStats extends CacheCounts {
  /** How long loads took that succeeded, in milliseconds, over the last 1,024 of them. */
  readonly loadMs: CacheLoadTimes;
  /** The same by tier, nearest first, and how each tier is now. */
  readonly tiers: readonly CacheTierStats[];
  /** The last minute of it. */
  readonly window: CacheWindow;
  /**
   * What was counted between an earlier snapshot of the same cache and this one. The property is not
   * enumerable, so that the object stays one of numbers to JSON and to comparisons.
   */
  minus(earlier: CacheStats): CacheCounts;
}

/** What one tier was asked since the cache was created, and how it is now. */
export interface CacheTierStats extends CacheTierCounts {
  /** How its circuit breaker stands; undefined for memory, and where there is none. */
  readonly breaker: BreakerState | undefined;
  /** Invalidations that wait until it answers again; see `deferredInvalidation`. */
  readonly deferredCount: number;
  /** Entries in it now; undefined where the tier does not tell. */
  readonly entryCount: number | undefined;
  /** About how many bytes they take; undefined where the tier does not tell. */
  readonly byteCount: number | undefined;
}

/**
 * What a cache counted lately: in the running part of a minute's six buckets of ten seconds and the
 * five before it.
 */
export interface CacheWindow extends CacheCounts {
  /** How long the window is, in milliseconds: 50,000 to 60,000, less for a younger cache. */
  readonly forMs: number;
  /** How long loads took that succeeded in it, over the last 1,024 of them at most. */
  readonly loadMs: CacheLoadTimes;
}

/** How long loads took, in milliseconds. */
export interface CacheLoadTimes {
  /** The median; undefined before the first. */
  readonly p50: number | undefined;
  /** What 99 of 100 did not exceed; undefined before the first. */
  readonly p99: number | undefined;
}

/** The counters of one tier. */
export interface TierCounter {
  readonly backend: string;
  hitCount: number;
  missCount: number;
  skippedCount: number;
  failureCount: number;
  schemaMismatchCount: number;
  unreadableCount: number;
  auditedCount: number;
  inconsistentCount: number;
}

/** The counters of one cache, which its parts increment. */
export interface Counters {
  hitCount: number;
  missCount: number;
  staleCount: number;
  coalescedCount: number;
  loadCount: number;
  loadFailureCount: number;
  refusedFillCount: number;
  readonly loadMs: Samples;
}

/** The last values of a measure. */
export interface Samples {
  add(value: number): void;
  /** The quantiles (nearest rank) of those added since a point of the monotonic clock, or of all. */
  times(sinceMs?: number): CacheLoadTimes;
}

const SAMPLES_MAX = 1_024;

export function newCounters(clock: Clock): Counters {
  const zero = { hitCount: 0, missCount: 0, staleCount: 0, coalescedCount: 0 };
  const noLoads = { loadCount: 0, loadFailureCount: 0, refusedFillCount: 0 };
  return { ...zero, ...noLoads, loadMs: newSamples(clock) };
}

export function newTierCounter(backend: string): TierCounter {
  const faults = { failureCount: 0, schemaMismatchCount: 0, unreadableCount: 0 };
  const audits = { auditedCount: 0, inconsistentCount: 0 };
  return { backend, hitCount: 0, missCount: 0, skippedCount: 0, ...faults, ...audits };
}

/** `hitCount / requestCount`, where there is one. */
export function hitRateOf({
  hitCount,
  missCount,
}: Pick<Counters, 'hitCount' | 'missCount'>): Pick<CacheStats, 'requestCount' | 'hitRate'> {
  const requestCount = hitCount + missCount;
  return { requestCount, hitRate: requestCount === 0 ? undefined : hitCount / requestCount };
}

function newSamples(clock: Clock): Samples {
  const ring: { readonly value: number; readonly atMs: number }[] = [];
  let next = 0;
  return {
    add(value) {
      ring[next] = { value, atMs: clock.monotonicMs() };
      next = (next + 1) % SAMPLES_MAX;
    },
    times(sinceMs = Number.NEGATIVE_INFINITY) {
      const values = ring.filter(({ atMs }) => atMs >= sinceMs).map(({ value }) => value);
      values.sort((a, b) => a - b);
      return { p50: quantile(values, 0.5), p99: quantile(values, 0.99) };
    },
  };
}

function quantile(sorted: readonly number[], fraction: number): number | undefined {
  return sorted[Math.max(Math.ceil(fraction * sorted.length) - 1, 0)];
}
