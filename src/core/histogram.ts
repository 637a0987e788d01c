/** Counts of durations in buckets that grow by an eighth: bounded memory, quantiles to about 6 %. */
export interface Histogram {
  readonly count: number;
  /** Adds one duration, in milliseconds. */
  record(ms: number): void;
  /** What was recorded so far. */
  summary(): DurationSummary;
}

/** How durations are spread, in milliseconds. All zero when nothing was recorded. */
export interface DurationSummary {
  /** How many were recorded. */
  readonly count: number;
  /** Half took at most this long, give or take 6 %. */
  readonly p50: number;
  /** 99 of 100 took at most this long, give or take 6 %. */
  readonly p99: number;
  /** The longest, exactly. */
  readonly max: number;
}

const GROWTH = 1.125;
const GROWTH_LOG: number = Math.log(GROWTH);
/** What is shorter counts as this. */
const SHORTEST_MS = 0.001;
/** The last bucket begins above ten hours. */
const BUCKET_COUNT = 208;

/** An empty histogram. */
export function histogram(): Histogram {
  const buckets = new Float64Array(BUCKET_COUNT);
  let count = 0;
  let maxMs = 0;
  const quantile = (part: number): number => {
    const rank = Math.ceil(count * part);
    let seen = 0;
    const index = buckets.findIndex((inBucket) => {
      seen += inBucket;
      return seen >= rank;
    });
    return Math.min(middleOf(index), maxMs);
  };
  return {
    get count() {
      return count;
    },
    record(ms) {
      const index = bucketOf(ms);
      buckets[index] = (buckets[index] ?? 0) + 1;
      count += 1;
      maxMs = Math.max(maxMs, ms);
    },
    summary() {
      if (count === 0) return { count, p50: 0, p99: 0, max: 0 };
      return { count, p50: quantile(0.5), p99: quantile(0.99), max: maxMs };
    },
  };
}

function bucketOf(ms: number): number {
  if (!(ms > SHORTEST_MS)) return 0;
  const index = Math.ceil(Math.log(ms / SHORTEST_MS) / GROWTH_LOG);
  return Math.min(index, BUCKET_COUNT - 1);
}

/** The geometric middle of a bucket, which halves the error of its bounds. */
function middleOf(index: number): number {
  return SHORTEST_MS * GROWTH ** (index - 0.5);
}
