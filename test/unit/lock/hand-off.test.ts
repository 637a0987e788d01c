import type { Lease } from 'tricord';
import { expect, test } from 'vitest';
import { bench, isSettled } from './support.js';

test('tasks of one node take turns without asking the backend, each with a higher token', async () => {
  const { lock, clock, calls } = bench();
  const node = lock();
  const order: number[] = [];
  const tokens: bigint[] = [];
  const task = (id: number) =>
    node.withLock('a', (lease) => {
      order.push(id);
      tokens.push(lease.fencingToken);
    });
  await clock.runUntil(Promise.all(Array.from({ length: 500 }, (_, id) => task(id))));
  expect(order).toEqual(Array.from({ length: 500 }, (_, id) => id));
  expect(tokens).toEqual(Array.from(new Set(tokens)).sort((a, b) => (a < b ? -1 : 1)));
  expect(calls).toMatchObject({ acquire: 1, release: 1 });
  expect(calls.reserveTokens).toBeLessThan(5);
  expect(node.stats()).toMatchObject({ grantedCount: 500, handOffCount: 499, releasedCount: 500 });
});

/** Keeps a node busy with itself, and tells how often it was served before another node was. */
async function turnsBeforeOther(localHandoffs: number | undefined, holdMs: number) {
  const { lock, clock } = bench();
  const [busy, other] = [lock({ localHandoffs, ttlMs: 30_000 }), lock()];
  const first = await busy.acquire('a');
  let turns = 0;
  let served = false;
  const work = async (): Promise<void> => {
    while (!served) {
      await busy.withLock('a', { waitMs: 600_000 }, async () => {
        turns += 1;
        await new Promise<void>((resolve) => void clock.schedule(holdMs, resolve));
      });
    }
  };
  const working = [work(), work(), work()];
  const waits = other.acquire('a', { waitMs: 600_000 });
  await clock.settle();
  await first.release();
  const lease = await clock.runUntil(waits);
  served = true;
  const servedAfter = { turns, ms: clock.monotonicMs() };
  await lease.release();
  await clock.runUntil(Promise.all(working));
  return servedAfter;
}

test('while another node waits, 16 tasks are served here before it gets its turn', async () => {
  expect(await turnsBeforeOther(undefined, 1)).toMatchObject({ turns: 16 });
});

test('localHandoffs: 0 gives the turn away as soon as another node waits', async () => {
  expect(await turnsBeforeOther(0, 1)).toMatchObject({ turns: 0 });
});

test('another node waits no longer than half a lease and one hold', async () => {
  const { turns, ms } = await turnsBeforeOther(1_000_000, 4_000);
  expect(turns).toBe(4);
  expect(ms).toBe(16_000);
});

test('the node that gave its turn away stands in line again, behind the other', async () => {
  const { lock, clock } = bench();
  const [busy, other] = [lock({ localHandoffs: 0 }), lock()];
  const first = await busy.acquire('a');
  const second = busy.acquire('a');
  const waits = other.acquire('a');
  await clock.settle();
  await first.release();
  const theirs = await waits;
  expect(await isSettled(second)).toBe(false);
  await theirs.release();
  expect((await second).fencingToken > theirs.fencingToken).toBe(true);
});

test('a renewal that tells of waiters elsewhere counts when the notice of them was lost', async () => {
  const { lock, clock, faults } = bench();
  faults.acquire = async (real, request) => {
    const grant = await real(request);
    // Notices to this holder are lost: whoever sets the listener sets it in vain.
    return grant === undefined
      ? undefined
      : Object.defineProperty({ ...grant }, 'onWaiters', { set() {} });
  };
  const [busy, other] = [lock({ localHandoffs: 0, ttlMs: 3_000 }), lock()];
  const first = await busy.acquire('a');
  const second = busy.acquire('a');
  const waits = other.acquire('a');
  await clock.advance(1_000);
  await first.release();
  await clock.settle();
  expect(await isSettled(waits)).toBe(true);
  expect(await isSettled(second)).toBe(false);
  await (await waits).release();
  await second;
});

