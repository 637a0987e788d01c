// Transactions and caches in seeded bad weather, on memory.

import { createCache, createTransactionCoordinator } from 'tricord';
import { memoryParticipant, memoryTransactions } from 'tricord/memory';
import { chaos, virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { sharedMemory } from '../cache/shared-memory.js';

const SEED = Number(process.env.TRICORD_SEED ?? Math.floor(Math.random() * 2 ** 31));
const TRANSFERS = 60;

test(`transfers in bad weather with seed ${SEED} neither make nor lose money`, async () => {
  const clock = virtualClock();
  const weather = chaos({ seed: SEED, clock });
  const [left, right] = [memoryParticipant({ name: 'left' }), memoryParticipant({ name: 'right' })];
  left.load({ money: 1_000 });
  right.load({ money: 0 });
  const [from, to] = [weather.participant(left), weather.participant(right)];
  const log = weather.decisionLog(memoryTransactions());
  const coordinator = createTransactionCoordinator({ log, participants: [from, to], clock });
  const outcomes: string[] = [];
  for (let transfer = 0; transfer < TRANSFERS; transfer += 1) {
    const run = coordinator.run({ resourceId: 'money', timeoutMs: 5_000 }, async (tx) => {
      await (await tx.enlist(from)).increment('money', -1);
      await (await tx.enlist(to)).increment('money', 1);
    });
    const outcome = await clock.runUntil(run.catch(() => ({ state: 'not begun' }) as const));
    outcomes.push(outcome.state);
  }
  weather.calm();
  await clock.advance(120_000);
  await clock.runUntil(coordinator.recover());
  await clock.runUntil(coordinator.close({ drainMs: 0 }));
  const moved = Number(right.read('money'));
  expect(Number(left.read('money')) + moved, `seed ${SEED}`).toBe(1_000);
  const certain = outcomes.filter((state) => state === 'committed').length;
  const open = outcomes.filter((state) => state === 'in-doubt').length;
  expect(moved, `seed ${SEED}: ${outcomes}`).toBeGreaterThanOrEqual(certain);
  expect(moved, `seed ${SEED}: ${outcomes}`).toBeLessThanOrEqual(certain + open);
  expect(certain, `seed ${SEED}`).toBeGreaterThan(5);
});

test(`a cache in bad weather with seed ${SEED} answers with what was loaded`, async () => {
  const clock = virtualClock();
  const weather = chaos({ seed: SEED, clock });
  const driver = weather.cache(sharedMemory(clock));
  const caches = [0, 1].map(() =>
    createCache<string>({ name: 'c', tiers: [driver], ttlMs: 60_000, clock }),
  );
  for (let round = 0; round < 200; round += 1) {
    const key = `k${round % 7}`;
    const [cache] = caches.slice(round % 2) as [(typeof caches)[number]];
    const value = await clock.runUntil(cache.getOrLoad(key, async () => `${key}!`));
    expect(value).toBe(`${key}!`);
  }
  expect(weather.counts.loseReply).toBeGreaterThan(0);
  weather.calm();
  await Promise.all(caches.map((cache) => clock.runUntil(cache.close())));
});
