import type { Clock } from '../core/clock.js';
import {
  type CacheCounts,
  type CacheStats,
  type CacheTierCounts,
  type CacheTierStats,
  type CacheWindow,
  type Counters,
  hitRateOf,
} from './stats.js';

/** The statistics of one cache. */
export interface CacheStatistics {
  stats(): CacheStats;
  /** No further buckets. */
  close(): void;
  /** Held here, and only weakly by the timer. */
  readonly marking: Marking;
}

interface Marking {
  mark(): void;
}

const BUCKET_MS = 10_000;
const BUCKETS = 6;

/** The counts at some moment. */
interface Mark {
  readonly atMs: number;
  readonly counts: CacheCounts;
}

/**
 * Snapshots of what the parts of a cache count. The window costs a hit nothing: every ten seconds a
 * timer notes where the counters stand, and a window is a difference. The timer does not keep a cache
 * alive that was let go without `close`.
 */
export function cacheStatistics(
  clock: Clock,
  counters: Counters,
  tierStats: () => CacheTierStats[],
): CacheStatistics {
  const marks: Mark[] = [];
  const mark = (): void => {
    const counts = countsOf(counters, tierStats().map(tierCounts));
    marks.push({ atMs: clock.monotonicMs(), counts });
    if (marks.length > BUCKETS) marks.shift();
  };
  const windowOf = (now: CacheCounts): CacheWindow => {
    const [{ atMs, counts } = { atMs: clock.monotonicMs(), counts: now }] = marks;
    const loadMs = counters.loadMs.times(atMs);
    return { ...difference(now, counts), forMs: clock.monotonicMs() - atMs, loadMs };
  };
  mark();
  const marking: Marking = { mark };
  const close = ticking(clock, marking);
  return {
    marking,
    stats() {
      const tiers = tierStats();
      const now = countsOf(counters, tiers.map(tierCounts));
      const minus = (earlier: CacheStats): CacheCounts => difference(now, earlier);
      const window = windowOf(now);
      const stats = { ...now, loadMs: counters.loadMs.times(), tiers, window, minus };
      return Object.defineProperty(stats, 'minus', { enumerable: false });
    },
    close,
  };
}

/** Marks each bucket's beginning, for as long as somebody else holds it. */
function ticking(clock: Clock, marking: Marking): () => void {
  const held = new WeakRef(marking);
  let cancel = (): void => {};
  const arm = (): void => {
    const next = (): void => {
      const present = held.deref();
      if (present === undefined) return;
      present.mark();
      arm();
    };
    cancel = clock.schedule(BUCKET_MS, next, { keepAlive: false });
  };
  arm();
  return () => cancel();
}

function countsOf(
  { loadMs: _, ...counts }: Counters,
  tiers: readonly CacheTierCounts[],
): CacheCounts {
  const evictionCount = tiers.reduce((sum, tier) => sum + tier.evictionCount, 0);
  return { ...counts, ...hitRateOf(counts), evictionCount, tiers };
}

/** What can be subtracted of a tier: not how it is now. */
function tierCounts({
  backend,
  hitCount,
  missCount,
  skippedCount,
  failureCount,
  schemaMismatchCount,
  unreadableCount,
  auditedCount,
  inconsistentCount,
  evictionCount,
}: CacheTierStats): CacheTierCounts {
  const faults = { skippedCount, failureCount, schemaMismatchCount, unreadableCount };
  const audits = { auditedCount, inconsistentCount };
  const counts = { hitCount, missCount, ...faults, ...audits, evictionCount };
  return { backend, ...counts, ...hitRateOf(counts) };
}

function difference(later: CacheCounts, earlier: CacheCounts): CacheCounts {
  const tiers = later.tiers.map((tier, index) => {
    const before = earlier.tiers[index];
    const counts = before === undefined ? tier : subtracted(TIER_COUNTS, tier, before);
    return { backend: tier.backend, ...counts, ...hitRateOf(counts) };
  });
  const counts = subtracted(COUNTS, later, earlier);
  return { ...counts, ...hitRateOf(counts), tiers };
}

const TIER_COUNTS = [
  'hitCount',
  'missCount',
  'skippedCount',
  'failureCount',
  'schemaMismatchCount',
  'unreadableCount',
  'auditedCount',
  'inconsistentCount',
  'evictionCount',
] as const;
const COUNTS = [
  'hitCount',
  'missCount',
  'staleCount',
  'coalescedCount',
  'loadCount',
  'loadFailureCount',
  'refusedFillCount',
  'evictionCount',
] as const;

function subtracted<Name extends string>(
  names: readonly Name[],
  later: Readonly<Record<Name, number>>,
  earlier: Readonly<Record<Name, number>>,
): Record<Name, number> {
  const pairs = names.map((name) => [name, later[name] - earlier[name]] as const);
  return Object.fromEntries(pairs) as Record<Name, number>;
}
