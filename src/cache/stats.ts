/**
 * What a cache counted since it was created.
 *
 * A request is one key of `get`, `peek`, `getMany` or `getOrLoad` that was answered or given up;
 * `has` is none. `requestCount` is always `hitCount + missCount`.
 */
export interface CacheStats {
  /** Keys that were asked for. */
  readonly requestCount: number;
  /** Requests that were answered from a tier, without waiting for a load. */
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
  /** How long loads took that succeeded, in milliseconds, over the last 1,024 of them. */
  readonly loadMs: {
    /** The median; undefined before the first. */
    readonly p50: number | undefined;
    /** What 99 of 100 did not exceed; undefined before the first. */
    readonly p99: number | undefined;
  };
  /** Loads that were not stored because a write had overtaken them. */
  readonly refusedFillCount: number;
  /** Live entries that this process's memory gave up for others. */
  readonly evictionCount: number;
  /** The same by tier, nearest first. */
  readonly tiers: readonly CacheTierStats[];
}

/** What one tier was asked. A hit of the second tier is a miss of the first. */
export interface CacheTierStats {
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
  /** Calls of any kind that it did not answer, or with an error. */
  readonly failureCount: number;
  /** Live entries given up for others; 0 where the tier does not tell. */
  readonly evictionCount: number;
  /** Entries in it now; undefined where the tier does not tell. */
  readonly entryCount: number | undefined;
}

/** The counters of one tier. */
export interface TierCounter {
  readonly backend: string;
  hitCount: number;
  missCount: number;
  failureCount: number;
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
  /** The value that a fraction of the samples does not exceed (nearest rank). */
  quantile(fraction: number): number | undefined;
}

const SAMPLES_MAX = 1_024;

export function newCounters(): Counters {
  const zero = { hitCount: 0, missCount: 0, staleCount: 0, coalescedCount: 0 };
  const noLoads = { loadCount: 0, loadFailureCount: 0, refusedFillCount: 0 };
  return { ...zero, ...noLoads, loadMs: newSamples() };
}

export function newTierCounter(backend: string): TierCounter {
  return { backend, hitCount: 0, missCount: 0, failureCount: 0 };
}

/** `hitCount / requestCount`, where there is one. */
export function hitRateOf({
  hitCount,
  missCount,
}: Pick<Counters, 'hitCount' | 'missCount'>): Pick<CacheStats, 'requestCount' | 'hitRate'> {
  const requestCount = hitCount + missCount;
  return { requestCount, hitRate: requestCount === 0 ? undefined : hitCount / requestCount };
}

/** A snapshot of the counters. */
export function statsOf(counters: Counters, tiers: readonly CacheTierStats[]): CacheStats {
  const { loadMs, ...counts } = counters;
  return {
    ...counts,
    ...hitRateOf(counts),
    loadMs: { p50: loadMs.quantile(0.5), p99: loadMs.quantile(0.99) },
    evictionCount: tiers.reduce((sum, tier) => sum + tier.evictionCount, 0),
    tiers,
  };
}

function newSamples(): Samples {
  const ring: number[] = [];
  let next = 0;
  return {
    add(value) {
      ring[next] = value;
      next = (next + 1) % SAMPLES_MAX;
    },
    quantile(fraction) {
      const sorted = ring.toSorted((a, b) => a - b);
      return sorted[Math.max(Math.ceil(fraction * sorted.length) - 1, 0)];
    },
  };
}
