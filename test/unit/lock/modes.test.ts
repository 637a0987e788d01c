import { CoordinationError, isCoordinationError, type Lease } from 'tricord';
import { describe, expect, test } from 'vitest';
import { bench, isSettled, never } from './support.js';

const SHARED = { mode: 'shared' } as const;
const isLost = (error: unknown) => isCoordinationError(error, 'LOCK_LOST');

describe('readers and writers', () => {
  test('readers of one node share one grant of the backend', async () => {
    const { lock, calls } = bench();
    const node = lock();
    const readers = await Promise.all([1, 2, 3].map(() => node.acquire('a', SHARED)));
    const more = await node.acquire('a', SHARED);
    expect(calls.acquire).toBe(1);
    expect(new Set(readers.map((reader) => reader.fencingToken)).size).toBe(1);
    for (const reader of readers) expect(await reader.release()).toBe('released');
    expect(more.isHeld).toBe(true);
    expect(calls.release ?? 0).toBe(0);
    await more.release();
    expect(calls.release).toBe(1);
  });

  test('a writer here waits for the readers here, and readers that come later wait for it', async () => {
    const { lock } = bench();
    const node = lock();
    const reader = await node.acquire('a', SHARED);
    const writing = node.acquire('a');
    const later = node.acquire('a', SHARED);
    expect(await node.tryAcquire('a')).toBeUndefined();
    expect(await isSettled(writing)).toBe(false);
    await reader.release();
    const writer = await writing;
    expect(await isSettled(later)).toBe(false);
    expect(writer.fencingToken > reader.fencingToken).toBe(true);
    await writer.release();
    expect((await later).fencingToken >= writer.fencingToken).toBe(true);
  });

  test('while a writer waits elsewhere, no further reader joins those who hold', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(), lock()];
    const reader = await node.acquire('a', SHARED);
    const writing = other.acquire('a');
    await clock.settle();
    const later = node.acquire('a', SHARED);
    await clock.settle();
    expect(await isSettled(later)).toBe(false);
    expect(await node.tryAcquire('a', SHARED)).toBeUndefined();
    await reader.release();
    await (await writing).release();
    await later;
  });

  test('a reader with a limit of its own does not share: its end is not the others’', async () => {
    const { lock, clock, calls } = bench();
    const node = lock();
    const plain = await node.acquire('a', { ...SHARED, ttlMs: 1_000 });
    const limited = await node.acquire('a', { ...SHARED, ttlMs: 1_000, maxHoldMs: 500 });
    expect(calls.acquire).toBe(2);
    await clock.advance(600);
    expect([plain.isHeld, limited.isHeld]).toEqual([true, false]);
  });

  test('when a shared grant is lost, every reader of it learns so', async () => {
    const { lock, clock, faults } = bench();
    const node = lock();
    const readers = await Promise.all([1, 2].map(() => node.acquire('a', SHARED)));
    faults.renew = never;
    await clock.advance(30_000);
    for (const reader of readers) expect(isLost(reader.signal.reason)).toBe(true);
    expect(node.stats().modes.shared).toMatchObject({ heldCount: 0, lostCount: 2 });
  });
});

