import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import type { Grant, GrantRequest } from '../lock/driver.js';
import {
  granted,
  inLine,
  needing,
  PATIENCE_MS,
  type StagedCase,
  type StagedNode,
  standInLine,
  within,
} from './lock-stage.js';

const SHARED: Partial<GrantRequest> = {
  mode: 'shared',
  capacity: Number.POSITIVE_INFINITY,
};
const counting = (permits: number, capacity: number): Partial<GrantRequest> => ({
  mode: 'counting',
  permits,
  capacity,
});
/** Long enough that a grant which must not come would have come. */
const QUIET_MS = 60;

function tokenOf(grant: Grant): bigint {
  assert.equal(typeof grant.fencingToken, 'bigint', `a ${grant.mode} grant carries a token`);
  return grant.fencingToken ?? 0n;
}

async function assertStillWaits(place: { readonly asked: Promise<unknown> }, why: string) {
  let isOver = false;
  const mark = (): void => {
    isOver = true;
  };
  place.asked.then(mark, mark);
  await sleep(systemClock, QUIET_MS);
  assert.equal(isOver, false, why);
}

const SHARING: readonly StagedCase[] = [
  [
    'readers hold a resource together, and keep a writer out until the last of them lets go',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const readers = [
        await one.acquire(stage.resource(), SHARED),
        await second.acquire(stage.resource(), SHARED),
      ];
      assert.deepEqual(
        readers.map((grant) => grant.mode),
        ['shared', 'shared'],
      );
      assert.equal(await third.tryAcquire(stage.resource()), undefined);
      const writer = await standInLine(third, stage.resource(), 1);
      await one.backend.release(readers[0] as Grant);
      await assertStillWaits(writer, 'a reader still holds it');
      await second.backend.release(readers[1] as Grant);
      await granted(writer);
    },
  ],
  [
    'a writer keeps readers out, and lets in all who stand together at the head of the line',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const writer = await one.acquire(stage.resource());
      const places = [
        await standInLine(second, stage.resource(), 1, SHARED),
        await standInLine(third, stage.resource(), 2, SHARED),
      ];
      await one.backend.release(writer);
      const readers = await Promise.all(places.map((place) => granted(place)));
      assert.equal(readers.length, 2);
    },
  ],
  [
    'a reader that comes after a waiting writer stands behind it: writers do not starve',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const reader = await one.acquire(stage.resource(), SHARED);
      const writer = await standInLine(second, stage.resource(), 1);
      assert.equal(await third.tryAcquire(stage.resource(), SHARED), undefined);
      const late = await standInLine(third, stage.resource(), 2, SHARED);
      await assertStillWaits(late, 'a writer waits before it');
      await one.backend.release(reader);
      const written = await granted(writer);
      await assertStillWaits(late, 'the writer holds it');
      await second.backend.release(written);
      await granted(late);
    },
  ],
  [
    'a writer that gives up its wait lets the readers behind it in',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      await one.acquire(stage.resource(), SHARED);
      const writer = await standInLine(second, stage.resource(), 1);
      const late = await standInLine(third, stage.resource(), 2, SHARED);
      writer.leave.abort(new Error('enough'));
      await granted(late);
    },
  ],
  [
    'readers between two writers carry one token, over idle times too: not below the first writer’s, below the second’s',
    async (stage) => {
      const [one, other] = await stage.pair();
      const first = await one.acquire(stage.resource(), { tokens: 8 });
      await one.backend.release(first);
      const tokens: bigint[] = [];
      for (const node of [one, other, one]) {
        const reader = await node.acquire(stage.resource(), SHARED);
        tokens.push(tokenOf(reader));
        // Nobody holds it in between.
        await node.backend.release(reader);
      }
      assert.equal(new Set(tokens).size, 1, `one epoch: ${tokens.join(', ')}`);
      const epoch = tokens[0] ?? 0n;
      assert.ok(epoch >= tokenOf(first) + 7n, 'every token of the writer’s block is old');
      const next = await other.acquire(stage.resource());
      assert.ok(tokenOf(next) > epoch, `${tokenOf(next)} is not above ${epoch}`);
    },
  ],
];

async function downgraded(node: StagedNode, grant: Grant): Promise<Grant> {
  const reader = await within(PATIENCE_MS, node.backend.downgrade(grant), 'a downgrade');
  assert.ok(reader, 'a grant that is held can be made a reader’s');
  return reader;
}

