import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Lock } from 'tricord';
import { describe, expect, test } from 'vitest';
import { bench, isSettled } from './support.js';

/** So many tasks take turns; the answer is how the last one's release goes. */
async function takeTurns(node: Lock, count: number): Promise<Promise<'released' | 'lost'>[]> {
  const waits = Array.from({ length: count }, () => node.acquire('a'));
  const releases: Promise<'released' | 'lost'>[] = [];
  for (const wait of waits) releases.push((await wait).release());
  return releases;
}

describe('what tasks of one node took turns with', () => {
  test('is kept for a turn of the event loop: tasks that are back by then ask nobody', async () => {
    const { lock, calls } = bench();
    const node = lock();
    let grantCount = 0;
    let newest = 0n;
    const task = async (): Promise<void> => {
      for (let round = 0; round < 50; round += 1) {
        const lease = await node.acquire('a');
        grantCount += 1;
        expect(lease.fencingToken > newest).toBe(true);
        newest = lease.fencingToken;
        expect(await lease.release()).toBe('released');
        await nextTurn();
      }
    };
    await Promise.all(Array.from({ length: 20 }, task));
    expect(grantCount).toBe(1_000);
    expect(calls.acquire).toBeLessThan(4);
    expect(calls.release).toBe(calls.acquire);
    expect(calls.reserveTokens).toBeLessThan(10);
    expect((await node.inspect('a')).holders).toEqual([]);
    expect(node.stats()).toMatchObject({ releasedCount: 1_000, heldCount: 0, lostCount: 0 });
  });

  test('lingers for a turn, and then it is free', async () => {
    const { lock, calls } = bench();
    const [node, other] = [lock(), lock()];
    await Promise.all(await takeTurns(node, 3));
    expect(calls).toMatchObject({ acquire: 1, release: 1 });
    expect(await other.tryAcquire('a')).toBeDefined();
  });

  test('its last release is under way until it is free or taken up', async () => {
    const { lock, calls } = bench();
    const node = lock();
    const releases = await takeTurns(node, 2);
    const last = releases[1] ?? Promise.reject(new Error('two tasks'));
    let isTold = false;
    void last.then(() => {
      isTold = true;
    });
    await Promise.resolve();
    await Promise.resolve();
    expect([isTold, calls.release ?? 0]).toEqual([false, 0]);
    expect(await last).toBe('released');
    expect(calls.release).toBe(1);
  });

  test('is lost like any other lease when the backend has ended it', async () => {
    const { lock, calls, faults } = bench();
    const node = lock();
    faults.release = async () => 'lost';
    const releases = await Promise.all(await takeTurns(node, 2));
    expect(releases).toEqual(['released', 'lost']);
    expect(calls.release).toBe(1);
    expect(node.stats()).toMatchObject({ releasedCount: 1, lostCount: 1 });
  });

  test('goes on as soon as somebody elsewhere waits, who is heard of', async () => {
    const { lock, clock, calls } = bench();
    const [node, other] = [lock(), lock()];
    let isOver = false;
    const task = async (): Promise<void> => {
      while (!isOver) {
        await (await node.acquire('a')).release();
        await nextTurn();
      }
    };
    const tasks = [task(), task(), task()];
    for (let turn = 0; turn < 20; turn += 1) await nextTurn();
    expect(calls.watchWaiters).toBe(1);
    const lease = await clock.runUntil(other.acquire('a'));
    isOver = true;
    expect(clock.monotonicMs()).toBe(0);
    await lease.release();
    await clock.runUntil(Promise.all(tasks));
  });

  test('is given up at once by close', async () => {
    const { lock } = bench();
    const [node, other] = [lock(), lock()];
    const releases = await takeTurns(node, 2);
    const closing = node.close();
    expect(await Promise.all(releases)).toEqual(['released', 'released']);
    await closing;
    const lease = other.tryAcquire('a');
    expect(await isSettled(lease)).toBe(true);
    expect(await lease).toBeDefined();
  });
});