test('a grant that is handed over is brought to the next task’s TTL at once', async () => {
  const { lock, clock, calls } = bench();
  const node = lock();
  const first = await node.acquire('a', { ttlMs: 1_000 });
  const second = node.acquire('a', { ttlMs: 60_000, renew: false });
  const third = node.acquire('a', { ttlMs: 60_000, waitMs: 90_000 });
  await clock.settle();
  await first.release();
  const lease = await second;
  await clock.settle();
  await clock.advance(1);
  expect(calls.renew).toBe(1);
  expect(lease.remainingMs).toBeGreaterThan(59_000);
  await clock.advance(40_000);
  expect(calls.renew).toBe(1);
  await lease.release();
  expect((await third).isHeld).toBe(true);
  await clock.advance(120_000);
  expect((await third).isHeld).toBe(true);
});

test('tasks that give up while they queue are skipped', async () => {
  const { lock, clock } = bench();
  const node = lock();
  const first = await node.acquire('a');
  const controller = new AbortController();
  const impatient = node.acquire('a', { signal: controller.signal });
  impatient.catch(() => {});
  const patient = node.acquire('a');
  await clock.settle();
  controller.abort(new Error('enough'));
  await first.release();
  expect((await patient).isHeld).toBe(true);
  await expect(impatient).rejects.toThrow('enough');
});

test('when nobody here waits any more, the request to the backend is given up too', async () => {
  const { lock, clock } = bench();
  const [holder, node] = [lock(), lock()];
  const held = await holder.acquire('a');
  const waits = [500, 700].map((waitMs) => node.acquire('a', { waitMs }));
  for (const wait of waits) wait.catch(() => {});
  await clock.advance(600);
  expect((await holder.inspect('a')).waiters).toHaveLength(1);
  await clock.advance(200);
  expect((await holder.inspect('a')).waiters).toEqual([]);
  await held.release();
  expect(node.stats()).toMatchObject({ timeoutCount: 2, waitingCount: 0 });
});

test('without tokens to hand over, the lock is released and asked for anew', async () => {
  const { lock, clock, faults, calls } = bench();
  faults.reserveTokens = () => Promise.reject(new Error('unreachable'));
  const node = lock();
  const tokens: bigint[] = [];
  const tasks = Array.from({ length: 5 }, () =>
    node.withLock('a', async (lease: Lease) => {
      tokens.push(lease.fencingToken);
      await clock.settle();
    }),
  );
  await clock.runUntil(Promise.all(tasks));
  expect(tokens).toEqual(tokens.toSorted((a, b) => (a < b ? -1 : 1)));
  expect(calls.acquire).toBeGreaterThan(1);
  expect(calls.reserveTokens).toBeLessThanOrEqual(calls.acquire);
});

test('an error of the backend reaches everybody who relied on that request, and nobody later', async () => {
  const { lock, clock, faults } = bench();
  const failure = new Error('backend is down');
  faults.acquire = async () => {
    await new Promise<void>((resolve) => void clock.schedule(10, resolve));
    throw failure;
  };
  const node = lock();
  const waits = [node.acquire('a'), node.acquire('a'), node.tryAcquire('b')];
  for (const wait of waits) wait.catch(() => {});
  await clock.advance(10);
  for (const wait of waits) await expect(wait).rejects.toBe(failure);
  delete faults.acquire;
  expect(await node.acquire('a')).toBeDefined();
  expect(node.stats()).toMatchObject({ failedCount: 3, grantedCount: 1 });
});

test('a tryAcquire beside tasks that wait is refused without a request', async () => {
  const { lock, clock, calls } = bench();
  const [holder, node] = [lock(), lock()];
  const held = await holder.acquire('a');
  const waits = node.acquire('a');
  await clock.settle();
  const requests = calls.acquire;
  expect(await node.tryAcquire('a')).toBeUndefined();
  expect(calls.acquire).toBe(requests);
  await held.release();
  await waits;
  expect(node.stats().refusedCount).toBe(1);
});

test('a task that waits behind a tryAcquire is not refused with it', async () => {
  const { lock, clock } = bench();
  const [holder, node] = [lock(), lock()];
  const held = await holder.acquire('a');
  const tried = node.tryAcquire('a');
  const waits = node.acquire('a');
  expect(await tried).toBeUndefined();
  await clock.settle();
  await held.release();
  expect((await waits).isHeld).toBe(true);
});

test('a tryAcquire whose answer does not come ends as a wait does', async () => {
  const { lock, clock, faults } = bench();
  faults.acquire = () => new Promise(() => {});
  const tried = lock({ waitMs: 3_000 }).tryAcquire('a');
  tried.catch(() => {});
  await clock.advance(3_000);
  await expect(tried).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
});
