import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { coarseEndCheck, type EndCheck } from '../../../src/core/coarse-clock.js';
import { virtualClock } from '../../../src/testing.js';

const FAKED = ['Date', 'performance', 'setTimeout', 'clearTimeout'] as const;

/** Lets time go by in which no timer has a turn: the program keeps its event loop. */
function heldUp(): (ms: number) => void {
  let heldMs = 0;
  const [monotonic, wall] = [performance.now.bind(performance), Date.now.bind(Date)];
  vi.spyOn(performance, 'now').mockImplementation(() => monotonic() + heldMs);
  vi.spyOn(Date, 'now').mockImplementation(() => wall() + heldMs);
  return (ms) => {
    heldMs += ms;
  };
}

describe('ends by the coarse clock', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: [...FAKED], now: 1_000_000 }));
  afterEach(() => {
    vi.restoreAllMocks();
    vi.useRealTimers();
  });
  const endsIn = (ms: number) => [performance.now() + ms, Date.now() + ms] as const;
  const seen = (isOver: EndCheck, end: readonly [number, number]): boolean => isOver(...end);

  test('an end within a second is exact, though no timer ran', () => {
    const isOver = coarseEndCheck(systemClock);
    const end = endsIn(900);
    const holdUp = heldUp();
    expect(seen(isOver, end)).toBe(false);
    holdUp(899);
    expect(seen(isOver, end)).toBe(false);
    holdUp(1);
    expect(seen(isOver, end)).toBe(true);
  });

  test('a far end is seen as soon as a timer has had its turn', () => {
    const isOver = coarseEndCheck(systemClock);
    const end = endsIn(60_000);
    expect(seen(isOver, end)).toBe(false);
    vi.advanceTimersByTime(60_000);
    expect(seen(isOver, end)).toBe(true);
  });

  test('a far end is seen within 128 checks, though no timer ran', () => {
    const isOver = coarseEndCheck(systemClock);
    const end = endsIn(60_000);
    const holdUp = heldUp();
    expect(seen(isOver, end)).toBe(false);
    holdUp(60_000);
    const answers = Array.from({ length: 129 }, () => seen(isOver, end));
    expect(answers.filter((isSeen) => isSeen).length).toBeGreaterThan(0);
    expect(answers.at(-1)).toBe(true);
  });

  test('either clock ends it', () => {
    for (const [monotonicMs, wallMs] of [
      [10, 60_000],
      [60_000, 10],
    ] as const) {
      const isOver = coarseEndCheck(systemClock);
      const [end] = [[performance.now() + monotonicMs, Date.now() + wallMs] as const];
      expect(seen(isOver, end)).toBe(false);
      vi.advanceTimersByTime(10);
      expect(seen(isOver, end)).toBe(true);
    }
  });

  test('looks at the clocks a few times for hundreds of checks', () => {
    const isOver = coarseEndCheck(systemClock);
    const end = endsIn(60_000);
    const [wall, monotonic] = [vi.spyOn(Date, 'now'), vi.spyOn(performance, 'now')];
    for (let check = 0; check < 512; check += 1) seen(isOver, end);
    expect(wall.mock.calls.length + monotonic.mock.calls.length).toBeLessThan(10);
    expect(vi.getTimerCount()).toBe(1);
  });

  test('another clock is looked at each time', async () => {
    const clock = virtualClock();
    const isOver = coarseEndCheck(clock);
    const end = [clock.monotonicMs() + 60_000, clock.wallMs() + 60_000] as const;
    expect(seen(isOver, end)).toBe(false);
    await clock.advance(60_000);
    expect(seen(isOver, end)).toBe(true);
  });
});
