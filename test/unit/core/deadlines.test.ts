import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { deadlines } from '../../../src/core/deadlines.js';

test('a deadline comes at its time, or a hundredth of it earlier, 4 ms at most', async () => {
  const clock = virtualClock();
  const times = deadlines(clock);
  const late: string[] = [];
  times.after(1_000, () => late.push('first'));
  await clock.advance(3);
  times.after(1_000, () => late.push('shares the timer'));
  await clock.advance(3);
  times.after(1_000, () => late.push('has another'));
  times.after(2_000, () => late.push('twice as long'));
  expect(clock.timerCount).toBe(3);
  await clock.advance(993);
  expect(late).toEqual([]);
  await clock.advance(1);
  expect(late).toEqual(['first', 'shares the timer']);
  await clock.advance(6);
  expect(late).toEqual(['first', 'shares the timer', 'has another']);
  await clock.advance(1_000);
  expect(late).toHaveLength(4);
});

test('a short deadline is shared by what begins at the same moment only', async () => {
  const clock = virtualClock();
  const times = deadlines(clock);
  times.after(10, () => {});
  times.after(10, () => {});
  expect(clock.timerCount).toBe(1);
  await clock.advance(0.2);
  times.after(10, () => {});
  expect(clock.timerCount).toBe(2);
});

test('what was taken back never comes, and leaves one idle timer at most, which keeps no process', async () => {
  const clock = virtualClock();
  const times = deadlines(clock);
  for (let call = 0; call < 500; call += 1) {
    const letGo = times.after(1_000, () => expect.unreachable());
    await clock.advance(1);
    letGo();
    letGo();
  }
  expect(clock.timerCount).toBe(1);
  expect(clock.keepAliveCount).toBe(0);
  await clock.advance(5_000);
  expect(clock.timerCount).toBe(0);
});

test('all deadlines can be brought forward', () => {
  const clock = virtualClock();
  const times = deadlines(clock);
  let lateCount = 0;
  const late = (): void => {
    lateCount += 1;
  };
  times.after(1_000, late);
  times.after(2_000, late);
  const letGo = times.after(3_000, late);
  letGo();
  times.expireAll();
  expect(lateCount).toBe(2);
  expect(clock.timerCount).toBe(0);
});
