import { type DurationSummary, type Histogram, histogram } from '../core/histogram.js';
import type { AbortedBy } from './two-phase.js';

/** What a coordinator has done since it was created. */
export interface TransactionStats {
  /** Transactions whose body is running, or that are being committed. */
  readonly inFlightCount: number;
  /** How many were answered 'committed'. */
  readonly committedCount: number;
  /** How many were answered 'aborted'. */
  readonly abortedCount: number;
  /** How many were answered 'in-doubt'. */
  readonly inDoubtCount: number;
  /** Of those in doubt, how many this process has since found out. */
  readonly resolvedCount: number;
  /** Aborted transactions by who aborted them. */
  readonly abortedBy: Readonly<Record<AbortedBy, number>>;
  /** How often a recoverer fenced this coordinator. */
  readonly fencedCount: number;
  /** Branches that recovery has finished here. */
  readonly recoveredCount: number;
  /** Branches whose evidence contradicted the decision: somebody ended them by hand. */
  readonly contradictedCount: number;
  /** How many were answered without running, because their key had been committed before. */
  readonly repeatedCount: number;
  /** How many attempts were begun anew after a conflict, by `retry`. */
  readonly retriedCount: number;
  /** From `run` to its answer, in milliseconds, of committed transactions. */
  readonly commitMs: DurationSummary;
  /** From `run` to its answer, in milliseconds, of aborted transactions. */
  readonly abortMs: DurationSummary;
}

/** How a transaction was answered. */
export type OutcomeState = 'committed' | 'aborted' | 'in-doubt';

/** Counts what happens to the transactions of one coordinator. */
export interface TransactionRecorder {
  started(): void;
  ended(state: OutcomeState, durationMs: number, by?: AbortedBy): void;
  /** It could not begin. */
  refused(): void;
  /** It was answered by its key. */
  repeated(): void;
  retried(): void;
  resolved(): void;
  fenced(): void;
  recovered(count: number): void;
  contradicted(): void;
  stats(): TransactionStats;
}

/** A recorder that has counted nothing yet. */
export function transactionRecorder(): TransactionRecorder {
  // Made when they are needed: their buckets are the largest thing that an idle coordinator has.
  const durations: { commit?: Histogram; abort?: Histogram } = {};
  const commitMs = (): Histogram => (durations.commit ??= histogram());
  const abortMs = (): Histogram => (durations.abort ??= histogram());
  const abortedBy: Record<AbortedBy, number> = {
    body: 0,
    'rollback-only': 0,
    participant: 0,
    timeout: 0,
    signal: 0,
    fence: 0,
    log: 0,
    key: 0,
    close: 0,
  };
  const counts = { inFlight: 0, inDoubt: 0, resolved: 0, fenced: 0, recovered: 0, contradicted: 0 };
  const again = { repeated: 0, retried: 0 };
  return {
    started() {
      counts.inFlight += 1;
    },
    ended(state, durationMs, by) {
      counts.inFlight -= 1;
      if (state === 'committed') commitMs().record(durationMs);
      if (state === 'aborted') abortMs().record(durationMs);
      if (state === 'in-doubt') counts.inDoubt += 1;
      if (by !== undefined) abortedBy[by] += 1;
    },
    refused() {
      counts.inFlight -= 1;
    },
    repeated() {
      counts.inFlight -= 1;
      again.repeated += 1;
    },
    retried() {
      again.retried += 1;
    },
    resolved() {
      counts.resolved += 1;
    },
    fenced() {
      counts.fenced += 1;
    },
    recovered(count) {
      counts.recovered += count;
    },
    contradicted() {
      counts.contradicted += 1;
    },
    stats: () => ({
      inFlightCount: counts.inFlight,
      committedCount: commitMs().count,
      abortedCount: abortMs().count,
      inDoubtCount: counts.inDoubt,
      resolvedCount: counts.resolved,
      abortedBy: { ...abortedBy },
      fencedCount: counts.fenced,
      recoveredCount: counts.recovered,
      contradictedCount: counts.contradicted,
      repeatedCount: again.repeated,
      retriedCount: again.retried,
      commitMs: commitMs().summary(),
      abortMs: abortMs().summary(),
    }),
  };
}
