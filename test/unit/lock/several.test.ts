import { isCoordinationError } from 'tricord';
import { describe, expect, test } from 'vitest';
import { bench, isSettled, never } from './support.js';

const isTimeout = (error: unknown) => isCoordinationError(error, 'LOCK_TIMEOUT');

/** A driver that cannot take several in one step. */
function plainBench() {
  const one = bench();
  one.faults.acquireAll = async () => 'unsupported';
  return one;
}

describe('several resources', () => {
  test('each is taken once, in the order of their bytes, whatever order was asked for', async () => {
    const { lock, faults } = plainBench();
    const asked: string[] = [];
    faults.acquire = async (real, request) => {
      asked.push(request.resource);
      return real(request);
    };
    // UTF-16 units would put the emoji before the private use character.
    const names = ['b', '\u{1F600}', 'a', '\uE000', 'b', 'a'];
    const leases = await lock().acquire(names);
    expect(asked).toEqual(['a', 'b', '\uE000', '\u{1F600}']);
    expect(leases.resources).toEqual(asked);
    expect(leases.get('b').fencingToken).toEqual(expect.any(BigInt));
    expect(() => leases.get('c')).toThrow(TypeError);
    expect(await leases.release()).toBe('released');
    expect(await leases.release()).toBe('released');
    expect(leases.isHeld).toBe(false);
  });

  test('where the backend can, they are taken in one step', async () => {
    const { lock, calls } = bench();
    const [node, other] = [lock(), lock()];
    const leases = await node.acquire(['a', 'b', 'c']);
    expect([calls.acquireAll, calls.acquire ?? 0]).toEqual([1, 0]);
    expect(leases.isHeld && leases.remainingMs > 29_000).toBe(true);
    for (const name of ['a', 'b', 'c']) expect(await other.tryAcquire(name)).toBeUndefined();
    expect(await other.tryAcquire(['c', 'd'])).toBeUndefined();
    expect(await other.tryAcquire('d')).toBeDefined();
    await leases.release();
    expect(await other.tryAcquire(['a', 'b', 'c'])).toBeDefined();
  });

  test('tasks that want them in opposite orders never wait for each other in a circle', async () => {
    const { lock, clock } = bench();
    const nodes = [lock(), lock(), lock()];
    const names = ['a', 'b', 'c', 'd'];
    const work = async (index: number) => {
      const wanted = index % 2 === 0 ? names : names.toReversed();
      const node = nodes[index % 3];
      for (let round = 0; round < 5; round += 1) {
        await node?.withLock(wanted.slice(round % 3), { waitMs: 100_000 }, () => clock.settle());
      }
    };
    await Promise.all(Array.from({ length: 12 }, (_, index) => work(index)));
    for (const node of nodes) expect(node.stats()).toMatchObject({ heldCount: 0, lostCount: 0 });
  });

  test('one wait is for all of them, and none stays taken when it ends', async () => {
    const { lock, clock } = plainBench();
    const [node, other] = [lock(), lock()];
    const first = await other.acquire('a');
    await other.acquire('b');
    const waits = node.acquire(['a', 'b', 'c'], { waitMs: 1_000 });
    waits.catch(() => {});
    await clock.advance(600);
    await first.release();
    await clock.advance(390);
    expect(await isSettled(waits)).toBe(false);
    await clock.advance(20);
    await expect(waits).rejects.toSatisfy(isTimeout);
    await expect(waits).rejects.toMatchObject({ details: { resource: 'b' } });
    expect(await other.tryAcquire('a')).toBeDefined();
    expect(await other.tryAcquire('c')).toBeDefined();
  });

  test('a signal ends the wait for all of them', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(), lock()];
    await other.acquire('b');
    const enough = new AbortController();
    const waits = node.acquire(['a', 'b'], { signal: enough.signal });
    waits.catch(() => {});
    await clock.settle();
    const reason = new Error('enough');
    enough.abort(reason);
    await expect(waits).rejects.toBe(reason);
    await clock.settle();
    expect(await other.tryAcquire('a')).toBeDefined();
  });

  test('waitMs: 0 and tryAcquire take all that is free or nothing', async () => {
    const { lock, clock } = plainBench();
    const [node, other] = [lock(), lock()];
    await other.acquire('b');
    expect(await node.tryAcquire(['a', 'b'])).toBeUndefined();
    await expect(node.acquire(['a', 'b'], { waitMs: 0 })).rejects.toSatisfy(isTimeout);
    await clock.settle();
    expect(await other.tryAcquire('a')).toBeDefined();
  });

  test('the set is lost with the first of its leases', async () => {
    const { lock, clock, faults } = bench();
    const node = lock();
    const leases = await node.acquire(['a', 'b'], { ttlMs: 1_000 });
    const { signal } = leases;
    faults.renew = async (real, grants, ttlMs) => {
      const replies = await real(grants, ttlMs);
      return replies.map((reply, at) => (grants[at]?.resource === 'b' ? { state: 'lost' } : reply));
    };
    await clock.advance(400);
    expect(signal.reason).toMatchObject({ code: 'LOCK_LOST', details: { resource: 'b' } });
    expect([leases.isHeld, leases.get('a').isHeld, leases.remainingMs]).toEqual([false, true, 0]);
    expect(() => leases.assertHeld()).toThrow('"b"');
    await expect(leases.extend()).rejects.toMatchObject({ code: 'LOCK_LOST' });
    expect(await leases.release()).toBe('lost');
    expect(await lock().tryAcquire('a')).toBeDefined();
  });

  test('readers take several together, and so do those who count', async () => {
    const { lock } = bench();
    const [node, other] = [lock(), lock()];
    const readers = await node.acquire(['a', 'b'], { mode: 'shared' });
    await other.acquire(['a', 'b'], { mode: 'shared' });
    expect(readers.get('a').mode).toBe('shared');
    const permits = await node.acquire(['x', 'y'], { capacity: 2 });
    await other.acquire(['x', 'y'], { capacity: 2 });
    expect(permits.get('x')).toMatchObject({ permits: 1, capacity: 2 });
    expect(await other.tryAcquire(['x', 'y'], { capacity: 2 })).toBeUndefined();
  });

  test('what is retained here is taken along without asking for it', async () => {
    const { lock, calls } = bench();
    const node = lock({ retainMs: 1_000 });
    await (await node.acquire('b')).release();
    const leases = await node.acquire(['a', 'b', 'c']);
    expect([calls.acquire, calls.acquireAll]).toEqual([1, 1]);
    await leases.release();
  });

  test('asking for several of which one is taken leaves nothing that a close would wait for', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(), lock()];
    const held = await node.acquire('b');
    expect(await node.tryAcquire(['a', 'b'])).toBeUndefined();
    await held.release();
    const closing = node.close();
    await clock.settle();
    expect(await isSettled(closing)).toBe(true);
    expect(await other.tryAcquire(['a', 'b'])).toBeDefined();
  });

  test('a step that fails fails the acquire, and leaves nothing', async () => {
    const { lock, faults, clock } = bench();
    const node = lock();
    faults.acquireAll = async () => {
      throw new Error('down');
    };
    await expect(node.acquire(['a', 'b'])).rejects.toThrow('down');
    faults.acquireAll = never;
    const waits = node.acquire(['a', 'b'], { waitMs: 500 });
    await expect(clock.runUntil(waits)).rejects.toSatisfy(isTimeout);
    expect(node.stats()).toMatchObject({ waitingCount: 0, heldCount: 0 });
  });

  test('an empty list, too long a list and a wrong name are refused before anything is sent', async () => {
    const { lock, calls } = bench();
    const node = lock();
    await expect(node.acquire([])).rejects.toBeInstanceOf(TypeError);
    await expect(node.acquire(['a', ''])).rejects.toBeInstanceOf(TypeError);
    const many = Array.from({ length: 1_001 }, (_, index) => `r${index}`);
    await expect(node.acquire(many)).rejects.toBeInstanceOf(TypeError);
    expect(calls).toEqual({});
  });
});
