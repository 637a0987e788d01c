import { getEventListeners } from 'node:events';
import { isCoordinationError } from 'tricord';
import { expect, test } from 'vitest';
import { bench, isSettled } from './support.js';

const ended = (code: string) => (error: unknown) =>
  isCoordinationError(error) && error.code === code;

test('a lease excludes other tasks and other nodes until it is released', async () => {
  const { lock, clock } = bench();
  const [one, other] = [lock(), lock()];
  const lease = await one.acquire('sku:42');
  expect(lease).toMatchObject({ resource: 'sku:42', owner: 'sku:42@node-1', isHeld: true });
  expect(await one.tryAcquire('sku:42')).toBeUndefined();
  expect(await other.tryAcquire('sku:42')).toBeUndefined();
  const waits = other.acquire('sku:42');
  await clock.advance(1_000);
  expect(await isSettled(waits)).toBe(false);
  expect(await lease.release()).toBe('released');
  const next = await waits;
  expect(next.fencingToken > lease.fencingToken).toBe(true);
  expect(lease.isHeld).toBe(false);
  expect(lease.signal.aborted).toBe(false);
});

test('releasing twice tells the same twice', async () => {
  const { lock } = bench();
  const node = lock();
  const lease = await node.acquire('a');
  expect(await lease.release()).toBe('released');
  const next = await node.acquire('a');
  expect(await lease.release()).toBe('released');
  expect(next.isHeld).toBe(true);
});

test('await using releases at the end of the block', async () => {
  const { lock } = bench();
  const node = lock();
  {
    await using lease = await node.acquire('a');
    expect(lease.isHeld).toBe(true);
  }
  expect(await node.tryAcquire('a')).toBeDefined();
});

test('withLock answers the body, releases after it, and lets its error through untouched', async () => {
  const { lock } = bench();
  const node = lock();
  expect(await node.withLock('a', async (lease) => lease.isHeld)).toBe(true);
  expect(await node.withLock('a', { ttlMs: 1_000 }, () => 'sync')).toBe('sync');
  const failure = new Error('body');
  await expect(node.withLock('a', () => Promise.reject(failure))).rejects.toBe(failure);
  expect(await node.tryAcquire('a')).toBeDefined();
});

test('a wait ends with LOCK_TIMEOUT that names resource, time and the holder elsewhere', async () => {
  const { lock, clock } = bench();
  const [one, other] = [lock(), lock()];
  await one.acquire('sku:42');
  const waits = other.acquire('sku:42', { waitMs: 2_000 });
  waits.catch(() => {});
  await clock.advance(1_999);
  expect(await isSettled(waits)).toBe(false);
  await clock.advance(1);
  await expect(waits).rejects.toMatchObject({
    code: 'LOCK_TIMEOUT',
    retryable: true,
    details: { resource: 'sku:42', waitedMs: 2_000, holder: 'sku:42@node-1' },
    message: 'could not lock "sku:42" within 2000 ms; it is held by sku:42@node-1',
  });
  expect((await one.inspect('sku:42')).waiters).toEqual([]);
  expect(other.stats()).toMatchObject({ timeoutCount: 1, waitingCount: 0 });
});

test('a wait is 10 seconds when nothing else is said', async () => {
  const { lock, clock } = bench();
  const node = lock();
  await node.acquire('a');
  const waits = node.acquire('a');
  await clock.advance(9_999);
  expect(await isSettled(waits)).toBe(false);
  await clock.advance(1);
  await expect(waits).rejects.toMatchObject({ details: { holder: 'a@node-1' } });
});

test('waitMs: 0 takes what is free and refuses what is not, without standing in line', async () => {
  const { lock } = bench();
  const [one, other] = [lock(), lock()];
  await using _lease = await one.acquire('a', { waitMs: 0 });
  await expect(other.acquire('a', { waitMs: 0 })).rejects.toSatisfy(ended('LOCK_TIMEOUT'));
  expect((await one.inspect('a')).waiters).toEqual([]);
});

test('an aborted wait rejects with the reason of the signal and leaves nothing in line', async () => {
  const { lock } = bench();
  const [one, other] = [lock(), lock()];
  const lease = await one.acquire('a');
  const controller = new AbortController();
  const reason = new Error('no longer');
  const waits = other.acquire('a', {
    signal: controller.signal,
    waitMs: Number.POSITIVE_INFINITY,
  });
  waits.catch(() => {});
  const behind = one.acquire('a');
  await new Promise(setImmediate);
  controller.abort(reason);
  await expect(waits).rejects.toBe(reason);
  await lease.release();
  expect((await behind).isHeld).toBe(true);
  expect((await one.inspect('a')).waiters).toEqual([]);
});