describe('downgrade', () => {
  test('a writer becomes a reader, readers elsewhere come in, and writers wait', async () => {
    const { lock } = bench();
    const [node, other, third] = [lock(), lock(), lock()];
    const writer = await node.acquire('a');
    const reading = other.acquire('a', SHARED);
    expect(await isSettled(reading)).toBe(false);
    const reader = await writer.downgrade();
    expect(reader).toMatchObject({ mode: 'shared', isHeld: true, resource: 'a' });
    expect(reader.fencingToken >= writer.fencingToken).toBe(true);
    expect((await reading).fencingToken).toBe(reader.fencingToken);
    expect(await third.tryAcquire('a')).toBeUndefined();
    expect(node.stats()).toMatchObject({ downgradeCount: 1, heldCount: 1 });
    expect(node.stats().modes.shared.heldCount).toBe(1);
    await (await reading).release();
    await reader.release();
    expect(await third.tryAcquire('a')).toBeDefined();
  });

  test('readers of the same node that waited come in without asking the backend', async () => {
    const { lock, calls } = bench();
    const node = lock();
    const writer = await node.acquire('a');
    const reading = node.acquire('a', SHARED);
    await writer.downgrade();
    const reader = await reading;
    expect(reader.isHeld).toBe(true);
    expect(calls.downgrade).toBe(1);
  });

  test('the writer’s lease is not held from the call on, and releasing it releases the reader', async () => {
    const { lock } = bench();
    const [node, other] = [lock(), lock()];
    const writer = await node.acquire('a');
    const becoming = writer.downgrade();
    expect(writer.isHeld).toBe(false);
    const reader = await becoming;
    expect(() => writer.assertHeld()).toThrow('made a reader');
    expect(await writer.downgrade()).toBe(reader);
    expect(await writer.release()).toBe('released');
    expect(reader.isHeld).toBe(false);
    expect(await other.tryAcquire('a')).toBeDefined();
  });

  test('withLock releases what its body made a reader', async () => {
    const { lock } = bench();
    const [node, other] = [lock(), lock()];
    const mode = await node.withLock('a', async (lease) => (await lease.downgrade()).mode);
    expect(mode).toBe('shared');
    expect(await other.tryAcquire('a')).toBeDefined();
  });

  test('the signal of the writer goes on telling of a loss', async () => {
    const { lock, clock, faults } = bench();
    const writer = await lock().acquire('a', { ttlMs: 1_000 });
    const { signal } = writer;
    const reader = await writer.downgrade();
    faults.renew = never;
    await clock.advance(1_000);
    expect([signal.aborted, reader.signal.aborted]).toEqual([true, true]);
    expect(await writer.release()).toBe('lost');
  });

  test('without a reply it may be either: it is held no more, and can be asked again', async () => {
    const { lock, faults } = bench();
    const writer = await lock().acquire('a');
    const details = { backend: 'memory', operation: 'downgrade' };
    faults.downgrade = async (real, ...args) => {
      await real(...args);
      delete faults.downgrade;
      throw new CoordinationError('RESULT_UNKNOWN', 'no reply', details);
    };
    await expect(writer.downgrade()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
    expect(writer.isHeld).toBe(false);
    expect((await writer.downgrade()).isHeld).toBe(true);
  });

  test('when nothing can have reached the backend, the writer is a writer still', async () => {
    const { lock, faults } = bench();
    const writer = await lock().acquire('a');
    const details = { backend: 'memory', operation: 'downgrade' };
    faults.downgrade = async () => {
      throw new CoordinationError('BACKEND_UNAVAILABLE', 'down', details);
    };
    await expect(writer.downgrade()).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    expect(writer.isHeld).toBe(true);
    expect(await writer.release()).toBe('released');
  });

  test('what has ended cannot be made a reader’s', async () => {
    const { lock, faults } = bench();
    const node = lock();
    const released = await node.acquire('a');
    await released.release();
    await expect(released.downgrade()).rejects.toSatisfy(isLost);
    const gone = await node.acquire('b');
    faults.downgrade = async () => undefined;
    await expect(gone.downgrade()).rejects.toSatisfy(isLost);
    expect(gone.signal.aborted).toBe(true);
  });
});

describe('permits', () => {
  test('no more permits are out than the capacity, here and elsewhere; first come, first served', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(), lock({ localHandoffs: 0 })];
    const three = { capacity: 3 };
    const held = [
      await node.acquire('a', { ...three, permits: 2 }),
      await other.acquire('a', three),
    ];
    expect(held[0]).toMatchObject({ mode: 'counting', permits: 2, capacity: 3 });
    expect(held[0] !== undefined && 'fencingToken' in held[0]).toBe(false);
    const all = node.acquire('a', { ...three, permits: 3 });
    const one = other.acquire('a', three);
    await held[0]?.release();
    await clock.settle();
    expect([await isSettled(all), await isSettled(one)]).toEqual([false, false]);
    await held[1]?.release();
    await (await all).release();
    await one;
  });

  test('a permit that is released here goes to the next task here without asking the backend', async () => {
    const { lock, calls } = bench();
    const node = lock();
    const lease = await node.acquire('a', { capacity: 1 });
    const next = node.acquire('a', { capacity: 1 });
    await lease.release();
    await next;
    expect(calls.release ?? 0).toBe(0);
    expect(node.stats().modes.counting).toMatchObject({ grantedCount: 2, handOffCount: 1 });
  });

  test('permits go round among the tasks of one node, and never more than the capacity', async () => {
    const { lock, clock } = bench();
    const node = lock();
    let inside = 0;
    let most = 0;
    const work = async () => {
      await node.withLock('a', { capacity: 4, waitMs: 60_000 }, async () => {
        inside += 1;
        most = Math.max(most, inside);
        await clock.settle();
        inside -= 1;
      });
    };
    await clock.runUntil(Promise.all(Array.from({ length: 40 }, work)));
    expect([most, node.stats().modes.counting.grantedCount]).toEqual([4, 40]);
  });

  test('another capacity is refused with both numbers, and does not fail those who wait with the right one', async () => {
    const { lock } = bench();
    const node = lock();
    const lease = await node.acquire('a', { capacity: 2, permits: 2 });
    const right = node.acquire('a', { capacity: 2 });
    const wrong = lock().acquire('a', { capacity: 3 });
    await expect(wrong).rejects.toMatchObject({
      code: 'LOCK_CAPACITY_MISMATCH',
      details: { resource: 'a', requested: 3, current: 2 },
    });
    await expect(lock().acquire('a')).rejects.toMatchObject({ code: 'LOCK_CAPACITY_MISMATCH' });
    await lease.release();
    expect((await right).isHeld).toBe(true);
  });

  test('of two capacities in one node, who comes second is told when its turn to ask comes', async () => {
    const { lock } = bench();
    const node = lock();
    const lease = await node.acquire('a', { capacity: 2 });
    const wrong = node.acquire('a', { capacity: 5 });
    const behind = node.acquire('a', { capacity: 2 });
    await expect(wrong).rejects.toMatchObject({ code: 'LOCK_CAPACITY_MISMATCH' });
    expect((await behind).isHeld && lease.isHeld).toBe(true);
  });
});

