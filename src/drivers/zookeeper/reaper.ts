import { onAbort } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import type { Random } from '../../core/random.js';
import type { LiveSession } from './live-session.js';

/** One try to undo something; 'again' asks for another one later. Never rejects. */
export type Undo = () => Promise<'done' | 'again'>;

/**
 * Undoes in the background what a request with an unknown outcome may have left. It tries until it is
 * done or until the session, with everything ephemeral that it owned, has ended.
 */
export interface Reaper {
  undo(live: LiveSession, attempt: Undo): void;
  /** Stops; what is left then ends with the session. */
  close(): void;
}

const BACKOFF = { baseMs: 20, maxMs: 1_000 };

/** A reaper without work. Its timers do not keep the process running. */
export function createReaper(clock: Clock, random: Random): Reaper {
  const stops = new Set<() => void>();
  return {
    undo(live, attempt) {
      let attempts = 0;
      let cancel = (): void => {};
      let stopListening = (): void => {};
      const stop = (): void => {
        cancel();
        stopListening();
        stops.delete(stop);
      };
      const run = async (): Promise<void> => {
        if (live.isConnected && (await attempt()) === 'done') return stop();
        if (!stops.has(stop)) return;
        const delayMs = backoffMs(attempts, BACKOFF, random);
        attempts += 1;
        cancel = clock.schedule(delayMs, () => void run(), { keepAlive: false });
      };
      stops.add(stop);
      stopListening = onAbort(live.ended, stop);
      if (stops.has(stop)) void run();
    },
    close() {
      for (const stop of [...stops]) stop();
    },
  };
}
