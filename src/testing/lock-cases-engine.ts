import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import { type Random, seededRandom, systemRandom } from '../core/random.js';
import { createLock } from '../lock/create-lock.js';
import type { LockBackend, LockDriver } from '../lock/driver.js';
import type { Lock } from '../lock/lock.js';
import { openLocks } from './lock-cases-storm.js';
import { eventually, PATIENCE_MS, type Stage, type StagedCase, within } from './lock-stage.js';

const TASKS_PER_NODE = 4;
const ROUNDS = 5;
const STORM_MS_MAX = 60_000;
const HOLD_MS_MAX = 2;
/** Long enough for every driver to look who else is there. */
const READ_MS = 90;
const EXPIRY_MS_MAX = 30_000;
const SHARED = { mode: 'shared' } as const;

/** Lets tasks of several nodes do something again and again, each with chance of its own. */
async function storm(
  stage: Stage,
  locks: readonly Lock[],
  round: (lock: Lock, random: Random) => Promise<unknown>,
): Promise<void> {
  const seed = Math.floor(systemRandom.fraction() * 2 ** 31);
  const task = async (lock: Lock, random: Random): Promise<void> => {
    for (let count = 0; count < ROUNDS; count += 1) await round(lock, random);
  };
  const tasks = locks.flatMap((lock, node) =>
    Array.from({ length: TASKS_PER_NODE }, (_, index) =>
      task(lock, seededRandom(seed + node * 31 + index)),
    ),
  );
  await within(STORM_MS_MAX, Promise.all(tasks), `the storm with seed ${seed}`);
  await eventually('nobody holds or waits after the storm', async () => {
    const { holders, waiters } = await (locks[0] as Lock).inspect(stage.resource());
    return holders.length + waiters.length === 0;
  });
}

const pause = (random: Random): Promise<void> =>
  sleep(systemClock, random.fraction() * HOLD_MS_MAX);

const STORMS: readonly StagedCase[] = [
  [
    'in a storm of readers and writers no writer meets anybody, and some become readers',
    async (stage) => {
      const locks = await openLocks(stage, 4);
      const inside = { readers: 0, writers: 0 };
      const read = async (random: Random): Promise<void> => {
        inside.readers += 1;
        assert.equal(inside.writers, 0, 'a reader meets a writer');
        await pause(random);
        inside.readers -= 1;
      };
      await storm(stage, locks, async (lock, random) => {
        if (random.fraction() < 0.6) {
          await lock.withLock(stage.resource(), SHARED, () => read(random));
          return;
        }
        await lock.withLock(stage.resource(), async (lease) => {
          inside.writers += 1;
          assert.deepEqual(inside, { readers: 0, writers: 1 }, 'a writer is alone');
          await pause(random);
          inside.writers -= 1;
          if (random.fraction() < 0.5) return;
          await lease.downgrade();
          await read(random);
        });
      });
    },
    'shared',
  ],
  [
    'in a storm of tasks that count never more permits are out than the capacity',
    async (stage) => {
      const locks = await openLocks(stage, 4);
      let used = 0;
      await storm(stage, locks, async (lock, random) => {
        const permits = 1 + Math.floor(random.fraction() * 3);
        await lock.withLock(stage.resource(), { capacity: 4, permits }, async () => {
          used += permits;
          assert.ok(used <= 4, `${used} of 4 permits are out`);
          await pause(random);
          used -= permits;
        });
      });
    },
    'counting',
  ],
  [
    'in a storm of tasks that take several in any order nobody waits in a circle, and nobody meets anybody',
    async (stage) => {
      const locks = await openLocks(stage, 4);
      const names = ['', ':b', ':c', ':d'].map((suffix) => stage.resource(suffix));
      const inside = new Map<string, number>();
      await storm(stage, locks, async (lock, random) => {
        const wanted = names.filter(() => random.fraction() < 0.6).toReversed();
        if (wanted.length === 0) return;
        await lock.withLock(wanted, async (leases) => {
          for (const name of leases.resources) {
            assert.equal(inside.get(name) ?? 0, 0, `two hold ${name}`);
            inside.set(name, 1);
          }
          await pause(random);
          for (const name of leases.resources) inside.set(name, 0);
        });
      });
    },
  ],
];

/** A driver whose grants are neither renewed nor released any more once `isDead` says so. */
function mortal(driver: LockDriver, isDead: () => boolean): LockDriver {
  const never = (): Promise<never> => new Promise(() => {});
  return {
    backend: driver.backend,
    open(node) {
      const real = driver.open(node);
      const backend: LockBackend = {
        ...real,
        renew: (...args) => (isDead() ? never() : real.renew(...args)),
        release: (...args) => (isDead() ? never() : real.release(...args)),
      };
      return backend;
    },
  };
}

const QUEUEING: readonly StagedCase[] = [
  [
    'readers of one node who follow one another let a writer of another node in',
    async (stage) => {
      const [readers, writers] = (await openLocks(stage, 2)) as [Lock, Lock];
      let isIn = false;
      // Each comes while another one holds, and so they would for ever.
      const read = async (afterMs: number): Promise<void> => {
        await sleep(systemClock, afterMs);
        while (!isIn) {
          await readers.withLock(stage.resource(), SHARED, () => sleep(systemClock, READ_MS));
        }
      };
      const reading = [0, 1, 2].map((place) => read((place * READ_MS) / 3));
      await sleep(systemClock, 3 * READ_MS);
      const writing = writers.withLock(stage.resource(), () => {
        isIn = true;
      });
      await within(PATIENCE_MS, writing, 'the writer').finally(() => {
        isIn = true;
      });
      await within(PATIENCE_MS, Promise.all(reading), 'the readers');
    },
    'shared',
  ],
];

