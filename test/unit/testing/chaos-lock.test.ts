// Locks in seeded bad weather, on memory and a virtual clock: hours of faults in seconds.

import { createLock, isCoordinationError, type Lock, seededRandom } from 'tricord';
import { memoryLock } from 'tricord/memory';
import {
  type ChaosOptions,
  chaos,
  checkHistory,
  recordHistory,
  type VirtualClock,
  virtualClock,
} from 'tricord/testing';
import { describe, expect, test } from 'vitest';
import { sleep } from '../../../src/core/abort.js';
import type { Random } from '../../../src/core/random.js';

const SEED = Number(process.env.TRICORD_SEED ?? Math.floor(Math.random() * 2 ** 31));
const SEEDS = Array.from({ length: 8 }, (_, index) => (SEED + index) % 2 ** 32);
const TTL_MS = 1_000;
/** A storm takes a tenth of a second; on a machine that does other things, longer. */
const PATIENCE = { timeout: 120_000 };
const RESOURCES = ['a', 'b'];
const COUNTED = 'c';

interface Taken {
  readonly isHeld: boolean;
  release(): Promise<unknown>;
}

/** What a task may ask for: alone, with others, permits, several at once, or to read after writing. */
async function take(lock: Lock, random: Random, signal: AbortSignal): Promise<Taken> {
  const resource = RESOURCES[Math.floor(random.fraction() * RESOURCES.length)] ?? '';
  const options = { ttlMs: TTL_MS, waitMs: 60_000, signal };
  const dice = random.fraction();
  if (dice < 0.5) return lock.acquire(resource, options);
  if (dice < 0.7) return lock.acquire(resource, { ...options, mode: 'shared' });
  if (dice < 0.8) return lock.acquire(COUNTED, { ...options, permits: 2, capacity: 3 });
  if (dice < 0.9) return lock.acquire(RESOURCES, options);
  const writer = await lock.acquire(resource, options);
  return writer.downgrade().catch(() => writer);
}

/** One task: takes, looks, releases, gives up now and then, and survives every coded error. */
async function contend(lock: Lock, clock: VirtualClock, random: Random): Promise<number> {
  let granted = 0;
  for (let round = 0; round < 15; round += 1) {
    const gaveUp = new AbortController();
    if (random.fraction() < 0.2) {
      clock.schedule(random.fraction() * 100, () => gaveUp.abort(new Error('impatient')));
    }
    const lease = await take(lock, random, gaveUp.signal).catch((error: unknown) => {
      if (!gaveUp.signal.aborted && !isCoordinationError(error)) throw error;
      return undefined;
    });
    if (lease === undefined) continue;
    granted += 1;
    for (let looks = 0; looks < 3 && lease.isHeld; looks += 1) {
      await sleep(clock, random.fraction() * 200);
    }
    await lease.release();
  }
  return granted;
}

/** Four nodes with three tasks each in one weather, until all is quiet again. */
async function storm(seed: number, options: ChaosOptions) {
  const clock = virtualClock();
  const weather = chaos({ seed, clock, ...options });
  const driver = memoryLock({ clock });
  const recorder = recordHistory({ clock });
  const stormy = weather.lock(driver);
  const locks = [0, 1, 2, 3].map((node) =>
    createLock({ driver: stormy, nodeId: `n${node}`, clock, retainMs: node % 2 === 0 ? 0 : 300 }),
  );
  const tasks = locks.flatMap((lock, node) =>
    [0, 1, 2].map((task) => {
      const random = seededRandom(seed + 100 * node + task);
      return contend(recorder.lock(lock), clock, random);
    }),
  );
  const work = Promise.all(tasks);
  // Order and wake-ups are not promised while calls are lost.
  recorder.fault({ fault: 'chaos', target: 'backend', untilMs: Number.MAX_SAFE_INTEGER });
  const granted = await clock.runUntil(work, { limitMs: 24 * 3_600_000 });
  weather.calm();
  await clock.advance(10 * TTL_MS);
  const observer = createLock({ driver, nodeId: 'observer', clock });
  for (const resource of [...RESOURCES, COUNTED])
    recorder.quiesce(await observer.inspect(resource));
  await Promise.all([...locks, observer].map((lock) => clock.runUntil(lock.close({ drainMs: 0 }))));
  const grantCount = granted.reduce((sum, count) => sum + count, 0);
  return { recorder, weather, clock, grantCount };
}

