import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Clock } from '../core/clock.js';

/** A clock that stands still until a test moves it. Made by {@link virtualClock}. */
export interface VirtualClock extends Clock {
  /**
   * Lets time pass: runs every timer that becomes due, in the order of due times (then of
   * scheduling), each at exactly its own time, and after each all the promise callbacks that follow.
   */
  advance(ms: number): Promise<void>;
  /**
   * Lets time pass from timer to timer until the promise settles, and settles like it.
   * Rejects when no timer is left, or after `limitMs` (default one hour): it would never settle.
   */
  runUntil<T>(promise: Promise<T>, options?: { readonly limitMs?: number | undefined }): Promise<T>;
  /** Lets time pass while no timer can run: a stalled event loop. What became due runs afterwards. */
  stall(ms: number): void;
  /**
   * Suspends the machine: the wall clock moves on by `ms`, the monotonic clock and the timers do
   * not. A negative number is a wall clock that was set back.
   */
  moveWall(ms: number): void;
  /** Runs the promise callbacks and immediates that are ready, without letting time pass. */
  settle(): Promise<void>;
  /** How many timers are set: zero when everything that was opened has been let go. */
  readonly timerCount: number;
  /** How many of these would keep a real process running. */
  readonly keepAliveCount: number;
}

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly callback: () => void;
  readonly keepAlive: boolean;
}

/** Beginning of virtual wall time, 2030-01-01: recognisable, and no test depends on today's date. */
const WALL_START_MS = Date.UTC(2030, 0, 1);
const RUN_LIMIT_MS = 3_600_000;
/** Enough turns of the event loop for chains of promises that pass through an immediate. */
const SETTLE_TURNS = 3;

/**
 * A {@link Clock} for tests: time passes only when told to, so that hours of waiting take
 * milliseconds, and the same test runs the same way each time.
 *
 * It only governs what takes a clock. Real I/O goes on in real time beside it.
 */
export function virtualClock(options?: { readonly wallMs?: number | undefined }): VirtualClock {
  let nowMs = 0;
  let wallOffsetMs = options?.wallMs ?? WALL_START_MS;
  let scheduled = 0;
  const timers = new Set<Timer>();

  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < SETTLE_TURNS; turn += 1) await nextTurn();
  };
  const runNext = async (untilMs: number): Promise<boolean> => {
    const timer = earliest(timers);
    if (timer === undefined || timer.dueMs > untilMs) return false;
    timers.delete(timer);
    nowMs = Math.max(nowMs, timer.dueMs);
    timer.callback();
    await settle();
    return true;
  };
  return {
    monotonicMs: () => nowMs,
    wallMs: () => wallOffsetMs + nowMs,
    schedule(delayMs, callback, { keepAlive = true } = {}) {
      scheduled += 1;
      const timer = {
        dueMs: nowMs + Math.max(delayMs, 0),
        order: scheduled,
        callback,
        keepAlive,
      };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    async advance(ms) {
      const untilMs = nowMs + ms;
      await settle();
      while (await runNext(untilMs));
      nowMs = Math.max(nowMs, untilMs);
    },
    async runUntil(promise, { limitMs = RUN_LIMIT_MS } = {}) {
      const untilMs = nowMs + limitMs;
      let settled = false;
      const mark = (): void => {
        settled = true;
      };
      promise.then(mark, mark);
      await settle();
      while (!settled) {
        const ran = await runNext(untilMs);
        if (!ran && !settled) throw new Error(`not settled ${stuck(timers, limitMs)}`);
      }
      return promise;
    },
    stall(ms) {
      nowMs += ms;
    },
    moveWall(ms) {
      wallOffsetMs += ms;
    },
    settle,
    get timerCount() {
      return timers.size;
    },
    get keepAliveCount() {
      return Array.from(timers).filter((timer) => timer.keepAlive).length;
    },
  };
}

function earliest(timers: ReadonlySet<Timer>): Timer | undefined {
  let first: Timer | undefined;
  for (const timer of timers) {
    const isEarlier =
      first === undefined ||
      timer.dueMs < first.dueMs ||
      (timer.dueMs === first.dueMs && timer.order < first.order);
    if (isEarlier) first = timer;
  }
  return first;
}

function stuck(timers: ReadonlySet<Timer>, limitMs: number): string {
  return timers.size === 0
    ? 'and no timer is left that could change that'
    : `within ${limitMs} ms of virtual time`;
}