const RETAINED: readonly StagedCase[] = [
  [
    'a lock that is retained is used again without the backend, and given up to the first who asks',
    async (stage) => {
      const [retaining, other] = (await openLocks(stage, 2, { retainMs: 60_000 })) as [Lock, Lock];
      let newest = 0n;
      for (let round = 0; round < 50; round += 1) {
        const lease = await retaining.acquire(stage.resource());
        assert.ok(lease.fencingToken > newest);
        newest = lease.fencingToken;
        await lease.release();
      }
      const { grantedCount, handOffCount } = retaining.stats();
      assert.ok(grantedCount - handOffCount <= 3, 'hardly ever asked for');
      const startedMs = systemClock.monotonicMs();
      const taken = await within(PATIENCE_MS, other.acquire(stage.resource()), 'what is retained');
      const tookMs = systemClock.monotonicMs() - startedMs;
      assert.ok(tookMs < 5_000, `it was given up after ${tookMs.toFixed(0)} ms`);
      assert.ok(taken.fencingToken > newest);
      await taken.release();
    },
  ],
  [
    'a node that died while it retained a lock delays others by its TTL, and no more',
    async (stage) => {
      const { ttlMs } = stage.settings;
      const [other] = (await openLocks(stage, 1)) as [Lock];
      const contender = await stage.contender();
      let isDead = false;
      const lock = createLock({ driver: mortal(contender.driver, () => isDead), nodeId: 'mortal' });
      stage.onEnd(async () => {
        isDead = false;
        await lock.close({ drainMs: 0 });
      });
      const lease = await lock.acquire(stage.resource(), { ttlMs, retainMs: 600_000 });
      await lease.release();
      isDead = true;
      await contender.crash?.();
      const waiting = other.acquire(stage.resource(), { waitMs: EXPIRY_MS_MAX });
      const taken = await within(EXPIRY_MS_MAX, waiting, 'what a dead node retains');
      assert.ok(taken.fencingToken > lease.fencingToken);
    },
  ],
  [
    'what is retained is given up by close',
    async (stage) => {
      const [retaining, other] = (await openLocks(stage, 2, { retainMs: 600_000 })) as [Lock, Lock];
      const lease = await retaining.acquire(stage.resource());
      await lease.release();
      await within(PATIENCE_MS, retaining.close(), 'close');
      await eventually('it is free', async () => {
        const taken = await other.tryAcquire(stage.resource());
        return taken !== undefined;
      });
    },
  ],
];

const OPERATING: readonly StagedCase[] = [
  [
    'whoever is thrown out learns so by its signal, with its next renewal at the latest',
    async (stage) => {
      const [holder, operator] = (await openLocks(stage, 2)) as [Lock, Lock];
      const { ttlMs } = stage.settings;
      const lease = await holder.acquire(stage.resource(), { ttlMs });
      assert.equal(await operator.forceRelease(stage.resource(), { reason: 'stuck' }), 1);
      await eventually('its signal aborts', async () => lease.signal.aborted, 2 * ttlMs);
      assert.ok(isCoordinationError(lease.signal.reason, 'LOCK_LOST'));
      assert.equal(await lease.release(), 'lost');
    },
  ],
  [
    'who watches sees a lock taken and free again',
    async (stage) => {
      const [watcher, holder] = (await openLocks(stage, 2)) as [Lock, Lock];
      const states: string[] = [];
      const done = new AbortController();
      const watching = (async () => {
        for await (const { state } of watcher.watch(stage.resource(), { signal: done.signal })) {
          states.push(state);
        }
      })();
      await eventually('it is seen free', async () => states.length === 1);
      const lease = await holder.acquire(stage.resource());
      await eventually('it is seen held', async () => states.length === 2);
      await lease.release();
      await eventually('it is seen free again', async () => states.length === 3);
      done.abort();
      await within(PATIENCE_MS, watching, 'the end of the watch');
      assert.deepEqual(states, ['free', 'held', 'free']);
    },
  ],
  [
    'one of several candidates leads, and another one after it',
    async (stage) => {
      const locks = await openLocks(stage, 3);
      const terms: bigint[] = [];
      const candidates = locks.map((lock) =>
        lock.elect(stage.resource(), { onElected: (lease) => terms.push(lease.fencingToken) }),
      );
      for (let term = 1; term <= 3; term += 1) {
        await eventually('somebody leads', async () => terms.length === term);
        const leaders = candidates.filter(({ isLeader }) => isLeader);
        assert.equal(leaders.length, 1);
        await within(PATIENCE_MS, leaders[0]?.close() ?? Promise.resolve(), 'its resignation');
      }
      assert.deepEqual(
        terms,
        terms.toSorted((a, b) => (a < b ? -1 : 1)),
      );
    },
  ],
];

/** Sentences about what whole locks make of the driver's finer verbs. */
export const ENGINE_CASES: readonly StagedCase[] = [
  ...STORMS,
  ...QUEUEING,
  ...RETAINED,
  ...OPERATING,
];
