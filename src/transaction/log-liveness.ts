import type { CancelTimer, Clock } from '../core/clock.js';
import { incarnationFencedError } from './log-errors.js';

/** Keeps the incarnations of one session live, and tells when one of them was fenced. */
export interface LogLiveness {
  /** Starts the heartbeats of an incarnation that is registered. */
  keep(incarnation: string): void;
  /** Notes a fence that was learned of otherwise. */
  fenced(incarnation: string): void;
  /** Aborted when the incarnation was fenced, with the error as its reason. */
  signal(incarnation: string): AbortSignal;
  /** Ends the heartbeats. */
  close(): void;
}

/** So many heartbeats fit into the time after which an incarnation counts as silent. */
const BEATS_PER_TIMEOUT = 4;

/** The liveness of one session of a log that needs heartbeats; `beat` is its store's single step. */
export function logLiveness(options: {
  readonly clock: Clock;
  readonly livenessTimeoutMs: number;
  readonly beat: (incarnation: string) => Promise<'live' | 'fenced'>;
}): LogLiveness {
  const { clock, livenessTimeoutMs, beat } = options;
  const controllers = new Map<string, AbortController>();
  const timers = new Map<string, CancelTimer>();
  let isClosed = false;

  const controllerOf = (incarnation: string): AbortController => {
    const controller = controllers.get(incarnation) ?? new AbortController();
    controllers.set(incarnation, controller);
    return controller;
  };
  const fenced = (incarnation: string): void => {
    timers.get(incarnation)?.();
    timers.delete(incarnation);
    const controller = controllerOf(incarnation);
    if (!controller.signal.aborted) controller.abort(incarnationFencedError(incarnation));
  };
  const onTime = async (incarnation: string): Promise<void> => {
    // After a beat that failed the next one tells: whoever took us for silent has fenced us first.
    const state = await beat(incarnation).catch(() => 'live' as const);
    if (state === 'fenced') fenced(incarnation);
    else schedule(incarnation);
  };
  const schedule = (incarnation: string): void => {
    if (isClosed || controllerOf(incarnation).signal.aborted) return;
    const delayMs = livenessTimeoutMs / BEATS_PER_TIMEOUT;
    const callback = (): void => void onTime(incarnation);
    timers.set(incarnation, clock.schedule(delayMs, callback, { keepAlive: false }));
  };
  return {
    keep(incarnation) {
      if (!timers.has(incarnation)) schedule(incarnation);
    },
    fenced,
    signal: (incarnation) => controllerOf(incarnation).signal,
    close() {
      isClosed = true;
      for (const cancel of timers.values()) cancel();
      timers.clear();
    },
  };
}
