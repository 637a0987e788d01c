import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { bench, isSettled, never } from './support.js';

const RETAIN = { retainMs: 5_000 };

describe('a lock that is retained', () => {
  test('is taken by the next task here without asking the backend, each time with a higher token', async () => {
    const { lock, calls } = bench();
    const node = lock(RETAIN);
    let newest = 0n;
    for (let round = 0; round < 200; round += 1) {
      const lease = await node.acquire('a');
      expect(lease.fencingToken > newest).toBe(true);
      newest = lease.fencingToken;
      expect(await lease.release()).toBe('released');
      if (round % 10 === 0) await nextTurn();
    }
    expect([calls.acquire, calls.release ?? 0]).toEqual([1, 0]);
    expect(calls.reserveTokens).toBeLessThan(8);
    expect(node.stats()).toMatchObject({ handOffCount: 199, heldCount: 0 });
  });

  test('is given up at once when the first waiter comes from elsewhere', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(RETAIN), lock()];
    await (await node.acquire('a')).release();
    const waits = other.acquire('a');
    await clock.settle();
    expect(await isSettled(waits)).toBe(true);
    // Without a waiter it is kept again.
    await (await waits).release();
    await (await node.acquire('a')).release();
    expect(await other.tryAcquire('a')).toBeUndefined();
  });

  test('is not retained when others waited while it was held', async () => {
    const { lock, clock, calls } = bench();
    const [node, other] = [lock(RETAIN), lock()];
    const lease = await node.acquire('a');
    const waits = other.acquire('a');
    await clock.settle();
    await lease.release();
    await waits;
    expect(calls.watchWaiters ?? 0).toBe(0);
  });

  test('is given back after retainMs, counted from its last release', async () => {
    const { lock, clock } = bench();
    const [node, other] = [lock(RETAIN), lock()];
    await (await node.acquire('a')).release();
    await clock.advance(4_000);
    await (await node.acquire('a')).release();
    await clock.advance(4_900);
    expect((await node.inspect('a')).holders).toHaveLength(1);
    await clock.advance(200);
    expect((await other.inspect('a')).holders).toHaveLength(0);
    expect(clock.timerCount).toBeLessThanOrEqual(1);
  });

  test('is renewed while it is retained, and not after', async () => {
    const { lock, clock, calls } = bench();
    const node = lock({ retainMs: 10_000 });
    await (await node.acquire('a', { ttlMs: 1_000 })).release();
    await clock.advance(9_000);
    expect(calls.renew).toBeGreaterThan(20);
    expect((await node.acquire('a', { ttlMs: 1_000 })).isHeld).toBe(true);
    await clock.advance(1);
    const { renew } = calls;
    const lease = await lock().tryAcquire('b');
    await lease?.release();
    expect(renew).toBeLessThan(40);
  });

  test('is given up by close', async () => {
    const { lock } = bench();
    const [node, other] = [lock({ retainMs: 600_000 }), lock()];
    await (await node.acquire('a')).release();
    await node.close();
    expect(await other.tryAcquire('a')).toBeDefined();
  });

  test('is given up by close also when its last task releases while the lock drains', async () => {
    const { lock } = bench();
    const [node, other] = [lock({ retainMs: 600_000 }), lock()];
    const lease = await node.acquire('a');
    const next = node.acquire('a');
    const closing = node.close();
    await lease.release();
    await (await next).release();
    await closing;
    expect(await other.tryAcquire('a')).toBeDefined();
  });

  test('that is lost is asked for anew, and nobody was told of a loss', async () => {
    const { lock, clock, faults, calls } = bench();
    const node = lock({ retainMs: 60_000 });
    await (await node.acquire('a', { ttlMs: 1_000 })).release();
    faults.renew = async (_real, grants) => grants.map(() => ({ state: 'lost' }));
    await clock.advance(400);
    delete faults.renew;
    expect((await clock.runUntil(node.acquire('a'))).isHeld).toBe(true);
    expect(calls.acquire).toBe(2);
    expect(node.stats().lostCount).toBe(0);
  });

  test('by a node that died delays a waiter by the rest of its TTL, and no more', async () => {
    const { lock, clock, faults } = bench();
    const [dead, other] = [lock({ retainMs: 600_000 }), lock()];
    await (await dead.acquire('a', { ttlMs: 3_000 })).release();
    faults.renew = never;
    faults.release = never;
    const waits = other.acquire('a', { waitMs: 60_000 });
    await clock.advance(2_900);
    expect(await isSettled(waits)).toBe(false);
    await clock.advance(200);
    expect(await isSettled(waits)).toBe(true);
  });

  test('by a node that was frozen is not used when it wakes up: somebody else may hold it', async () => {
    const { lock, clock, calls } = bench();
    const node = lock({ retainMs: 600_000 });
    await (await node.acquire('a', { ttlMs: 1_000 })).release();
    clock.stall(5_000);
    // No timer could run yet; the clock is compared before the grant is used.
    const waits = node.acquire('a', { ttlMs: 1_000 });
    const lease = await clock.runUntil(waits);
    expect([calls.acquire, lease.isHeld]).toEqual([2, true]);
  });

  test('of which a node has several is not used either when it wakes up', async () => {
    const { lock, clock, calls } = bench();
    const node = lock({ retainMs: 600_000 });
    const permit = { capacity: 2, ttlMs: 1_000 };
    const leases = await Promise.all([node.acquire('a', permit), node.acquire('a', permit)]);
    await Promise.all(leases.map((lease) => lease.release()));
    clock.stall(5_000);
    const lease = await clock.runUntil(node.acquire('a', permit));
    expect([calls.acquire, lease.isHeld]).toEqual([3, true]);
  });

  test('by a machine that was suspended is not used when it wakes up', async () => {
    const { lock, clock, calls } = bench();
    const node = lock({ retainMs: 600_000 });
    await (await node.acquire('a', { ttlMs: 1_000 })).release();
    clock.moveWall(60_000);
    await clock.runUntil(node.acquire('a', { ttlMs: 1_000 }));
    expect(calls.acquire).toBe(2);
  });

  test('serves those who want it in the same way; others ask anew', async () => {
    const { lock, calls } = bench();
    const node = lock(RETAIN);
    await (await node.acquire('a')).release();
    await (await node.acquire('a', { mode: 'shared' })).release();
    await (await node.acquire('a', { mode: 'shared' })).release();
    expect(calls.acquire).toBe(2);
    await (await node.acquire('a')).release();
    expect(calls.acquire).toBe(3);
    expect(await node.tryAcquire('a', { mode: 'shared' })).toBeDefined();
    expect(calls.acquire).toBe(4);
  });

  test('a lease of it ends with its own limits, not with those of the task before', async () => {
    const { lock, clock } = bench();
    const node = lock({ retainMs: 60_000 });
    await (await node.acquire('a', { ttlMs: 1_000, maxHoldMs: 500 })).release();
    await clock.advance(2_000);
    const lease = await node.acquire('a', { ttlMs: 1_000 });
    await clock.advance(5_000);
    expect(lease.isHeld).toBe(true);
  });

  test('does not keep a process running', async () => {
    const { lock, clock } = bench();
    const node = lock(RETAIN);
    await (await node.acquire('a')).release();
    await clock.advance(20);
    expect(clock.keepAliveCount).toBe(0);
  });
});
