import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { type Alarm, alarms } from '../../../src/core/alarms.js';

function stage(keepAlive = true) {
  const clock = virtualClock();
  const all = alarms(clock, { keepAlive });
  const rung: string[] = [];
  const set = (name: string, inMs: number): Alarm => {
    const alarm = { atMs: clock.monotonicMs() + inMs, ring: () => rung.push(name) };
    all.set(alarm);
    return alarm;
  };
  return { clock, all, rung, set };
}

test('alarms ring at their times, in the order of these, and share one timer', async () => {
  const { clock, rung, set } = stage();
  set('later', 1_000);
  await clock.advance(3);
  set('sooner', 5);
  set('between', 500);
  expect(clock.timerCount).toBe(1);
  await clock.advance(4);
  expect(rung).toEqual([]);
  await clock.advance(1);
  expect(rung).toEqual(['sooner']);
  await clock.advance(494);
  expect(rung).toEqual(['sooner']);
  await clock.advance(1_000);
  expect(rung).toEqual(['sooner', 'between', 'later']);
  expect(clock.timerCount).toBe(0);
});

test('what is called off never rings, and keeps no process running for longer than 20 ms', async () => {
  const { clock, all, rung, set } = stage();
  const soon = set('soon', 10_000);
  expect(clock.keepAliveCount).toBe(1);
  all.clear(soon);
  all.clear(soon);
  await clock.advance(20);
  expect(clock.keepAliveCount).toBe(0);
  const long = set('long', 10_000);
  await clock.advance(1_000);
  expect(clock.keepAliveCount).toBe(1);
  all.clear(long);
  expect(clock.timerCount).toBe(0);
  await clock.advance(20_000);
  expect(rung).toEqual([]);
});

test('an alarm may be set again as it rings', async () => {
  const { clock, all } = stage(false);
  const times: number[] = [];
  const startMs = clock.monotonicMs();
  const alarm: Alarm = {
    atMs: startMs + 100,
    ring() {
      times.push(clock.monotonicMs() - startMs);
      if (times.length === 3) return;
      alarm.atMs += 100;
      all.set(alarm);
    },
  };
  all.set(alarm);
  expect(clock.keepAliveCount).toBe(0);
  await clock.advance(1_000);
  expect(times).toEqual([100, 200, 300]);
});
