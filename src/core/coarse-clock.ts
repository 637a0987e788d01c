import { type Clock, type Instant, instantOf, systemClock } from './clock.js';

/** Whether an end has come: by the monotonic clock or by the wall clock, whichever is first. */
export type EndCheck = (endMonotonicMs: number, endWallMs: number) => boolean;

/** An end that is nearer than this is always compared with the clocks themselves. */
const NEAR_MS = 1_000;
/** A look at the clocks serves so many checks at most, and those of about a millisecond. */
const CHECKS_MAX = 128;
const SERVES_MS = 1;

/**
 * Checks ends, very often, without a look at the clocks each time, which can cost more than all the
 * rest of a hit. The present is as of the last look, a millisecond or 128 checks ago; with it only an
 * end that lies a second ahead is found not to have come. Everything nearer is exact.
 *
 * So a check is late only when this process stood still, or one turn of its event loop went on, for
 * longer than a second between two of 128 checks in a row; no message would have reached it meanwhile
 * either. A clock other than the machine's is looked at each time.
 */
export function coarseEndCheck(clock: Clock): EndCheck {
  const isExact = clock !== systemClock;
  let wallMs = Number.NaN;
  let monotonicMs = 0;
  let checksLeft = 0;
  let isTimerSet = false;

  const look = (): void => {
    const seenWallMs = clock.wallMs();
    // The second clock is read once for each millisecond of the first.
    if (seenWallMs !== wallMs) monotonicMs = clock.monotonicMs();
    wallMs = seenWallMs;
    if (isExact) return;
    checksLeft = CHECKS_MAX;
    if (isTimerSet) return;
    isTimerSet = true;
    const forget = (): void => {
      isTimerSet = false;
      checksLeft = 0;
    };
    clock.schedule(SERVES_MS, forget, { keepAlive: false });
  };
  return (endMonotonicMs, endWallMs) => {
    if (checksLeft > 0) {
      checksLeft -= 1;
      if (endMonotonicMs - monotonicMs > NEAR_MS && endWallMs - wallMs > NEAR_MS) return false;
    }
    look();
    return wallMs >= endWallMs || monotonicMs >= endMonotonicMs;
  };
}

/** One look at the clock serves so many calls of one turn at most. */
const CALLS_MAX = 64;

/**
 * The monotonic clock as of a moment of this turn: for calls that come in crowds, and need not know
 * the time better than the event loop lets them act on it. A clock other than the machine's is looked
 * at each time.
 */
export function turnClock(clock: Clock): () => number {
  return oncePerTurn(clock, () => clock.monotonicMs());
}

/** Both clocks as of a moment of this turn: what counts from there ends too soon, never too late. */
export function turnInstant(clock: Clock): () => Instant {
  return oncePerTurn(clock, () => instantOf(clock));
}

function oncePerTurn<Reading>(clock: Clock, look: () => Reading): () => Reading {
  if (clock !== systemClock) return look;
  let callsLeft = 0;
  let seen = look();
  const forget = (): void => {
    callsLeft = 0;
  };
  return () => {
    if (callsLeft > 0) {
      callsLeft -= 1;
      return seen;
    }
    seen = look();
    callsLeft = CALLS_MAX;
    // After the microtasks of this turn.
    process.nextTick(forget);
    return seen;
  };
}
