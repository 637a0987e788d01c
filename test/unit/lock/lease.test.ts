import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Grant, isCoordinationError, type Lease, loseGrant, type RenewReply } from 'tricord';
import { expect, test } from 'vitest';
import { bench, never } from './support.js';

const TTL = { ttlMs: 2_000 };
/** 2,000 ms less 1 % and 2 ms. */
const DEADLINE_MS = 1_978;
const isLost = (error: unknown) => isCoordinationError(error, 'LOCK_LOST');

test('a lease is renewed at a third of its TTL, for as long as it is held', async () => {
  const { lock, clock, calls } = bench();
  const [node, other] = [lock(), lock()];
  const lease = await node.acquire('a', TTL);
  await clock.advance(60_000);
  expect(lease.isHeld).toBe(true);
  expect(calls.renew).toBeGreaterThanOrEqual(85);
  expect(calls.renew).toBeLessThanOrEqual(110);
  expect(await other.tryAcquire('a')).toBeUndefined();
  await lease.release();
  const renewals = calls.renew;
  await clock.advance(10_000);
  expect(calls.renew).toBe(renewals);
});

test('a server that freezes under a lease: its signal aborts before the TTL, counted from the acquire', async () => {
  const { lock, clock, faults } = bench();
  const lease = await lock().acquire('a', TTL);
  faults.renew = never;
  await clock.advance(DEADLINE_MS - 1);
  expect(lease.isHeld).toBe(true);
  await clock.advance(1);
  expect(lease.signal.aborted).toBe(true);
  expect(lease.signal.reason).toSatisfy(isLost);
  expect(() => lease.assertHeld()).toThrow('could not be renewed in time');
  expect(await lease.release()).toBe('lost');
});

test('the time that the acquire’s reply took is taken off the lease', async () => {
  const { lock, clock, faults } = bench();
  faults.acquire = async (real, request) => {
    const grant = await real(request);
    await new Promise<void>((resolve) => void clock.schedule(700, resolve));
    return grant;
  };
  faults.renew = never;
  const lease = await clock.runUntil(lock().acquire('a', TTL));
  expect(clock.monotonicMs()).toBe(700);
  expect(lease.remainingMs).toBe(DEADLINE_MS - 700);
});

test('a grant that arrives after its own deadline is given back, and asked for anew in the same order', async () => {
  const { lock, clock, faults, calls } = bench();
  faults.acquire = async (real, request) => {
    const grant = await real(request);
    delete faults.acquire;
    await new Promise<void>((resolve) => void clock.schedule(5_000, resolve));
    return grant;
  };
  const node = lock();
  const order: string[] = [];
  const use = (name: string) => (lease: Lease) => {
    order.push(name);
    expect(lease.isHeld).toBe(true);
  };
  const first = node.withLock('a', TTL, use('first'));
  const second = node.withLock('a', TTL, use('second'));
  await clock.runUntil(Promise.all([first, second]));
  expect(order).toEqual(['first', 'second']);
  expect(calls).toMatchObject({ acquire: 2, release: 2 });
});

test('after a stall of the event loop the first look refuses, before any timer has run', async () => {
  const { lock, clock } = bench();
  const lease = await lock().acquire('a', TTL);
  clock.stall(DEADLINE_MS);
  expect(() => lease.assertHeld()).toThrow(expect.objectContaining({ code: 'LOCK_LOST' }));
  expect(lease.signal.aborted).toBe(true);
  await clock.advance(1_000);
  expect(lease.isHeld).toBe(false);
});

test('a machine that was suspended has lost its leases, because the wall clock went on', async () => {
  const { lock, clock } = bench();
  const lease = await lock().acquire('a', TTL);
  clock.moveWall(DEADLINE_MS);
  expect(lease.isHeld).toBe(false);
});

test('a wall clock that is set back does not make a lease longer', async () => {
  const { lock, clock, faults } = bench();
  faults.renew = never;
  const lease = await lock().acquire('a', TTL);
  clock.moveWall(-3_600_000);
  await clock.advance(DEADLINE_MS);
  expect(lease.isHeld).toBe(false);
});

