import assert from 'node:assert/strict';
import { systemClock } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import type { Grant, LockInspection } from '../lock/driver.js';
import {
  eventually,
  granted,
  PATIENCE_MS,
  type Stage,
  type StagedCase,
  type StagedNode,
  standInLine,
  within,
} from './lock-stage.js';

const EXPIRY_MS_MAX = 30_000;

async function listed(node: StagedNode, prefix: string, limit?: number): Promise<LockInspection[]> {
  const found: LockInspection[] = [];
  for await (const inspected of node.backend.list(prefix, { limit })) found.push(inspected);
  return found;
}

const LISTING: readonly StagedCase[] = [
  [
    'list shows what begins with a prefix and is held or waited for, each once, and nothing else',
    async (stage) => {
      const [one, other] = await stage.pair();
      const names = [':a/1', ':a/2', ':a/é*', ':b'].map((suffix) => stage.resource(suffix));
      const grants = await Promise.all(names.map((name) => one.acquire(name)));
      await standInLine(other, names[0] as string, 1);
      await one.backend.release(grants[1] as Grant);
      const found = await listed(other, stage.resource(':a/'));
      assert.deepEqual(
        found.map(({ resource }) => resource).toSorted(),
        [names[0], names[2]].toSorted(),
      );
      const first = found.find(({ resource }) => resource === names[0]);
      assert.equal(first?.holders[0]?.grantId, grants[0]?.grantId);
      assert.equal(first?.waiters.length, 1);
      assert.deepEqual(await listed(other, stage.resource(':none')), []);
    },
  ],
  [
    'list ends at its limit, and takes the prefix as it is written, without patterns',
    async (stage) => {
      const [one] = await stage.pair();
      const names = Array.from({ length: 7 }, (_, index) => stage.resource(`*[?]:${index}`));
      await Promise.all(names.map((name) => one.acquire(name)));
      await one.acquire(stage.resource('xyz'));
      assert.equal((await listed(one, stage.resource('*[?]:'))).length, 7);
      assert.equal((await listed(one, stage.resource('*'), 3)).length, 3);
    },
  ],
];

/** Waits until the holder heard, or was told by its renewal, that its grant is gone. */
function hears(node: StagedNode, grant: Grant): Promise<void> {
  return eventually('the holder hears of it', async () => {
    if (grant.loss !== undefined) return true;
    const [reply] = await node.backend.renew([grant], [30_000]);
    return reply?.state === 'lost';
  });
}

const FORCING: readonly StagedCase[] = [
  [
    'a forced release ends the grant, tells its holder why, and hands over to the next in line',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const grant = await one.acquire(stage.resource());
      const next = await standInLine(second, stage.resource(), 1);
      const ended = await third.backend.forceRelease(stage.resource(), 'stuck since Monday');
      assert.equal(ended, 1);
      const taken = await granted(next);
      assert.ok((taken.fencingToken ?? 0n) > (grant.fencingToken ?? 0n));
      await hears(one, grant);
      if (grant.loss !== undefined) {
        const { reason } = grant.loss;
        assert.ok(isCoordinationError(reason, 'LOCK_LOST'));
        assert.match(reason.message, /stuck since Monday/u);
      }
      assert.notEqual(await one.backend.release(grant), 'released');
      const [still] = await second.backend.renew([taken], [30_000]);
      assert.equal(still?.state, 'held', 'the late release of who was thrown out harms nobody');
    },
  ],
  [
    'a forced release ends all readers, and answers how many; of a free resource none',
    async (stage) => {
      const [one, other] = await stage.pair();
      const shared = { mode: 'shared', capacity: Number.POSITIVE_INFINITY } as const;
      await one.acquire(stage.resource(), shared);
      await other.acquire(stage.resource(), shared);
      assert.equal(await one.backend.forceRelease(stage.resource(), 'maintenance'), 2);
      assert.equal(await one.backend.forceRelease(stage.resource(), 'maintenance'), 0);
      assert.ok(await one.tryAcquire(stage.resource()));
    },
    'shared',
  ],
  [
    'the delay of a lock that is left behind does not hold up a forced release',
    async (stage) => {
      const [one, other] = await stage.pair();
      await one.acquire(stage.resource(), { lockDelayMs: 3 * EXPIRY_MS_MAX });
      const next = await standInLine(other, stage.resource(), 1);
      await other.backend.forceRelease(stage.resource(), 'maintenance');
      await granted(next);
    },
  ],
];

