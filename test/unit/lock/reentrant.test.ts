import { isCoordinationError } from 'tricord';
import { describe, expect, test } from 'vitest';
import { bench } from './support.js';

const isReentry = (error: unknown) => isCoordinationError(error, 'LOCK_REENTRY');
const SHARED = { mode: 'shared' } as const;

describe('a task that asks for what it holds', () => {
  test('is refused in every mode that would wait for itself', async () => {
    const { lock } = bench();
    const node = lock();
    await node.withLock('a', async () => {
      await expect(node.acquire('a', SHARED)).rejects.toSatisfy(isReentry);
      await expect(node.acquire(['a', 'b'])).rejects.toSatisfy(isReentry);
    });
    await node.withLock('a', SHARED, async () => {
      await expect(node.acquire('a')).rejects.toSatisfy(isReentry);
      await expect(node.acquire('a', SHARED)).rejects.toSatisfy(isReentry);
    });
    await node.withLock('p', { capacity: 8 }, async () => {
      await expect(node.acquire('p', { capacity: 8 })).rejects.toSatisfy(isReentry);
    });
    await node.withLock(['a', 'b'], async (leases) => {
      await expect(node.acquire('b')).rejects.toSatisfy(isReentry);
      await expect(lock().acquire('b', { within: leases })).rejects.toSatisfy(isReentry);
    });
    expect(await node.tryAcquire(['a', 'b', 'p'])).toBeDefined();
  });

  test('gets one more lease of the same grant with reentrant, and it is free after the last', async () => {
    const { lock, calls } = bench();
    const [node, other] = [lock(), lock()];
    const outer = await node.acquire('a');
    const inner = await node.acquire('a', { within: outer, reentrant: true });
    expect(inner.fencingToken).toBe(outer.fencingToken);
    expect(calls.acquire).toBe(1);
    expect(await outer.release()).toBe('released');
    expect([outer.isHeld, inner.isHeld]).toEqual([false, true]);
    expect(await other.tryAcquire('a')).toBeUndefined();
    expect(await inner.release()).toBe('released');
    expect(await other.tryAcquire('a')).toBeDefined();
    expect(node.stats()).toMatchObject({ reentryCount: 1, grantedCount: 1, releasedCount: 1 });
  });

  test('nests withLock to any depth, and releases once', async () => {
    const { lock, calls } = bench();
    const node = lock();
    const depth = async (left: number): Promise<number> =>
      node.withLock('a', { reentrant: true }, async () =>
        left === 0 ? 0 : 1 + (await depth(left - 1)),
      );
    expect(await depth(20)).toBe(20);
    expect([calls.acquire, calls.release]).toEqual([1, 1]);
  });

  test('may read what it writes, and never write what it reads', async () => {
    const { lock } = bench();
    const node = lock();
    await node.withLock('a', async (writer) => {
      const reader = await node.acquire('a', { ...SHARED, reentrant: true });
      expect(reader).toMatchObject({ mode: 'shared', fencingToken: writer.fencingToken });
      await reader.release();
    });
    await node.withLock('a', SHARED, async () => {
      const again = await node.acquire('a', { ...SHARED, reentrant: true });
      await expect(node.acquire('a', { reentrant: true })).rejects.toSatisfy(isReentry);
      await again.release();
    });
  });

  test('uses the permits it has, and not more of them', async () => {
    const { lock } = bench();
    const node = lock();
    await node.withLock('p', { capacity: 4, permits: 2 }, async () => {
      const inner = await node.acquire('p', { capacity: 4, permits: 2, reentrant: true });
      expect(inner.permits).toBe(2);
      const more = node.acquire('p', { capacity: 4, permits: 3, reentrant: true });
      await expect(more).rejects.toSatisfy(isReentry);
      const other = lock();
      expect(await other.tryAcquire('p', { capacity: 4, permits: 2 })).toBeDefined();
      await inner.release();
    });
  });

  test('takes what it does not hold yet of several, and keeps the rest', async () => {
    const { lock } = bench();
    const [node, other] = [lock(), lock()];
    await node.withLock('b', async (outer) => {
      const leases = await node.acquire(['a', 'b', 'c'], { reentrant: true });
      expect(leases.get('b').fencingToken).toBe(outer.fencingToken);
      await leases.release();
      expect(outer.isHeld).toBe(true);
      expect(await other.tryAcquire(['a', 'c'])).toBeDefined();
    });
    expect(await other.tryAcquire('b')).toBeDefined();
  });

  test('with a lease that was released, or with reentry: wait, stands in line like anybody', async () => {
    const { lock, clock } = bench();
    const node = lock();
    const old = await node.acquire('a');
    await old.release();
    const lease = await node.acquire('a', { within: old, reentrant: true });
    expect(lease.fencingToken > old.fencingToken).toBe(true);
    await node.withLock('b', async () => {
      const waits = node.acquire('b', { reentry: 'wait', reentrant: true, waitMs: 100 });
      await expect(clock.runUntil(waits)).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    });
  });

  test('cannot make a reader of what it holds again further in', async () => {
    const { lock } = bench();
    await lock().withLock('a', async (outer) => {
      const node = lock();
      const inner = await node.acquire('a', { within: outer, reentrant: true });
      await expect(outer.downgrade()).rejects.toSatisfy(isReentry);
      await inner.release();
      expect((await outer.downgrade()).isHeld).toBe(true);
    });
  });
});
