import { pass, type StrictDeck, type StrictRun, strictDelayMs, strictRun } from './strict-run.js';
import { changedSource, newStrictWrite } from './strict-write.js';

/** The keys of a strict cache that branches of this process hold. */
export interface StrictHolds {
  /** Reserves the key, waits until nobody has a copy, and removes the entry. */
  hold(key: string, token: string, fence: bigint | undefined): Promise<void>;
  /** Removes the entry and lets go; waits again where the reservation was lost meanwhile. */
  release(key: string, token: string): Promise<void>;
  /** Prolongs it no more. */
  stop(key: string, token: string): void;
  /** Waits until nobody has a copy of what was there. */
  waitOut(): Promise<void>;
}

/**
 * So long, in milliseconds, a key stays held whose process has died: a recovery that comes within it
 * finds the key as it was left, and no copy was made of what it replaces.
 */
const HOLD_MS = 60_000;

export function strictHolds(strict: StrictDeck): StrictHolds {
  const { clock, leaseMs, timeoutMs, strictLeaseMs } = strict.settings;
  const holdMs = Math.max(leaseMs, HOLD_MS);
  const delayMs = strictDelayMs(strictLeaseMs);
  const runs = new Map<string, StrictRun>();
  const nameOf = (key: string, token: string): string => `${token} ${key}`;
  const jobOf = (key: string, token: string) => ({
    ...{ key, holdMs, commits: true },
    token: () => token,
  });

  return {
    async hold(key, token, fence) {
      const run = strictRun(strict, { ...jobOf(key, token), fence }, newStrictWrite());
      try {
        await run.advance(timeoutMs);
        runs.set(nameOf(key, token), run);
      } catch (error) {
        run.stop();
        throw error;
      }
    },
    async release(key, token) {
      const run = strictRun(strict, jobOf(key, token), changedSource());
      try {
        await run.advance(timeoutMs + delayMs);
      } finally {
        run.stop();
      }
    },
    stop(key, token) {
      runs.get(nameOf(key, token))?.stop();
      runs.delete(nameOf(key, token));
    },
    waitOut: () => pass(clock, delayMs),
  };
}
