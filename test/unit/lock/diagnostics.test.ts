import { channel, tracingChannel } from 'node:diagnostics_channel';
import type {
  LockAcquireContext,
  LockHandedOverEvent,
  LockLostEvent,
  LockReleasedEvent,
} from 'tricord';
import { afterEach, expect, test } from 'vitest';
import { bench, never } from './support.js';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function listen<Event>(name: string): Event[] {
  const heard: Event[] = [];
  const listener = (message: unknown) => void heard.push(message as Event);
  channel(name).subscribe(listener);
  cleanups.push(() => channel(name).unsubscribe(listener));
  return heard;
}

test('a lost lease is published with its reason, its token and how long it was held', async () => {
  const { lock, clock, faults } = bench();
  const lost = listen<LockLostEvent>('tricord:lock.lost');
  faults.renew = never;
  const lease = await lock().acquire('sku:42', { ttlMs: 1_000 });
  await clock.advance(1_000);
  expect(lost).toEqual([
    {
      resource: 'sku:42',
      owner: 'sku:42@node-1',
      mode: 'exclusive',
      fencingToken: lease.fencingToken,
      heldMs: 988,
      reason: lease.signal.reason,
    },
  ]);
});

test('a withLock whose lease was lost publishes it once, although the body succeeded', async () => {
  const { lock, clock, faults } = bench();
  const lost = listen<LockLostEvent>('tricord:lock.lost');
  faults.renew = never;
  await lock().withLock('a', { ttlMs: 1_000 }, () => clock.advance(2_000));
  expect(lost).toHaveLength(1);
});

test('releases and hand-overs inside the node are published', async () => {
  const { lock, clock } = bench();
  const released = listen<LockReleasedEvent>('tricord:lock.released');
  const handedOver = listen<LockHandedOverEvent>('tricord:lock.handed-over');
  const node = lock();
  const first = await node.acquire('a');
  const second = node.acquire('a');
  await clock.advance(250);
  await first.release();
  const { fencingToken, owner } = await second;
  expect(released).toMatchObject([
    { resource: 'a', fencingToken: first.fencingToken, heldMs: 250 },
  ]);
  expect(handedOver).toEqual([
    { resource: 'a', owner, mode: 'exclusive', fencingToken, waitedMs: 250 },
  ]);
});

test('acquire and release are traced as operations, with their contexts and results', async () => {
  const { lock } = bench();
  const ends: LockAcquireContext[] = [];
  const failures: LockAcquireContext[] = [];
  const subscribers = {
    asyncEnd: (context: unknown) => void ends.push(context as LockAcquireContext),
    error: (context: unknown) => void failures.push(context as LockAcquireContext),
  };
  for (const name of ['tricord:lock.acquire', 'tricord:lock.release']) {
    tracingChannel(name).subscribe(subscribers as never);
    cleanups.push(() => void tracingChannel(name).unsubscribe(subscribers as never));
  }
  const node = lock();
  const lease = await node.acquire('a', { ttlMs: 1_000, waitMs: 50 });
  await node.tryAcquire('a');
  await expect(node.acquire('a', { waitMs: 0 })).rejects.toThrow();
  await lease.release();
  const common = { resource: 'a', owner: 'a@node-1', backend: 'memory' };
  expect(ends).toMatchObject([
    { ...common, ttlMs: 1_000, waitMs: 50, result: lease },
    { ...common, waitMs: 0, result: undefined },
    { ...common, waitMs: 0, result: undefined },
    { ...common, fencingToken: lease.fencingToken, result: 'released' },
  ]);
  expect(failures).toEqual([]);
});

test('stats tell waits, holds, hand-offs and losses', async () => {
  const { lock, clock, faults } = bench();
  const node = lock();
  for (let index = 0; index < 100; index += 1) {
    const first = await node.acquire('a');
    const second = node.acquire('a');
    await clock.advance(index < 98 ? 10 : 1_000);
    await first.release();
    await (await second).release();
  }
  faults.renew = never;
  const lost = await node.acquire('b', { ttlMs: 500 });
  const held = await node.acquire('c');
  const waits = node.acquire('c');
  await clock.advance(500);
  const stats = node.stats();
  expect(stats).toMatchObject({
    ...{ grantedCount: 202, handOffCount: 100, releasedCount: 200, lostCount: 1 },
    ...{ heldCount: 1, waitingCount: 1, timeoutCount: 0, refusedCount: 0 },
  });
  expect(stats.waitMs).toMatchObject({ count: 202, max: 1_000 });
  expect(stats.waitMs.p99).toBeGreaterThan(9);
  expect(lost.isHeld).toBe(false);
  await held.release();
  await waits;
});