const DOWNGRADES: readonly StagedCase[] = [
  [
    'a writer becomes a reader without letting go: readers join it, a writer waits for it',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const writer = await one.acquire(stage.resource(), { tokens: 4 });
      const waiting = await standInLine(second, stage.resource(), 1, SHARED);
      const behind = await standInLine(third, stage.resource(), 2);
      const reader = await downgraded(one, writer);
      assert.equal(reader.mode, 'shared');
      assert.equal(reader.grantId, writer.grantId);
      assert.ok(tokenOf(reader) >= tokenOf(writer) + 3n, 'its epoch covers the whole block');
      const beside = await granted(waiting);
      assert.equal(tokenOf(beside), tokenOf(reader), 'readers carry one token');
      await assertStillWaits(behind, 'two readers hold it');
      await second.backend.release(beside);
      await assertStillWaits(behind, 'the one that was a writer still holds it');
      assert.equal(await one.backend.release(reader), 'released');
      assert.ok(tokenOf(await granted(behind)) > tokenOf(reader));
    },
  ],
  [
    'a downgrade covers the tokens that were reserved later, and is the same when sent again',
    async (stage) => {
      const node = await stage.node();
      const writer = await node.acquire(stage.resource());
      const further = await node.backend.reserveTokens(writer, 16);
      assert.ok(further !== undefined);
      const reader = await downgraded(node, writer);
      assert.ok(tokenOf(reader) >= further + 15n);
      const again = await downgraded(node, writer);
      assert.equal(tokenOf(again), tokenOf(reader));
      assert.equal(again.mode, 'shared');
      const [renewed] = await node.backend.renew([again], [30_000]);
      assert.equal(renewed?.state, 'held', 'it is renewed as before');
      assert.equal(await node.backend.reserveTokens(again, 4), undefined, 'a reader has no tokens');
    },
  ],
  [
    'what has ended is not downgraded',
    async (stage) => {
      const [one, other] = await stage.pair();
      const writer = await one.acquire(stage.resource());
      await one.backend.release(writer);
      await other.acquire(stage.resource());
      assert.equal(await one.backend.downgrade(writer), undefined);
      assert.equal(await one.tryAcquire(stage.resource(), SHARED), undefined);
    },
  ],
];

const COUNTING: readonly StagedCase[] = [
  [
    'as many permits are out as the capacity has, and no more; they carry no token',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const first = await one.acquire(stage.resource(), counting(2, 3));
      assert.equal(first.fencingToken, undefined);
      await second.acquire(stage.resource(), counting(1, 3));
      assert.equal(await third.tryAcquire(stage.resource(), counting(1, 3)), undefined);
      const place = await standInLine(third, stage.resource(), 1, counting(1, 3));
      await one.backend.release(first);
      assert.equal((await granted(place)).mode, 'counting');
    },
  ],
  [
    'who asks for many permits is not passed by those who ask for few',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const first = await one.acquire(stage.resource(), counting(2, 3));
      const many = await standInLine(second, stage.resource(), 1, counting(3, 3));
      assert.equal(await third.tryAcquire(stage.resource(), counting(1, 3)), undefined);
      const few = await standInLine(third, stage.resource(), 2, counting(1, 3));
      await assertStillWaits(few, 'somebody waits before it, although one permit is left');
      await one.backend.release(first);
      const all = await granted(many);
      await second.backend.release(all);
      await granted(few);
    },
  ],
  [
    'permits come back when what holds them is not renewed',
    async (stage) => {
      const [one, other] = await stage.pair();
      const { ttlMs } = stage.settings;
      await one.acquire(stage.resource(), { ...counting(2, 2), ttlMs });
      const place = await standInLine(other, stage.resource(), 1, counting(1, 2));
      await one.crash();
      assert.ok(await within(30_000, place.asked, 'the permits of a dead node'));
    },
  ],
  [
    'another capacity, or another kind of use, of a live resource is refused with both numbers',
    async (stage) => {
      const [one, other] = await stage.pair();
      const grant = await one.acquire(stage.resource(), counting(1, 4));
      const refused = async (changes: Partial<GrantRequest>, requested: number) => {
        const asked = other.backend.acquire(other.request(stage.resource(), changes));
        await assert.rejects(within(PATIENCE_MS, asked, 'a refusal'), (error) => {
          assert.ok(isCoordinationError(error, 'LOCK_CAPACITY_MISMATCH'), String(error));
          const { resource, current, ...rest } = error.details;
          assert.deepEqual({ resource, current }, { resource: stage.resource(), current: 4 });
          assert.equal(rest.requested, requested);
          return true;
        });
      };
      await refused(counting(1, 5), 5);
      await refused({}, 1);
      await refused(SHARED, 1);
      await one.backend.release(grant);
      assert.ok(await other.tryAcquire(stage.resource()), 'once it is free, it is anybody’s');
    },
  ],
  [
    'a resource that is locked as a whole is not counted meanwhile',
    async (stage) => {
      const [one, other] = await stage.pair();
      const reader = await one.acquire(stage.resource(), SHARED);
      const asked = () => other.backend.acquire(other.request(stage.resource(), counting(1, 4)));
      const isRefused = (error: unknown) => isCoordinationError(error, 'LOCK_CAPACITY_MISMATCH');
      await assert.rejects(within(PATIENCE_MS, asked(), 'a refusal'), isRefused);
      const writer = await standInLine(other, stage.resource(), 1);
      await inLine(one, stage.resource(), 1);
      await one.backend.release(reader);
      await granted(writer);
      const third = await stage.node();
      const late = third.backend.acquire(third.request(stage.resource(), counting(1, 4)));
      await assert.rejects(within(PATIENCE_MS, late, 'a refusal'), isRefused);
    },
  ],
];

/** How a resource is shared: readers and writers, counted permits. */
export const MODE_CASES: readonly StagedCase[] = [
  ...needing('shared', [...SHARING, ...DOWNGRADES]),
  ...needing('counting', COUNTING),
];
