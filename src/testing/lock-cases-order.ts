import assert from 'node:assert/strict';
import { systemClock } from '../core/clock.js';
import { systemRandom } from '../core/random.js';
import type { Grant } from '../lock/driver.js';
import {
  eventually,
  granted,
  inLine,
  PATIENCE_MS,
  type Place,
  type StagedCase,
  type StagedNode,
  standInLine,
  within,
} from './lock-stage.js';

const ABORT_ROUNDS = 40;
const HAND_OFF_ROUNDS = 9;
const QUEUE_LENGTH = 5;

async function isFree(node: StagedNode, resource: string): Promise<boolean> {
  const grant = await node.tryAcquire(resource);
  if (grant !== undefined) await node.backend.release(grant);
  return grant !== undefined;
}

const EXCLUSION: readonly StagedCase[] = [
  [
    'an exclusive grant keeps every other node out until it is released',
    async (stage) => {
      const [one, other] = await stage.pair();
      const grant = await one.acquire(stage.resource());
      assert.equal(grant.resource, stage.resource());
      assert.equal(grant.mode, 'exclusive');
      assert.equal(await other.tryAcquire(stage.resource()), undefined);
      assert.equal(await one.backend.release(grant), 'released');
      assert.ok(await other.tryAcquire(stage.resource()));
    },
  ],
  [
    'different resources do not wait for each other',
    async (stage) => {
      const [one, other] = await stage.pair();
      await one.acquire(stage.resource(':a'));
      await other.acquire(stage.resource(':b'));
      await other.acquire(stage.resource(':ab'));
    },
  ],
  [
    'a request that does not wait is answered at once and leaves nothing in line',
    async (stage) => {
      const [one, other] = await stage.pair();
      const grant = await one.acquire(stage.resource());
      assert.equal(await other.tryAcquire(stage.resource()), undefined);
      const { holders, waiters } = await one.backend.inspect(stage.resource());
      assert.equal(holders.length, 1);
      assert.deepEqual(waiters, []);
      await one.backend.release(grant);
      assert.ok(await isFree(one, stage.resource()), 'nobody was left in line');
    },
  ],
  [
    'releasing twice is harmless, also when somebody else holds it by then',
    async (stage) => {
      const [one, other] = await stage.pair();
      const first = await one.acquire(stage.resource());
      assert.equal(await one.backend.release(first), 'released');
      await other.acquire(stage.resource());
      assert.ok(['released', 'lost'].includes(await one.backend.release(first)));
      assert.equal(await one.tryAcquire(stage.resource()), undefined, 'the second still holds it');
    },
  ],
];

const ORDER: readonly StagedCase[] = [
  [
    'nodes are served in the order in which they asked',
    async (stage) => {
      const nodes = await stage.nodes(QUEUE_LENGTH);
      const [first, ...others] = nodes as [StagedNode, ...StagedNode[]];
      let held: Grant = await first.acquire(stage.resource());
      let holder = first;
      const places: Place[] = [];
      for (const node of others) {
        places.push(await standInLine(node, stage.resource(), places.length + 1));
      }
      const served: number[] = [];
      places.forEach((place, index) => void place.asked.then(() => served.push(index)));
      for (const [index, place] of places.entries()) {
        await holder.backend.release(held);
        held = await granted(place);
        holder = others[index] ?? holder;
        assert.deepEqual(served, Array.from(served.keys()), 'served in order, one at a time');
        assert.equal(served.length, index + 1);
      }
    },
  ],
  [
    'a node that releases and asks again stands behind those who waited',
    async (stage) => {
      const [one, other] = await stage.pair();
      const grant = await one.acquire(stage.resource());
      const place = await standInLine(other, stage.resource(), 1);
      await one.backend.release(grant);
      const again = one.backend.acquire(one.request(stage.resource()));
      const second = await granted(place);
      await other.backend.release(second);
      const third = await within(PATIENCE_MS, again, 'the turn of who asked again');
      assert.ok(third?.fencingToken !== undefined && second.fencingToken !== undefined);
      assert.ok(third.fencingToken > second.fencingToken);
    },
  ],
  [
    'a release hands over to the next in line at once, without waiting for a TTL or a poll',
    async (stage) => {
      const [one, other] = await stage.pair();
      const tookMs: number[] = [];
      for (let round = 0; round < HAND_OFF_ROUNDS; round += 1) {
        const [from, to] = round % 2 === 0 ? [one, other] : [other, one];
        const grant = await from.acquire(stage.resource());
        const place = await standInLine(to, stage.resource(), 1);
        const startedMs = systemClock.monotonicMs();
        await from.backend.release(grant);
        const next = await granted(place);
        tookMs.push(systemClock.monotonicMs() - startedMs);
        await to.backend.release(next);
      }
      const median = tookMs.toSorted((a, b) => a - b)[Math.floor(HAND_OFF_ROUNDS / 2)] ?? 0;
      const most = stage.settings.handOffMsMax;
      assert.ok(median < most, `the median hand-off took ${median.toFixed(1)} of ${most} ms`);
    },
  ],
];

const GIVING_UP: readonly StagedCase[] = [
  [
    'a request that is given up as soon as it was made is granted or refused with the reason, and leaves nothing',
    async (stage) => {
      const node = await stage.node();
      const reason = new Error('changed my mind');
      for (let round = 0; round < 5; round += 1) {
        const leave = new AbortController();
        const asked = node.backend.acquire(
          node.request(stage.resource(), { signal: leave.signal }),
        );
        asked.catch(() => {});
        leave.abort(reason);
        const grant = await within(PATIENCE_MS, asked, 'the end').catch((error) => {
          assert.equal(error, reason);
        });
        if (grant !== undefined) await node.backend.release(grant);
        await eventually('the resource is free', () => isFree(node, stage.resource()));
      }
    },
  ],
  [
    'whoever gives up waiting gets the reason of the signal, leaves the line, and stops nobody behind',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const grant = await one.acquire(stage.resource());
      const givesUp = await standInLine(second, stage.resource(), 1);
      const stays = await standInLine(third, stage.resource(), 2);
      const reason = new Error('enough');
      givesUp.leave.abort(reason);
      await assert.rejects(
        within(PATIENCE_MS, givesUp.asked, 'the end of the wait'),
        (error) => error === reason,
      );
      await inLine(one, stage.resource(), 1);
      await one.backend.release(grant);
      await granted(stays);
    },
  ],
  [
    'a wait that is aborted while its grant is under way loses neither the resource nor a wake-up',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      for (let round = 0; round < ABORT_ROUNDS; round += 1) {
        const grant = await one.acquire(stage.resource());
        const racing = await standInLine(second, stage.resource(), 1);
        const behind = await standInLine(third, stage.resource(), 2);
        const delayMs = systemRandom.fraction() * 4 - 1;
        const release = one.backend.release(grant);
        if (delayMs <= 0) racing.leave.abort(new Error('late'));
        else systemClock.schedule(delayMs, () => racing.leave.abort(new Error('late')));
        await release;
        const won = await within(PATIENCE_MS, racing.asked, 'its end').catch(() => undefined);
        if (won !== undefined) await second.backend.release(won);
        await third.backend.release(await granted(behind));
      }
      await eventually('all is free', async () => {
        const { holders, waiters } = await one.backend.inspect(stage.resource());
        return holders.length + waiters.length === 0;
      });
    },
  ],
];

/** Who gets it, in which order, and how one gives up. */
export const ORDER_CASES: readonly StagedCase[] = [...EXCLUSION, ...ORDER, ...GIVING_UP];