test('a renewal whose reply comes after the deadline does not revive the lease', async () => {
  const { lock, clock, faults } = bench();
  let arrive = (): void => {};
  faults.renew = async (real, ...args) => {
    const replies = await real(...args);
    await new Promise<void>((resolve) => {
      arrive = resolve;
    });
    return replies;
  };
  const lease = await lock().acquire('a', TTL);
  await clock.advance(700);
  // The loop stalls beyond the deadline; then the reply is read before any timer runs.
  clock.stall(DEADLINE_MS - 700);
  arrive();
  await clock.settle();
  expect(lease.isHeld).toBe(false);
  expect(lease.signal.reason).toSatisfy(isLost);
});

test('a renewal without a reply is tried again before the deadline, and then goes on', async () => {
  const { lock, clock, faults, calls } = bench();
  const lease = await lock().acquire('a', TTL);
  const unknown = (grants: readonly unknown[]): RenewReply[] =>
    grants.map(() => ({ state: 'unknown', cause: new Error('cut') }));
  faults.renew = async (_real, grants) => unknown(grants);
  await clock.advance(1_500);
  expect(lease.isHeld).toBe(true);
  expect(calls.renew).toBeGreaterThan(2);
  delete faults.renew;
  await clock.advance(10_000);
  expect(lease.isHeld).toBe(true);
  // A driver that breaks its word and rejects counts as no reply.
  faults.renew = () => Promise.reject(new Error('broken driver'));
  await clock.advance(10_000);
  expect(lease.signal.reason).toSatisfy(isLost);
});

test('a lease that the backend says is lost is lost at once, and its waiters contend anew', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  const lease = await node.acquire('a', TTL);
  const waits = node.acquire('a', TTL);
  faults.renew = async (_real, grants) => grants.map(() => ({ state: 'lost' }));
  faults.acquire = async (real, request) => {
    // What was lost there is free there.
    return real(request);
  };
  await clock.advance(700);
  expect(lease.signal.reason).toMatchObject({ code: 'LOCK_LOST' });
  delete faults.renew;
  const next = await clock.runUntil(waits);
  expect(next.fencingToken > lease.fencingToken).toBe(true);
});

test('a grant that the driver reports lost aborts the lease with the driver’s reason', async () => {
  const { lock, faults } = bench();
  let grant: Grant | undefined;
  faults.acquire = async (real, request) => {
    grant = await real(request);
    return grant;
  };
  const lease = await lock().acquire('a');
  const reason = new Error('session expired');
  loseGrant(grant as Grant, reason);
  loseGrant(grant as Grant, new Error('too late'));
  expect(lease.signal.reason).toBe(reason);
  expect(() => lease.assertHeld()).toThrow(reason);
});

test('what was lost by the clock is given back all the same, for a renewal may have reached the server', async () => {
  const { lock, clock, faults } = bench();
  const [node, other] = [lock(), lock()];
  const lease = await node.acquire('a', { ttlMs: 2_000 });
  // Renewed there for an hour, but the reply never arrives.
  faults.renew = async (real, grants) => {
    await real(grants, [3_600_000]);
    return never();
  };
  await clock.advance(DEADLINE_MS);
  expect(lease.signal.aborted).toBe(true);
  expect(await other.tryAcquire('a')).toBeDefined();
});

test('with renew: false a lease ends after its TTL', async () => {
  const { lock, clock, calls } = bench();
  const lease = await lock().acquire('a', { ...TTL, renew: false });
  await clock.advance(DEADLINE_MS);
  expect(lease.signal.aborted).toBe(true);
  expect(calls.renew).toBeUndefined();
});

