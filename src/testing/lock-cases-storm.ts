import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import { type Random, seededRandom, systemRandom } from '../core/random.js';
import { createLock } from '../lock/create-lock.js';
import type { Lock } from '../lock/lock.js';
import type { LockOptions } from '../lock/options.js';
import { type LockEvent, lockViolations } from './lock-history.js';
import { eventually, PATIENCE_MS, type Stage, type StagedCase, within } from './lock-stage.js';

const TASKS_PER_NODE = 4;
const ROUNDS = 6;
const HOLD_MS_MAX = 2;
const STORM_MS_MAX = 60_000;

/** Locks of so many nodes, each on a driver of its own. */
export async function openLocks(
  stage: Stage,
  count: number,
  options?: Partial<LockOptions>,
): Promise<Lock[]> {
  const numbers = Array.from({ length: count }, (_, index) => index);
  return Promise.all(
    numbers.map(async (number) => {
      const { driver } = await stage.contender();
      const lock = createLock({
        driver,
        nodeId: `storm-${number}`,
        waitMs: STORM_MS_MAX,
        ...options,
      });
      stage.onEnd(() => lock.close({ drainMs: 0 }));
      return lock;
    }),
  );
}

/** Takes the resource again and again, gives up now and then, and writes down what it saw. */
async function contend(lock: Lock, resource: string, random: Random, history: LockEvent[]) {
  for (let round = 0; round < ROUNDS; round += 1) {
    const gaveUp = new AbortController();
    const isImpatient = random.fraction() < 0.2;
    if (isImpatient) {
      systemClock.schedule(random.fraction() * 10, () => gaveUp.abort(new Error('impatient')));
    }
    const asked = lock.acquire(resource, { signal: gaveUp.signal });
    const lease = isImpatient ? await asked.catch(() => undefined) : await asked;
    if (lease === undefined) continue;
    const entry = { resource, fencingToken: lease.fencingToken, owner: lock.nodeId };
    history.push({ event: 'enter', ...entry });
    await sleep(systemClock, random.fraction() * HOLD_MS_MAX);
    history.push({ event: 'leave', ...entry, wasHeld: lease.isHeld });
    await lease.release();
  }
}

/** Sentences about whole locks on the driver, rather than about its backend alone. */
export const STORM_CASES: readonly StagedCase[] = [
  [
    'in a storm of 64 tasks on many nodes nobody meets anybody, tokens increase, and nothing is left',
    async (stage) => {
      const seed = Math.floor(systemRandom.fraction() * 2 ** 31);
      const locks = await openLocks(stage, stage.settings.stormNodeCount);
      const history: LockEvent[] = [];
      const tasks = locks.flatMap((lock, node) =>
        Array.from({ length: TASKS_PER_NODE }, (_, task) =>
          contend(lock, stage.resource(), seededRandom(seed + node * 31 + task), history),
        ),
      );
      await within(STORM_MS_MAX, Promise.all(tasks), `the storm with seed ${seed}`);
      assert.deepEqual(lockViolations(history), [], `violations with seed ${seed}`);
      await eventually('nobody holds or waits after the storm', async () => {
        const [first] = locks as [Lock];
        const { holders, waiters } = await first.inspect(stage.resource());
        return holders.length + waiters.length === 0;
      });
    },
  ],
  [
    'closing a lock frees what it held and leaves the lines in which it stood',
    async (stage) => {
      const [closing, staying] = (await openLocks(stage, 2)) as [Lock, Lock];
      const lease = await closing.acquire(stage.resource(':a'));
      const kept = await staying.acquire(stage.resource(':b'));
      const waits = closing.acquire(stage.resource(':b'));
      waits.catch(() => {});
      await within(PATIENCE_MS, closing.close({ drainMs: 20 }), 'close');
      assert.ok(lease.signal.aborted && !lease.isHeld);
      await assert.rejects(waits, (error) => isCoordinationError(error, 'CLOSED'));
      await eventually('the line is left', async () => {
        const { waiters } = await staying.inspect(stage.resource(':b'));
        return waiters.length === 0;
      });
      await within(PATIENCE_MS, staying.acquire(stage.resource(':a')), 'what was freed');
      assert.equal(await kept.release(), 'released');
    },
  ],
  [
    'a lease outlives many TTLs while it is renewed in the background',
    async (stage) => {
      const [holder, other] = (await openLocks(stage, 2)) as [Lock, Lock];
      const { ttlMs } = stage.settings;
      const lease = await holder.acquire(stage.resource(), { ttlMs });
      const untilMs = systemClock.monotonicMs() + 3 * ttlMs;
      while (systemClock.monotonicMs() < untilMs) {
        assert.equal(await other.tryAcquire(stage.resource()), undefined);
        lease.assertHeld();
        await sleep(systemClock, ttlMs / 4);
      }
      assert.equal(await lease.release(), 'released');
    },
  ],
];
