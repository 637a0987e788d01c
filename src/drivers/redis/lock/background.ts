import { setMaxListeners } from 'node:events';
import { sleep } from '../../../core/abort.js';
import { backoffMs } from '../../../core/backoff.js';
import { elapsedMs, instantOf } from '../../../core/clock.js';
import { isCoordinationError } from '../../../core/errors.js';
import type { LockNode } from '../../../lock/driver.js';

/** Repeats what must be said until the server has heard it. */
export interface Background {
  /**
   * Runs `send` again and again until it succeeds, fails for good, or `forMs` have passed, after
   * which what it would undo has ended by itself. Never rejects.
   */
  insist(send: () => Promise<unknown>, forMs: number): void;
  /** Stops repeating; what is on its way stays on its way. */
  close(): void;
}

const REPEAT = { baseMs: 50, maxMs: 2_000 };

/** Background work of one node, ended by `close`. */
export function background({ clock, random }: LockNode): Background {
  const closing = new AbortController();
  // However many wait to be repeated, all of them end with it.
  setMaxListeners(0, closing.signal);
  const repeat = async (send: () => Promise<unknown>, forMs: number): Promise<void> => {
    const started = instantOf(clock);
    for (let attempt = 0; ; attempt += 1) {
      try {
        await send();
        return;
      } catch (error) {
        if (!mayPass(error) || elapsedMs(clock, started) >= forMs) return;
      }
      const delayMs = backoffMs(attempt, REPEAT, random);
      await sleep(clock, delayMs, { signal: closing.signal, keepAlive: false });
    }
  };
  return {
    insist(send, forMs) {
      // The only rejection is the end of the sleep at close.
      repeat(send, forMs).catch(() => {});
    },
    close: () => closing.abort(),
  };
}

/** Whether the same send may succeed later. */
export function mayPass(error: unknown): boolean {
  return (
    isCoordinationError(error, 'RESULT_UNKNOWN') ||
    isCoordinationError(error, 'BACKEND_UNAVAILABLE')
  );
}
