import { getEventListeners } from 'node:events';
import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import {
  abortable,
  abortFanOut,
  abortScope,
  onAbort,
  sleep,
  throwIfAborted,
} from '../../../src/core/abort.js';
import { systemClock } from '../../../src/core/clock.js';

const listeners = (signal: AbortSignal) => getEventListeners(signal, 'abort').length;
const reason = new Error('the reason');

test('an aborted signal throws its own reason, whatever that is', () => {
  expect(() => throwIfAborted(AbortSignal.abort(reason))).toThrow(reason);
  throwIfAborted(undefined);
  throwIfAborted(new AbortController().signal);
});

test('a listener hears of an abort once, also of one that came before, and can stop', () => {
  const controller = new AbortController();
  let heard = 0;
  const hear = () => {
    heard += 1;
  };
  onAbort(AbortSignal.abort(), hear);
  onAbort(undefined, hear)();
  const stop = onAbort(controller.signal, hear);
  stop();
  onAbort(controller.signal, hear);
  controller.abort();
  expect(heard).toBe(2);
});

test('a fan-out adds one listener to a signal, however many wait, and takes it along at the end', () => {
  const fanOut = abortFanOut();
  const controller = new AbortController();
  const heard: number[] = [];
  const stops = Array.from({ length: 100 }, (_, index) =>
    fanOut(controller.signal, () => void heard.push(index)),
  );
  expect(listeners(controller.signal)).toBe(1);
  for (const stop of stops) stop();
  expect(listeners(controller.signal)).toBe(0);
  // A listener that makes another one leave is obeyed.
  let stopLast = (): void => {};
  fanOut(controller.signal, () => {
    heard.push(-1);
    stopLast();
  });
  stopLast = fanOut(controller.signal, () => void heard.push(-2));
  controller.abort();
  stops[0]?.();
  expect(heard).toEqual([-1]);
  fanOut(controller.signal, () => void heard.push(-3));
  fanOut(undefined, () => expect.unreachable())();
  expect(heard).toEqual([-1, -3]);
});

test('an abortable promise settles as the first of both, and leaves no listener', async () => {
  const controller = new AbortController();
  await expect(abortable(Promise.resolve(1), controller.signal)).resolves.toBe(1);
  const failure = new Error('work');
  await expect(abortable(Promise.reject(failure), controller.signal)).rejects.toBe(failure);
  expect(listeners(controller.signal)).toBe(0);
  const pending = abortable(new Promise(() => {}), controller.signal);
  controller.abort(reason);
  await expect(pending).rejects.toBe(reason);
  // The loser's rejection is nobody's, and must not count as unhandled.
  await expect(abortable(Promise.reject(failure), controller.signal)).rejects.toBe(reason);
});

test('sleeping ends in time, or with the reason, and leaves neither timer nor listener', async () => {
  const clock = virtualClock();
  const controller = new AbortController();
  const { signal } = controller;
  await clock.runUntil(sleep(clock, 50, { signal }));
  expect([clock.monotonicMs(), clock.timerCount, listeners(signal)]).toEqual([50, 0, 0]);
  const sleeping = sleep(clock, 1_000, { signal });
  controller.abort(reason);
  await expect(sleeping).rejects.toBe(reason);
  expect([clock.timerCount, listeners(signal)]).toEqual([0, 0]);
  await expect(sleep(clock, 1, { signal })).rejects.toBe(reason);
});

test('a scope follows its parents and its time, and lets both go', async () => {
  const clock = virtualClock();
  const [one, other] = [new AbortController(), new AbortController()];
  const parents = [one.signal, undefined, other.signal];
  const followed = abortScope({ clock, parents, timeoutMs: 100 });
  other.abort(reason);
  expect(followed.signal.reason).toBe(reason);
  expect([clock.timerCount, listeners(one.signal)]).toEqual([0, 0]);

  const timed = abortScope({
    clock,
    parents: [one.signal],
    timeoutMs: 100,
    timeoutReason: () => reason,
  });
  await clock.advance(100);
  expect(timed.signal.reason).toBe(reason);
  expect(listeners(one.signal)).toBe(0);

  const disposed = abortScope({ clock, parents: [one.signal], timeoutMs: 100 });
  disposed[Symbol.dispose]();
  expect([clock.timerCount, listeners(one.signal), disposed.signal.aborted]).toEqual([0, 0, false]);
});

test('a scope under a parent that was aborted before is aborted, and listens to nobody', () => {
  const clock = virtualClock();
  const living = new AbortController();
  const parents = [AbortSignal.abort(reason), living.signal];
  const scope = abortScope({ clock, parents, timeoutMs: 100 });
  expect(scope.signal.reason).toBe(reason);
  expect([clock.timerCount, listeners(living.signal)]).toEqual([0, 0]);
});

test('a scope without a time, or with an endless one, sets no timer', () => {
  const clock = virtualClock();
  abortScope({ clock });
  abortScope({ clock, timeoutMs: Number.POSITIVE_INFINITY });
  expect(clock.timerCount).toBe(0);
});

test('a scope is listened to by itself, and makes a signal only for who asks, also when it is late', () => {
  const clock = virtualClock();
  const heard: string[] = [];
  const scope = abortScope({ clock, onAbort: () => heard.push('its owner') });
  const inner = abortScope({ clock, parents: [scope] });
  const early = scope.signal;
  expect(scope.signal).toBe(early);
  onAbort(early, () => heard.push('a signal'));
  onAbort(scope, () => heard.push('a listener'));
  onAbort(scope, () => heard.push('nobody'))();
  scope.abort(reason);
  expect([early.reason, inner.reason, inner.signal.reason]).toEqual([reason, reason, reason]);
  expect(heard).toEqual(['a signal', 'a listener', 'its owner']);
  onAbort(scope, () => heard.push('a late one'));
  expect(heard.at(-1)).toBe('a late one');
});

test('a scope without a reason has one all the same', () => {
  const scope = abortScope({ clock: virtualClock() });
  scope.abort(undefined);
  expect(scope.reason).toMatchObject({ name: 'AbortError' });
  expect(scope.signal.reason).toBe(scope.reason);
});

test('on the clock of the machine, scopes end in their time and in no other order', async () => {
  const ended: number[] = [];
  const ends = [60, 30, 45].map((timeoutMs) => {
    return new Promise<void>((resolve) => {
      const onEnd = (): void => {
        ended.push(timeoutMs);
        resolve();
      };
      abortScope({ clock: systemClock, timeoutMs, onAbort: onEnd });
    });
  });
  abortScope({ clock: systemClock, timeoutMs: 40, onAbort: () => ended.push(40) })[
    Symbol.dispose
  ]();
  await Promise.all(ends);
  expect(ended).toEqual([30, 45, 60]);
});