test('a signal that aborts after the grant does not end the lease', async () => {
  const { lock } = bench();
  const controller = new AbortController();
  const lease = await lock().acquire('a', { signal: controller.signal });
  controller.abort();
  expect(lease.isHeld).toBe(true);
});

test('inside withLock, and within a lease, asking for what one holds is LOCK_REENTRY at once', async () => {
  const { lock } = bench();
  const node = lock();
  await node.withLock('a', async (lease) => {
    await expect(node.acquire('a')).rejects.toSatisfy(ended('LOCK_REENTRY'));
    await expect(node.withLock('a', () => {})).rejects.toSatisfy(ended('LOCK_REENTRY'));
    expect(await node.tryAcquire('a')).toBeUndefined();
    await node.withLock('b', async () => {
      await expect(node.acquire('a')).rejects.toSatisfy(ended('LOCK_REENTRY'));
    });
    await lease.release();
    // A released lease no longer counts.
    await (await node.acquire('a')).release();
  });
  const lease = await node.acquire('a');
  await expect(node.acquire('a', { within: lease })).rejects.toSatisfy(ended('LOCK_REENTRY'));
  await lease.release();
  await (await node.acquire('a', { within: lease })).release();
});

test('a task that outlives the body may wait for what the body holds', async () => {
  const { lock } = bench();
  const node = lock();
  let background: Promise<unknown> = Promise.resolve();
  await node.withLock('a', () => {
    background = node.acquire('a', { reentry: 'wait' });
  });
  expect(await background).toMatchObject({ isHeld: true });
});

test('two tasks side by side in one body do not count as one holding what the other has', async () => {
  const { lock } = bench();
  const node = lock();
  await Promise.all([
    node.withLock('a', () => node.withLock('c', () => {})),
    node.withLock('b', () => node.withLock('a', () => {})),
  ]);
});

test('closing drains, then aborts leases and waiters with CLOSED, and leaves no timer behind', async () => {
  const { lock, clock, driver } = bench();
  const [node, other] = [lock(), lock()];
  const drained = await node.acquire('a');
  const stubborn = await node.acquire('b');
  const waiting = node.acquire('b', { waitMs: 60_000 });
  waiting.catch(() => {});
  const closing = node.close({ drainMs: 1_000 });
  await expect(node.acquire('c')).rejects.toSatisfy(ended('CLOSED'));
  await expect(node.tryAcquire('c')).rejects.toSatisfy(ended('CLOSED'));
  await expect(node.inspect('c')).rejects.toSatisfy(ended('CLOSED'));
  expect(await drained.release()).toBe('released');
  await clock.advance(999);
  expect(stubborn.isHeld).toBe(true);
  await clock.advance(1);
  expect(stubborn.signal.aborted).toBe(true);
  expect(stubborn.signal.reason).toSatisfy(ended('CLOSED'));
  expect(() => stubborn.assertHeld()).toThrow('is closed');
  await expect(waiting).rejects.toSatisfy(ended('CLOSED'));
  await closing;
  await node.close();
  expect(await other.tryAcquire('b')).toBeDefined();
  await clock.runUntil(other.close({ drainMs: 0 }));
  expect(await stubborn.release()).toBe('lost');
  expect(driver.backend).toBe('memory');
  await clock.advance(60_000);
  expect(clock.timerCount).toBe(0);
});

test('closing waits no longer than until the last lease is released', async () => {
  const { lock, clock } = bench();
  const node = lock();
  const lease = await node.acquire('a');
  const closing = node.close({ drainMs: 60_000 });
  await clock.advance(10);
  expect(await isSettled(closing)).toBe(false);
  await lease.release();
  await closing;
  expect(clock.monotonicMs()).toBe(10);
});

test('a server that never answers delays a close by a second at most', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  await node.acquire('a');
  faults.release = () => new Promise(() => {});
  const closing = node.close({ drainMs: 500 });
  await clock.advance(1_500);
  await closing;
});

test('one signal for very many waits costs one listener', async () => {
  const { lock, clock } = bench();
  const [one, other] = [lock(), lock()];
  const controller = new AbortController();
  const { signal } = controller;
  for (let index = 0; index < 50; index += 1) await one.acquire(`a:${index}`);
  const waits = Array.from({ length: 50 }, (_, index) => other.acquire(`a:${index}`, { signal }));
  for (const wait of waits) wait.catch(() => {});
  await clock.settle();
  expect(getEventListeners(signal, 'abort')).toHaveLength(1);
  controller.abort(new Error('shutdown'));
  for (const wait of waits) await expect(wait).rejects.toThrow('shutdown');
  expect(getEventListeners(signal, 'abort')).toHaveLength(0);
});
