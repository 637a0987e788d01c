import { createLock } from 'tricord';
import { memoryLock } from 'tricord/memory';
import { type ChaosFaults, chaos, virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';

/** A lease of 900 ms without renewal, out of a grant of 60 s that another task of the node had. */
async function handedOver(renew: ChaosFaults, seed = 1) {
  const clock = virtualClock();
  const driver = chaos({ seed, clock, faults: {}, operations: { renew } }).lock(
    memoryLock({ clock }),
  );
  const lock = createLock({ driver, clock });
  const first = await lock.acquire('a', { ttlMs: 60_000 });
  const waits = lock.acquire('a', { ttlMs: 900, renew: false });
  await clock.settle();
  await first.release();
  return { clock, lock, lease: await waits };
}

test('a lease that is not renewed ends after its own TTL, also when it was handed over', async () => {
  // The renewal that shortens the grant is answered, or lost and sent again, or takes its time.
  const weathers = [{}, { loseReply: 1 }, { loseRequest: 0.6 }, { delay: 1, delayMsMax: 60_000 }];
  for (const renew of weathers) {
    for (let seed = 1; seed <= 10; seed += 1) {
      const { clock, lease } = await handedOver(renew, seed);
      await clock.advance(800);
      expect(lease.isHeld).toBe(true);
      await clock.advance(100);
      expect(lease.isHeld, `seed ${seed} of ${JSON.stringify(renew)}`).toBe(false);
      expect(lease.signal.aborted).toBe(true);
      expect(await clock.runUntil(lease.release())).toBe('lost');
    }
  }
});

test('and lasts for longer when it is extended', async () => {
  const { clock, lease } = await handedOver({});
  await clock.advance(500);
  await lease.extend(900);
  await clock.advance(800);
  expect(lease.isHeld).toBe(true);
  await clock.advance(100);
  expect(lease.isHeld).toBe(false);
});
