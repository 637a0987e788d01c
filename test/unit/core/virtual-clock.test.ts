import { expect, test } from 'vitest';
import { virtualClock } from '../../../src/testing/virtual-clock.js';

test('timers run in the order of their due times, each at its own time', async () => {
  const clock = virtualClock();
  const ran: [string, number][] = [];
  const note = (name: string) => () => void ran.push([name, clock.monotonicMs()]);
  clock.schedule(20, note('late'));
  clock.schedule(10, note('early'));
  clock.schedule(10, note('second'));
  await clock.advance(15);
  expect(ran).toEqual([
    ['early', 10],
    ['second', 10],
  ]);
  expect(clock.monotonicMs()).toBe(15);
  await clock.advance(5);
  expect(ran.at(-1)).toEqual(['late', 20]);
});

test('a timer set by a promise that another timer resolved runs in the same advance', async () => {
  const clock = virtualClock();
  let endedAtMs: number | undefined;
  const sleep = (ms: number) => new Promise<void>((resolve) => void clock.schedule(ms, resolve));
  const work = (async () => {
    await sleep(10);
    await sleep(10);
    endedAtMs = clock.monotonicMs();
  })();
  await clock.advance(30);
  await work;
  expect(endedAtMs).toBe(20);
});

test('a cancelled timer never runs, and is counted no longer', async () => {
  const clock = virtualClock();
  const cancel = clock.schedule(10, () => expect.unreachable());
  clock.schedule(10, () => {}, { keepAlive: false });
  expect([clock.timerCount, clock.keepAliveCount]).toEqual([2, 1]);
  cancel();
  expect([clock.timerCount, clock.keepAliveCount]).toEqual([1, 0]);
  await clock.advance(20);
});

test('during a stall no timer runs, and afterwards it is late', async () => {
  const clock = virtualClock();
  let ranAtMs: number | undefined;
  clock.schedule(10, () => {
    ranAtMs = clock.monotonicMs();
  });
  clock.stall(50);
  expect(ranAtMs).toBeUndefined();
  await clock.advance(0);
  expect(ranAtMs).toBe(50);
});

test('a suspended machine moves the wall clock alone', () => {
  const clock = virtualClock({ wallMs: 1_000 });
  clock.moveWall(500);
  expect([clock.monotonicMs(), clock.wallMs()]).toEqual([0, 1_500]);
});

test('running until a promise settles answers its value, and refuses one that cannot settle', async () => {
  const clock = virtualClock();
  const value = new Promise<string>(
    (resolve) => void clock.schedule(60_000, () => resolve('done')),
  );
  await expect(clock.runUntil(value)).resolves.toBe('done');
  expect(clock.monotonicMs()).toBe(60_000);
  await expect(clock.runUntil(new Promise(() => {}))).rejects.toThrow('no timer is left');
  clock.schedule(100, () => {});
  await expect(clock.runUntil(new Promise(() => {}), { limitMs: 50 })).rejects.toThrow('50 ms');
});
