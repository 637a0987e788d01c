import { createLock } from 'tricord';
import { memoryLock } from 'tricord/memory';
import { chaos, virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';

/** A lease of 100 ms without renewal, out of a grant of 60 s that another task of the node had. */
async function handedOver(renew: { loseReply?: number }) {
  const clock = virtualClock();
  const driver = chaos({ clock, faults: {}, operations: { renew } }).lock(memoryLock({ clock }));
  const lock = createLock({ driver, clock });
  const first = await lock.acquire('a', { ttlMs: 60_000 });
  const waits = lock.acquire('a', { ttlMs: 100, renew: false });
  await clock.settle();
  await first.release();
  return { clock, lock, lease: await waits };
}

test('a lease that is not renewed ends after its own TTL, also when it was handed over', async () => {
  for (const renew of [{}, { loseReply: 1 }]) {
    const { clock, lease } = await handedOver(renew);
    await clock.advance(90);
    expect(lease.isHeld).toBe(true);
    await clock.advance(10);
    expect(lease.isHeld).toBe(false);
    expect(lease.signal.aborted).toBe(true);
    expect(await lease.release()).toBe('lost');
  }
});

test('and lasts for longer when it is extended', async () => {
  const { clock, lease } = await handedOver({});
  await clock.advance(50);
  await lease.extend(500);
  await clock.advance(400);
  expect(lease.isHeld).toBe(true);
  await clock.advance(100);
  expect(lease.isHeld).toBe(false);
});
