// What a recorder writes down of a lock on a virtual clock.

import { createLock, type Lock } from 'tricord';
import { memoryLock } from 'tricord/memory';
import {
  checkHistory,
  type HistoryRecorder,
  recordHistory,
  type VirtualClock,
  virtualClock,
} from 'tricord/testing';
import { expect, test } from 'vitest';

interface Scene {
  readonly clock: VirtualClock;
  readonly recorder: HistoryRecorder;
  open(nodeId: string): Lock;
}

function scene(): Scene {
  const clock = virtualClock();
  const driver = memoryLock({ clock });
  const recorder = recordHistory({ clock, process: 'p' });
  const open = (nodeId: string) => recorder.lock(createLock({ driver, nodeId, clock }));
  return { clock, recorder, open };
}

const eventsOf = ({ recorder }: Scene): string[] => recorder.events.map(({ event }) => event);

test('a lease is recorded from its request to its release, with its token and every look at it', async () => {
  const stage = scene();
  const lock = stage.open('one');
  const lease = await lock.acquire('sku', { ttlMs: 1_000 });
  await stage.clock.advance(10);
  expect(lease.isHeld).toBe(true);
  lease.assertHeld();
  expect(await lease.release()).toBe('released');
  expect(await lease.release()).toBe('released');
  expect(() => lease.assertHeld()).toThrow();
  expect(eventsOf(stage)).toEqual([
    ...['acquire', 'acquired', 'check', 'check', 'release', 'released', 'check'],
  ]);
  const [asked, granted, looked] = stage.recorder.events;
  expect(asked).toMatchObject({ node: 'one', resource: 'sku', mode: 'exclusive', ttlMs: 1_000 });
  const token = lease.fencingToken.toString();
  expect(granted).toMatchObject({ outcome: 'granted', token, isHeld: true });
  expect(looked).toMatchObject({ isHeld: true, at: (granted?.at ?? 0) + 10 });
  expect(checkHistory(stage.recorder.events)).toEqual([]);
});

test('a writer that becomes a reader overtakes nobody who waits in its node', async () => {
  const stage = scene();
  const lock = stage.open('one');
  const lease = await lock.acquire('sku');
  const next = lock.acquire('sku');
  await stage.clock.advance(3_000);
  const reader = await lease.downgrade();
  await stage.clock.advance(3_000);
  await reader.release();
  await (await next).release();
  expect(checkHistory(stage.recorder.events)).toEqual([]);
});

test('what did not come to a lease is recorded with its error', async () => {
  const stage = scene();
  const [one, two] = [stage.open('one'), stage.open('two')];
  await using _held = await one.acquire('sku');
  expect(await two.tryAcquire('sku')).toBeUndefined();
  await stage.clock.runUntil(expect(two.acquire('sku', { waitMs: 50 })).rejects.toThrow());
  const ends = stage.recorder.events.filter(({ event }) => event === 'acquired').slice(1);
  expect(ends).toMatchObject([{ outcome: 'taken' }, { outcome: 'refused', error: 'LOCK_TIMEOUT' }]);
});

test('a lost lease is recorded when its signal aborts', async () => {
  const stage = scene();
  const lease = await stage.open('one').acquire('sku', { ttlMs: 1_000, renew: false });
  await stage.clock.advance(1_000);
  expect(await lease.release()).toBe('lost');
  expect(eventsOf(stage)).toEqual(['acquire', 'acquired', 'lost', 'release', 'released']);
  expect(stage.recorder.events.at(-2)).toMatchObject({ isHeld: false });
  expect(checkHistory(stage.recorder.events)).toEqual([]);
});

test('withLock is recorded like acquire and release, and answers as its body did', async () => {
  const stage = scene();
  const lock = stage.open('one');
  expect(await lock.withLock('sku', (lease) => lease.isHeld)).toBe(true);
  const failure = new Error('of the body');
  await expect(lock.withLock('sku', { ttlMs: 500 }, () => Promise.reject(failure))).rejects.toBe(
    failure,
  );
  const whole = ['acquire', 'acquired', 'release', 'released'];
  expect(eventsOf(stage).filter((event) => event !== 'check')).toEqual([...whole, ...whole]);
  expect(stage.recorder.events.at(-1)).toMatchObject({ outcome: 'released' });
  expect(checkHistory(stage.recorder.events)).toEqual([]);
});

test('a recorded lease can be passed as within, and a nested withLock is seen', async () => {
  const stage = scene();
  const lock = stage.open('one');
  const lease = await lock.acquire('sku');
  await expect(lock.acquire('sku', { within: lease })).rejects.toThrow(/already holds/);
  await lease.release();
  await lock.withLock('sku', async () => {
    await expect(lock.withLock('sku', () => 1)).rejects.toThrow(/already holds/);
  });
  expect(checkHistory(stage.recorder.events)).toEqual([]);
});

test('disposal ends the recorded lease', async () => {
  const stage = scene();
  const lock = stage.open('one');
  {
    await using _lease = await lock.acquire('sku');
  }
  expect(eventsOf(stage)).toEqual(['acquire', 'acquired', 'release', 'released']);
  stage.recorder.quiesce(await lock.inspect('sku'));
  expect(checkHistory(stage.recorder.events)).toEqual([]);
});

test('what does not concern leases goes through', async () => {
  const stage = scene();
  const lock = stage.open('one');
  expect(lock.nodeId).toBe('one');
  expect(lock.stats().grantedCount).toBe(0);
  await lock.close();
  expect(eventsOf(stage)).toEqual([]);
});
