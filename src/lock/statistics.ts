import { type DurationSummary, histogram } from '../core/histogram.js';

/** What a lock has done since it was created, on this node. */
export interface LockStats {
  /** Leases that tasks wait for right now. */
  readonly waitingCount: number;
  /** Leases that are held right now. */
  readonly heldCount: number;
  /** Leases that were granted. */
  readonly grantedCount: number;
  /** Of these, how many were handed over from task to task here, without asking the backend. */
  readonly handOffCount: number;
  /** Leases that were released while they were held. */
  readonly releasedCount: number;
  /** Leases that were lost before their release. */
  readonly lostCount: number;
  /** Waits that ended with LOCK_TIMEOUT. */
  readonly timeoutCount: number;
  /** Waits that were given up through their signal, or by `close`. */
  readonly abortedCount: number;
  /** `tryAcquire` calls that were answered undefined. */
  readonly refusedCount: number;
  /** Waits that ended with an error of the backend. */
  readonly failedCount: number;
  /** How long those who got a lease had waited for it, in milliseconds. */
  readonly waitMs: DurationSummary;
  /** How long leases were held until they were released or lost, in milliseconds. */
  readonly holdMs: DurationSummary;
}

/** How a wait ended without a lease. */
export type WaitEnding = 'timeout' | 'aborted' | 'refused' | 'failed';

/** Counts what happens to the waits and leases of one lock. */
export interface LockRecorder {
  waiting(): void;
  granted(waitedMs: number, isHandedOver: boolean): void;
  gaveUp(ending: WaitEnding): void;
  ended(ending: 'released' | 'lost', heldMs: number): void;
  stats(): LockStats;
}

/** A recorder that has counted nothing yet. */
export function lockRecorder(): LockRecorder {
  const endings = { timeout: 0, aborted: 0, refused: 0, failed: 0, released: 0, lost: 0 };
  const waitMs = histogram();
  const holdMs = histogram();
  let waitingCount = 0;
  let heldCount = 0;
  let handOffCount = 0;
  return {
    waiting() {
      waitingCount += 1;
    },
    granted(waitedMs, isHandedOver) {
      waitingCount -= 1;
      heldCount += 1;
      handOffCount += isHandedOver ? 1 : 0;
      waitMs.record(waitedMs);
    },
    gaveUp(ending) {
      waitingCount -= 1;
      endings[ending] += 1;
    },
    ended(ending, heldMs) {
      heldCount -= 1;
      endings[ending] += 1;
      holdMs.record(heldMs);
    },
    stats: () => ({
      waitingCount,
      heldCount,
      grantedCount: waitMs.count,
      handOffCount,
      releasedCount: endings.released,
      lostCount: endings.lost,
      timeoutCount: endings.timeout,
      abortedCount: endings.aborted,
      refusedCount: endings.refused,
      failedCount: endings.failed,
      waitMs: waitMs.summary(),
      holdMs: holdMs.summary(),
    }),
  };
}
