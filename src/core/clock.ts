/** Cancels a scheduled callback; calling it again, or after the callback ran, does nothing. */
export type CancelTimer = () => void;

/**
 * The only source of time in tricord. Production uses {@link systemClock}; tests pass a virtual one.
 *
 * Durations are measured with {@link Instant} and `elapsedMs`, never by subtracting wall times.
 */
export interface Clock {
  /** Milliseconds, with fractions, on an axis that never goes back; its origin means nothing. */
  monotonicMs(): number;
  /** Milliseconds since 1970-01-01 UTC, as this machine believes. It may jump in both directions. */
  wallMs(): number;
  /**
   * Calls `callback` once, no sooner than `delayMs` from now; a delay of zero or less means soon.
   * With `keepAlive: false` the timer alone does not keep the process running (default true).
   */
  schedule(
    delayMs: number,
    callback: () => void,
    options?: { readonly keepAlive?: boolean | undefined },
  ): CancelTimer;
}

/** A point in time on this machine, for measuring how much time has passed since. */
export interface Instant {
  /** {@link Clock.monotonicMs} at that point. */
  readonly monotonicMs: number;
  /** {@link Clock.wallMs} at that point. */
  readonly wallMs: number;
}

/** A right that was valid for `forMs` milliseconds counted from `since`. */
export interface Validity {
  /** The instant from which it counts: before the request that won it was sent. */
  readonly since: Instant;
  /** How long it lasts from `since`, in milliseconds. */
  readonly forMs: number;
}

/** setTimeout silently fires at once above this; longer delays are slept in pieces. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** The machine's own clock and timers. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  wallMs: () => Date.now(),
  schedule(delayMs, callback, options) {
    let timer: NodeJS.Timeout;
    const arm = (remainingMs: number): void => {
      const pieceMs = Math.min(Math.max(remainingMs, 0), TIMEOUT_MS_MAX);
      const next = remainingMs > TIMEOUT_MS_MAX ? () => arm(remainingMs - pieceMs) : callback;
      timer = setTimeout(next, Math.ceil(pieceMs));
      if (options?.keepAlive === false) timer.unref();
    };
    arm(delayMs);
    return () => clearTimeout(timer);
  },
};

/** The present, as an instant to measure from. */
export function instantOf(clock: Clock): Instant {
  return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
}

/**
 * Milliseconds since an instant: the larger of monotonic and wall time, never below zero.
 *
 * The monotonic clock stops while a machine is suspended and the wall clock does not; taking the
 * larger makes a lease that was held across a suspension late, never early. A wall clock set
 * forward ends a lease too soon, which is safe.
 */
export function elapsedMs(clock: Clock, since: Instant): number {
  return elapsedAt(instantOf(clock), since);
}

/** The same at an instant that was taken before. */
export function elapsedAt(now: Instant, since: Instant): number {
  const monotonic = now.monotonicMs - since.monotonicMs;
  const wall = now.wallMs - since.wallMs;
  return Math.max(monotonic, wall, 0);
}

/** Milliseconds of a validity that are left; zero or less when it has ended. */
export function remainingMs(clock: Clock, validity: Validity): number {
  return validity.forMs - elapsedMs(clock, validity.since);
}

/** The same at an instant that was taken before. */
export function leftAt({ since, forMs }: Validity, now: Instant): number {
  const monotonic = now.monotonicMs - since.monotonicMs;
  const wall = now.wallMs - since.wallMs;
  return forMs - Math.max(monotonic, wall, 0);
}
