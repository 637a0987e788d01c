import { agenda } from './agenda.js';
import type { CancelTimer, Clock } from './clock.js';
import { FewSet } from './few-map.js';

/** Something that is to happen at a time, unless it is called off before. */
export interface Alarm {
  /** When, in monotonic milliseconds. Changed only while it is not set. */
  atMs: number;
  /** Called once, no sooner than that. */
  ring(): void;
}

/** Very many alarms with few timers: nearly all of them are called off soon. */
export interface Alarms {
  set(alarm: Alarm): void;
  /** Does nothing when it is not set. */
  clear(alarm: Alarm): void;
}

/** The first look at new alarms is taken so soon at the latest. */
const SOON_MS = 20;

/**
 * Alarms on a clock. With `keepAlive` they keep the process running while any is set, and for
 * 20 milliseconds after that at most.
 *
 * A timer for each would cost more than the rest of an uncontended lock here. So a new alarm is
 * only put down, and sorted in when it is still there as the one timer rings.
 */
export function alarms(clock: Clock, { keepAlive }: { readonly keepAlive: boolean }): Alarms {
  const fresh = new FewSet<Alarm>();
  const sorted = agenda<Alarm>();
  let nextMs = Number.POSITIVE_INFINITY;
  let isSoon = true;
  let cancel: CancelTimer = () => {};

  const arm = (atMs: number, nowMs: number): void => {
    if (atMs >= nextMs) return;
    cancel();
    nextMs = atMs;
    isSoon = atMs - nowMs <= SOON_MS;
    cancel = clock.schedule(atMs - nowMs, look, { keepAlive });
  };
  const look = (): void => {
    nextMs = Number.POSITIVE_INFINITY;
    const nowMs = clock.monotonicMs();
    for (const alarm of fresh.keys()) sorted.note(alarm, alarm.atMs);
    fresh.clear();
    for (let due = sorted.take(nowMs); due !== undefined; due = sorted.take(nowMs)) due.ring();
    arm(sorted.nextMs, nowMs);
  };
  return {
    set(alarm) {
      fresh.add(alarm);
      if (nextMs <= alarm.atMs) return;
      const nowMs = clock.monotonicMs();
      arm(Math.min(alarm.atMs, nowMs + SOON_MS), nowMs);
    },
    clear(alarm) {
      if (!fresh.delete(alarm)) sorted.strike(alarm);
      if (isSoon || fresh.size > 0 || sorted.nextMs !== Number.POSITIVE_INFINITY) return;
      // Nobody waits for what is far away; a look that is near costs less than a new one.
      cancel();
      nextMs = Number.POSITIVE_INFINITY;
      isSoon = true;
    },
  };
}