describe('lock delay', () => {
  test('what a node that fell silent held is free only after its delay', async () => {
    const { lock, clock, faults } = bench();
    const [node, other] = [lock(), lock()];
    await node.acquire('a', { ttlMs: 1_000, lockDelayMs: 5_000 });
    faults.renew = never;
    faults.release = never;
    const waits = other.acquire('a', { waitMs: 60_000 });
    await clock.advance(5_900);
    expect(await isSettled(waits)).toBe(false);
    await clock.advance(200);
    expect(await isSettled(waits)).toBe(true);
  });

  test('a task that needs a longer delay than the grant has is not handed it', async () => {
    const { lock, calls } = bench();
    const node = lock();
    const lease = await node.acquire('a');
    const careful = node.acquire('a', { lockDelayMs: 1_000 });
    const plain = node.acquire('a');
    await lease.release();
    const second: Lease = await careful;
    expect(calls.acquire).toBe(2);
    await second.release();
    await plain;
    expect(calls.acquire).toBe(2);
  });
});

test('a grant that was pushed for a moment is renewed at once', async () => {
  const { lock, clock, faults, calls } = bench();
  faults.acquire = async (real, request) => {
    const grant = await real(request);
    if (grant === undefined) return undefined;
    return { ...grant, validity: { ...grant.validity, forMs: 500 } };
  };
  const lease = await lock().acquire('a', { ttlMs: 30_000 });
  await clock.advance(10);
  expect(calls.renew).toBe(1);
  expect(lease.remainingMs).toBeGreaterThan(29_000);
});

test('where the backend always gives less than was asked, that is found out once', async () => {
  const { lock, clock, faults, calls } = bench();
  const short = <T extends { validity: { forMs: number } }>(held: T): T => ({
    ...held,
    validity: { ...held.validity, forMs: 1_000 },
  });
  faults.acquire = async (real, request) => {
    const grant = await real(request);
    return grant === undefined ? undefined : short(grant);
  };
  faults.renew = async (real, ...args) =>
    (await real(...args)).map((reply) => (reply.state === 'held' ? short(reply) : reply));
  const node = lock();
  for (const resource of ['a', 'b', 'c']) {
    await node.acquire(resource, { ttlMs: 30_000 });
    await clock.advance(10);
  }
  expect(calls.renew).toBe(1);
});