test('maxHoldMs ends a lease however well renewals go, and frees the resource at once', async () => {
  const { lock, clock } = bench();
  const [node, other] = [lock(), lock()];
  const lease = await node.acquire('a', { ttlMs: 30_000, maxHoldMs: 5_000 });
  await clock.advance(4_999);
  expect(lease.isHeld).toBe(true);
  await clock.advance(1);
  expect(lease.signal.reason).toSatisfy(isLost);
  expect(lease.signal.reason.message).toContain('its 5000 ms are over');
  expect(await other.tryAcquire('a')).toBeDefined();
});

test('extending renews at once, for the TTL that is named', async () => {
  const { lock, clock, faults } = bench();
  const lease = await lock().acquire('a', { ...TTL, renew: false });
  await clock.advance(1_000);
  await lease.extend(10_000);
  expect(lease.remainingMs).toBe(9_898);
  faults.renew = async (_real, grants) =>
    grants.map(() => ({ state: 'unknown', cause: new Error('cut') }));
  await expect(lease.extend()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  expect(lease.isHeld).toBe(true);
  await expect(lease.extend(Number.NaN)).rejects.toThrow(TypeError);
  await lease.release();
  await expect(lease.extend()).rejects.toSatisfy(isLost);
});

test('a release without a reply answers by the local clock, at the deadline at the latest', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  faults.release = () => Promise.reject(new Error('no reply'));
  expect(await (await node.acquire('a', TTL)).release()).toBe('released');
  faults.release = never;
  const lease = await node.acquire('b', TTL);
  const releasing = lease.release();
  expect(lease.isHeld).toBe(false);
  expect(await clock.runUntil(releasing)).toBe('released');
  expect(clock.monotonicMs()).toBeLessThanOrEqual(2_000);
});

test('a release that finds the grant gone tells lost, and publishes it', async () => {
  const { lock, faults } = bench();
  const node = lock();
  faults.release = async () => 'lost';
  const lease = await node.acquire('a');
  expect(await lease.release()).toBe('lost');
  expect(lease.signal.aborted).toBe(true);
  expect(node.stats()).toMatchObject({ lostCount: 1, releasedCount: 0, heldCount: 0 });
});

test('a body that succeeds although its lease was lost resolves, unless it asked to reject', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  faults.renew = never;
  const outlive = async () => {
    await clock.advance(5_000);
    return 'done';
  };
  await expect(node.withLock('a', TTL, outlive)).resolves.toBe('done');
  await expect(node.withLock('b', { ...TTL, onLost: 'reject' }, outlive)).rejects.toSatisfy(isLost);
  const failure = new Error('body');
  const failing = async () => {
    await outlive();
    throw failure;
  };
  await expect(node.withLock('c', { ...TTL, onLost: 'reject' }, failing)).rejects.toBe(failure);
});

test('leases that are due together are renewed in one call', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  const batches: number[] = [];
  faults.renew = (real, grants, ttls) => {
    batches.push(grants.length);
    return real(grants, ttls);
  };
  for (let index = 0; index < 100; index += 1) {
    await node.acquire(`a:${index}`, { ttlMs: 30_000 });
    await clock.advance(5);
  }
  await clock.advance(30_000);
  expect(batches.length).toBeLessThanOrEqual(6);
  expect(node.stats().lostCount).toBe(0);
});

test('leases alone do not keep a process running, but a wait does', async () => {
  const { lock, clock } = bench();
  const node = lock();
  const lease = await node.acquire('a');
  // The one timer of all waits is not cancelled for each, only never long ahead for nobody.
  await clock.advance(20);
  expect(clock.keepAliveCount).toBe(0);
  const waits = node.acquire('a');
  await nextTurn();
  expect(clock.keepAliveCount).toBe(1);
  await clock.advance(5_000);
  expect(clock.keepAliveCount).toBe(1);
  await lease.release();
  await waits;
  expect(clock.keepAliveCount).toBe(0);
});

test('an extension that names no TTL is for the one that the lease has, not the one it began with', async () => {
  const { lock } = bench();
  const lease = await lock().acquire('a', TTL);
  await lease.extend(60_000);
  await lease.extend();
  expect(lease.remainingMs).toBeGreaterThan(59_000);
});