test.each(SEEDS)(
  'in bad weather with seed %i no lock violates its history',
  PATIENCE,
  async (seed) => {
    const { recorder, weather, grantCount, clock } = await storm(seed, {});
    expect(checkHistory(recorder.events), `seed ${seed}`).toEqual([]);
    expect(grantCount, `seed ${seed}`).toBeGreaterThan(40);
    for (const [fault, count] of Object.entries(weather.counts)) {
      if (fault !== 'loseHint') expect(count, fault).toBeGreaterThan(0);
    }
    expect(clock.timerCount, 'timers that stay').toBe(0);
  },
);

test('renewals whose answers are all lost end leases by their own deadline', PATIENCE, async () => {
  const operations = { renew: { loseReply: 1 } };
  const { recorder } = await storm(SEED, { faults: {}, operations });
  expect(checkHistory(recorder.events)).toEqual([]);
});

describe('a seed', PATIENCE, () => {
  const outcomes = async (seed: number): Promise<string> => {
    const { recorder } = await storm(seed, {});
    return JSON.stringify(recorder.events.map(({ event, at }) => `${event} ${at.toFixed(3)}`));
  };
  test('means the same faults at the same times', async () => {
    expect(await outcomes(7)).toBe(await outcomes(7));
  });
  test('another one means others', async () => {
    expect(await outcomes(7)).not.toBe(await outcomes(8));
  });
});

describe('single faults', () => {
  const open = (options: ChaosOptions) => {
    const clock = virtualClock();
    const weather = chaos({ clock, ...options });
    const driver = memoryLock({ clock });
    const stormy = createLock({ driver: weather.lock(driver), nodeId: 'stormy', clock });
    const observer = createLock({ driver, nodeId: 'observer', clock });
    return { clock, weather, stormy, observer };
  };

  test('a refused request is BACKEND_UNAVAILABLE and was never sent', async () => {
    const { stormy, observer, weather } = open({
      faults: {},
      operations: { acquire: { refuse: 1 } },
    });
    await expect(stormy.tryAcquire('a')).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    expect((await observer.inspect('a')).holders).toEqual([]);
    expect(weather.counts.refuse).toBe(1);
  });

  test('a lost reply is RESULT_UNKNOWN, and nothing of it stays', async () => {
    const { stormy, observer, clock } = open({
      ...{ faults: {}, operations: { acquire: { loseReply: 1 } } },
    });
    await expect(stormy.tryAcquire('a')).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
    await clock.settle();
    expect((await observer.inspect('a')).holders).toEqual([]);
  });

  test('a release whose reply was lost has released all the same', async () => {
    const { stormy, observer, clock } = open({
      ...{ faults: {}, operations: { release: { loseRequest: 1 } } },
    });
    const lease = await stormy.acquire('a');
    await clock.runUntil(lease.release());
    await clock.settle();
    expect((await observer.inspect('a')).holders).toEqual([]);
  });

  test('a duplicated request is sent twice and answered once', async () => {
    const { stormy, weather } = open({ faults: { duplicate: 1 } });
    const lease = await stormy.acquire('a');
    expect(await lease.release()).toMatch(/released|lost/);
    expect(weather.counts.duplicate).toBeGreaterThan(0);
  });

  test('calm lets go of what is held back and breaks nothing any more', async () => {
    const { stormy, weather, clock } = open({ faults: { delay: 1, delayMsMax: 3_600_000 } });
    const asked = stormy.acquire('a');
    await clock.settle();
    weather.calm();
    await clock.settle();
    expect((await asked).isHeld).toBe(true);
    expect(clock.monotonicMs()).toBe(0);
    weather.rage();
    const again = expect(stormy.tryAcquire('b')).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    await clock.runUntil(again);
  });

  test('a probability above 1 and a seed that is none are refused', () => {
    expect(() => chaos({ faults: { delay: 1.5 } })).toThrow(TypeError);
    expect(() => chaos({ operations: { renew: { refuse: -1 } } })).toThrow(TypeError);
    expect(() => chaos({ seed: 1.5 })).toThrow(TypeError);
  });
});
