import { isCoordinationError, type RenewReply } from 'tricord';
import { expect, test } from 'vitest';
import { bench, never } from './support.js';

const unanswered = (grants: readonly unknown[]): RenewReply[] =>
  grants.map(() => ({ state: 'unknown', cause: new Error('cut') }));

test('an extension to a shorter TTL whose reply is lost counts: the lease ends before it would end there', async () => {
  const { lock, clock, faults } = bench();
  const [node, other] = [lock(), lock()];
  // A backend that cannot tell when a grant has ended there: the engine gets another object than it.
  faults.acquire = async (real, request) => {
    const grant = await real(request);
    return grant && { ...grant };
  };
  const lease = await node.acquire('a', { ttlMs: 30_000 });
  // It was done there, and the reply is lost, as are those of all renewals after it.
  faults.renew = async (real, ...args) => {
    await real(...args);
    return unanswered(args[0]);
  };
  await expect(lease.extend(1_000)).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  await clock.advance(1_000);
  expect(lease.isHeld).toBe(false);
  expect(lease.signal.reason).toSatisfy((error) => isCoordinationError(error, 'LOCK_LOST'));
  expect(await other.tryAcquire('a')).toBeDefined();
});

test('an extension to a shorter TTL counts from its sending, while its reply is under way', async () => {
  const { lock, clock, faults } = bench();
  const lease = await lock().acquire('a', { ttlMs: 30_000, renew: false });
  faults.renew = never;
  lease.extend(1_000).catch(() => {});
  await clock.advance(1_000);
  expect(lease.isHeld).toBe(false);
});

test('a renewal that the task before had begun does not count as the next one’s', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  const first = await node.acquire('a', { ttlMs: 1_000 });
  const waits = node.acquire('a', { ttlMs: 10_000, renew: false });
  let reply = (): void => {};
  faults.renew = async (real, ...args) => {
    const replies = await real(...args);
    await new Promise<void>((resolve) => {
      reply = resolve;
    });
    return replies;
  };
  await clock.advance(400);
  await first.release();
  const second = await waits;
  delete faults.renew;
  reply();
  await clock.advance(5_000);
  expect(second.isHeld).toBe(true);
  await clock.advance(5_000);
  expect(second.isHeld).toBe(false);
});

test('the cost of a renewal does not grow with the number of leases that are held', async () => {
  const { lock, clock, calls } = bench();
  const node = lock();
  for (let index = 0; index < 2_000; index += 1) {
    await node.acquire(`idle:${index}`, { ttlMs: 3_600_000 });
  }
  let reads = 0;
  const monotonicMs = (): number => {
    reads += 1;
    return clock.monotonicMs();
  };
  const counting = { ...clock, monotonicMs };
  const watched = lock({ clock: counting });
  for (let index = 0; index < 2_000; index += 1) {
    await watched.acquire(`held:${index}`, { ttlMs: 3_600_000 });
  }
  await watched.acquire('busy', { ttlMs: 3_000 });
  reads = 0;
  await clock.advance(60_000);
  expect(calls.renew).toBeGreaterThanOrEqual(60);
  expect(reads / (calls.renew ?? 1)).toBeLessThan(100);
});

test('closing waits for the body of withLock whose lease was lost', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  faults.renew = never;
  let isDone = false;
  const working = node.withLock('a', { ttlMs: 1_000 }, async () => {
    await new Promise<void>((resolve) => void clock.schedule(3_000, resolve));
    isDone = true;
  });
  await clock.advance(2_000);
  await clock.runUntil(node.close({ drainMs: 5_000 }));
  expect(isDone).toBe(true);
  expect(clock.monotonicMs()).toBeLessThanOrEqual(3_001);
  await working;
});

test('closing waits for such a body no longer than it was told', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  faults.renew = never;
  node.withLock('a', { ttlMs: 1_000 }, never).catch(() => {});
  await clock.advance(2_000);
  await clock.runUntil(node.close({ drainMs: 500 }));
  expect(clock.monotonicMs()).toBe(2_500);
});

test('a grant that arrives while the lock closes is given back before the driver is closed', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  const order: string[] = [];
  const later = (ms: number) => new Promise<void>((resolve) => void clock.schedule(ms, resolve));
  faults.acquire = async (real, request) => {
    const grant = await real({ ...request, signal: new AbortController().signal });
    await later(300);
    return grant;
  };
  faults.release = async (real, ...args) => {
    await later(100);
    order.push('released');
    return real(...args);
  };
  faults.close = async (real) => {
    order.push('closed');
    return real();
  };
  const waits = node.acquire('a');
  waits.catch(() => {});
  await clock.settle();
  await clock.runUntil(node.close({ drainMs: 0 }));
  await expect(waits).rejects.toMatchObject({ code: 'CLOSED' });
  expect(order).toEqual(['released', 'closed']);
});