const DELAYS: readonly StagedCase[] = [
  [
    'what a crashed node held is granted to nobody before its lock delay is over',
    async (stage) => {
      const [one, other] = await stage.pair();
      const { ttlMs } = stage.settings;
      const lockDelayMs = ttlMs;
      await one.acquire(stage.resource(), { ttlMs, lockDelayMs });
      const next = await standInLine(other, stage.resource(), 1);
      const crashedMs = systemClock.monotonicMs();
      await one.crash();
      assert.ok(await within(EXPIRY_MS_MAX, next.asked, 'the end of the delay'));
      const tookMs = systemClock.monotonicMs() - crashedMs;
      // Without a crash verb the TTL has to run out first.
      const leastMs = stage.hasCrashVerb ? lockDelayMs : lockDelayMs + 0.9 * ttlMs;
      assert.ok(tookMs >= leastMs, `granted after ${tookMs.toFixed(0)} of ${leastMs} ms`);
    },
  ],
  [
    'a release has no delay',
    async (stage) => {
      const [one, other] = await stage.pair();
      const grant = await one.acquire(stage.resource(), { lockDelayMs: 3 * EXPIRY_MS_MAX });
      const next = await standInLine(other, stage.resource(), 1);
      await one.backend.release(grant);
      await granted(next);
    },
  ],
];

async function isToldOfWaiters(stage: Stage, isWaitingBefore: boolean): Promise<void> {
  const [one, other] = await stage.pair();
  const grant = await one.acquire(stage.resource());
  const heard: number[] = [];
  if (isWaitingBefore) await standInLine(other, stage.resource(), 1);
  grant.onWaiters = (waiters) => void heard.push(waiters);
  one.backend.watchWaiters?.(grant);
  // Whoever comes then is not seen by a look that the watch began with: this request is behind it.
  await one.backend.inspect(stage.resource());
  if (!isWaitingBefore) await standInLine(other, stage.resource(), 1);
  await eventually('the holder is told', async () => heard.some((waiters) => waiters > 0), 3_000);
}

const HINTS: readonly StagedCase[] = [
  [
    'a node that retains a grant is told soon after somebody stands in line',
    (stage) => isToldOfWaiters(stage, false),
  ],
  [
    'a node that begins to retain a grant is told of who stands in line already',
    async (stage) => {
      const node = await stage.node();
      // Without the verb, every grant was told when the waiter came.
      if (node.backend.watchWaiters !== undefined) await isToldOfWaiters(stage, true);
    },
  ],
  [
    'who watches a resource is told soon after it was taken and after it became free',
    async (stage) => {
      const [one, other] = await stage.pair();
      if (other.backend.watch === undefined) return;
      const done = new AbortController();
      stage.onEnd(async () => done.abort());
      let told = 0;
      const count = (): void => {
        told += 1;
      };
      other.backend.watch(stage.resource(), count, done.signal);
      // The watch may take a moment to reach the backend, so the change is made until it is told.
      await eventually('a change is told', async () => {
        const grant = await one.acquire(stage.resource());
        await one.backend.release(grant);
        return told > 0;
      });
    },
  ],
];

const SEVERAL: readonly StagedCase[] = [
  [
    'several resources are taken in one step, all or none, and nothing stays in line',
    async (stage) => {
      const [one, other] = await stage.pair();
      const names = [':a', ':b', ':c'].map((suffix) => stage.resource(suffix));
      const ask = () =>
        one.backend.acquireAll?.(names.map((name) => one.request(name, { wait: false })));
      const held = await other.acquire(names[1] as string);
      const refused = await within(PATIENCE_MS, Promise.resolve(ask()), 'an answer');
      if (refused === undefined || refused === 'unsupported') return;
      assert.equal(refused, 'busy');
      for (const name of names) {
        const { holders, waiters } = await other.backend.inspect(name);
        assert.equal(holders.length + waiters.length, name === names[1] ? 1 : 0);
      }
      await other.backend.release(held);
      const grants = await within(PATIENCE_MS, Promise.resolve(ask()), 'an answer');
      assert.ok(Array.isArray(grants), 'all are free');
      assert.deepEqual(
        (grants as Grant[]).map(({ resource }) => resource),
        names,
      );
      for (const name of names) assert.equal(await other.tryAcquire(name), undefined);
      const [renewed] = await one.backend.renew([grants[0] as Grant], [30_000]);
      assert.equal(renewed?.state, 'held');
      for (const grant of grants as Grant[]) {
        assert.equal(await one.backend.release(grant), 'released');
      }
    },
  ],
];

/** What operators and the engine's finer features ask of a backend. */
export const OPERATOR_CASES: readonly StagedCase[] = [
  ...LISTING,
  ...FORCING,
  ...DELAYS,
  ...HINTS,
  ...SEVERAL,
];
