import { systemClock } from 'tricord';
import { virtualClock } from 'tricord/testing';
import { expect, test, vi } from 'vitest';
import { elapsedMs, instantOf, remainingMs } from '../../../src/core/clock.js';

test('elapsed time is the larger of monotonic and wall time', async () => {
  const clock = virtualClock();
  const since = instantOf(clock);
  await clock.advance(100);
  expect(elapsedMs(clock, since)).toBe(100);
  clock.moveWall(5_000);
  expect(elapsedMs(clock, since), 'a suspension counts').toBe(5_100);
  clock.moveWall(-60_000);
  expect(elapsedMs(clock, since), 'a clock set back does not').toBe(100);
});

test('elapsed time is never negative', () => {
  const clock = virtualClock();
  const later = { monotonicMs: 10, wallMs: clock.wallMs() + 10 };
  expect(elapsedMs(clock, later)).toBe(0);
});

test('what remains of a validity counts from its beginning, and goes below zero', async () => {
  const clock = virtualClock();
  const validity = { since: instantOf(clock), forMs: 100 };
  await clock.advance(30);
  expect(remainingMs(clock, validity)).toBe(70);
  await clock.advance(100);
  expect(remainingMs(clock, validity)).toBe(-30);
});

test('the system clock never fires early, and sleeps longer than setTimeout can', () => {
  vi.useFakeTimers();
  try {
    const callback = vi.fn();
    const fortyDaysMs = 40 * 86_400_000;
    systemClock.schedule(fortyDaysMs, callback);
    vi.advanceTimersByTime(fortyDaysMs - 1);
    expect(callback).not.toHaveBeenCalled();
    vi.advanceTimersByTime(1);
    expect(callback).toHaveBeenCalledTimes(1);
    const fraction = vi.fn();
    systemClock.schedule(1.2, fraction);
    vi.advanceTimersByTime(1);
    expect(fraction).not.toHaveBeenCalled();
    const cancelled = vi.fn();
    const cancel = systemClock.schedule(fortyDaysMs, cancelled);
    vi.advanceTimersByTime(30 * 86_400_000);
    cancel();
    vi.advanceTimersByTime(fortyDaysMs);
    expect(cancelled).not.toHaveBeenCalled();
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});
