import { type DurationSummary, histogram } from '../core/histogram.js';
import type { LockMode } from './driver.js';

/** What became of the leases of one mode. */
export interface LockModeStats {
  /** Leases that are held right now. */
  readonly heldCount: number;
  /** Leases that were granted. */
  readonly grantedCount: number;
  /** Of these, how many without asking the backend: handed over, shared with a reader, retained. */
  readonly handOffCount: number;
  /** Leases that were released while they were held. */
  readonly releasedCount: number;
  /** Leases that were lost before their release. */
  readonly lostCount: number;
}

/** What a lock has done since it was created, on this node. */
export interface LockStats extends LockModeStats {
  /** Leases that tasks wait for right now. */
  readonly waitingCount: number;
  /** Waits that ended with LOCK_TIMEOUT. */
  readonly timeoutCount: number;
  /** Waits that were given up through their signal, or by `close`. */
  readonly abortedCount: number;
  /** `tryAcquire` calls that were answered undefined. */
  readonly refusedCount: number;
  /** Waits that ended with an error of the backend. */
  readonly failedCount: number;
  /** Leases that a task got because it held the resource already, with `reentrant`. */
  readonly reentryCount: number;
  /** Writers that became readers without letting go. They count as readers from then on. */
  readonly downgradeCount: number;
  /** How long those who got a lease had waited for it, in milliseconds. */
  readonly waitMs: DurationSummary;
  /** How long leases were held until they were released or lost, in milliseconds. */
  readonly holdMs: DurationSummary;
  /** The same counts for leases of each mode. */
  readonly modes: Readonly<Record<LockMode, LockModeStats>>;
}

/** How a wait ended without a lease. */
export type WaitEnding = 'timeout' | 'aborted' | 'refused' | 'failed';

/** Counts what happens to the waits and leases of one lock. */
export interface LockRecorder {
  waiting(): void;
  granted(mode: LockMode, waitedMs: number, isHandedOver: boolean): void;
  /** Granted without a wait: it was kept here. */
  taken(mode: LockMode): void;
  gaveUp(ending: WaitEnding): void;
  ended(mode: LockMode, ending: 'released' | 'lost', heldMs: number): void;
  reentered(): void;
  downgraded(): void;
  stats(): LockStats;
}

type Counts = { -readonly [Name in keyof LockModeStats]: number };

const noCounts = (): Counts => ({
  ...{ heldCount: 0, grantedCount: 0, handOffCount: 0, releasedCount: 0, lostCount: 0 },
});

/** A recorder that has counted nothing yet. */
export function lockRecorder(): LockRecorder {
  const endings = { timeout: 0, aborted: 0, refused: 0, failed: 0 };
  const modes = { exclusive: noCounts(), shared: noCounts(), counting: noCounts() };
  const waitMs = histogram();
  const holdMs = histogram();
  let waitingCount = 0;
  let reentryCount = 0;
  let downgradeCount = 0;
  return {
    waiting() {
      waitingCount += 1;
    },
    granted(mode, waitedMs, isHandedOver) {
      const counts = modes[mode];
      waitingCount -= 1;
      counts.heldCount += 1;
      counts.grantedCount += 1;
      if (isHandedOver) counts.handOffCount += 1;
      waitMs.record(waitedMs);
    },
    taken(mode) {
      const counts = modes[mode];
      counts.heldCount += 1;
      counts.grantedCount += 1;
      counts.handOffCount += 1;
      waitMs.record(0);
    },
    gaveUp(ending) {
      waitingCount -= 1;
      endings[ending] += 1;
    },
    ended(mode, ending, heldMs) {
      const counts = modes[mode];
      counts.heldCount -= 1;
      if (ending === 'released') counts.releasedCount += 1;
      else counts.lostCount += 1;
      holdMs.record(heldMs);
    },
    reentered() {
      reentryCount += 1;
    },
    downgraded() {
      downgradeCount += 1;
      modes.exclusive.heldCount -= 1;
      modes.shared.heldCount += 1;
    },
    stats: () => ({
      ...sumOf(Object.values(modes)),
      waitingCount,
      timeoutCount: endings.timeout,
      abortedCount: endings.aborted,
      refusedCount: endings.refused,
      failedCount: endings.failed,
      reentryCount,
      downgradeCount,
      waitMs: waitMs.summary(),
      holdMs: holdMs.summary(),
      modes: {
        exclusive: { ...modes.exclusive },
        shared: { ...modes.shared },
        counting: { ...modes.counting },
      },
    }),
  };
}

function sumOf(all: readonly Counts[]): Counts {
  const sum = noCounts();
  for (const counts of all) {
    for (const name of Object.keys(sum) as (keyof Counts)[]) sum[name] += counts[name];
  }
  return sum;
}
