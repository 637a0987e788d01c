import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { remainingMs, systemClock } from '../core/clock.js';
import type { Grant } from '../lock/driver.js';
import {
  inLine,
  PATIENCE_MS,
  type Stage,
  type StagedCase,
  type StagedNode,
  within,
} from './lock-stage.js';

const BATCH = 12;
/** From when a crash is noticed at the latest: its TTL, and what a busy machine adds. */
const EXPIRY_MS_MAX = 30_000;

function tokenOf(grant: Grant): bigint {
  assert.equal(typeof grant.fencingToken, 'bigint', 'an exclusive grant carries a fencing token');
  return grant.fencingToken ?? 0n;
}

/** Holds with a short TTL, lets another stand in line, and stops renewing for ever. */
async function holdAndCrash(stage: Stage, holder: StagedNode, other: StagedNode) {
  const { ttlMs } = stage.settings;
  const grant = await holder.acquire(stage.resource(), { ttlMs });
  const next = other.backend.acquire(other.request(stage.resource()));
  next.catch(() => {});
  await holder.crash();
  return { grant, next };
}

const TOKENS: readonly StagedCase[] = [
  [
    'fencing tokens increase strictly from grant to grant, whoever holds it',
    async (stage) => {
      const [one, other] = await stage.pair();
      let newest = -1n;
      for (let round = 0; round < 10; round += 1) {
        const node = round % 3 === 0 ? other : one;
        const grant = await node.acquire(stage.resource());
        assert.ok(tokenOf(grant) > newest, `${tokenOf(grant)} after ${newest}`);
        newest = tokenOf(grant);
        await node.backend.release(grant);
      }
    },
  ],
  [
    'a reserved block of tokens is its holder’s alone: the next grant lies above it',
    async (stage) => {
      const [one, other] = await stage.pair();
      const grant = await one.acquire(stage.resource(), { tokens: 1_024 });
      assert.ok(grant.tokens >= 1 && grant.tokens <= 1_024);
      const further = await one.backend.reserveTokens(grant, 100);
      assert.ok(further !== undefined && further >= tokenOf(grant) + BigInt(grant.tokens));
      await one.backend.release(grant);
      const next = await other.acquire(stage.resource());
      assert.ok(tokenOf(next) >= further + 100n, `${tokenOf(next)} lies in ${further} + 100`);
    },
  ],
  [
    'no tokens are reserved for a grant that has ended',
    async (stage) => {
      const node = await stage.node();
      const grant = await node.acquire(stage.resource());
      await node.backend.release(grant);
      assert.equal(await node.backend.reserveTokens(grant, 10), undefined);
    },
  ],
];

const EXPIRY: readonly StagedCase[] = [
  [
    'what a crashed node held goes to the next in line after its TTL, with a higher token',
    async (stage) => {
      const [one, other] = await stage.pair();
      const { grant, next } = await holdAndCrash(stage, one, other);
      const taken = await within(EXPIRY_MS_MAX, next, 'the end of a grant that nobody renews');
      // A crash verb may end a session at once; without one, the old holder must be out first.
      if (!stage.hasCrashVerb) {
        const leftMs = remainingMs(systemClock, grant.validity);
        assert.ok(leftMs <= 0, `the old grant was valid for ${leftMs.toFixed(1)} ms more`);
      }
      assert.ok(taken);
      assert.ok(tokenOf(taken) > tokenOf(grant));
    },
  ],
  [
    'the late release and renewal of a crashed holder change nothing',
    async (stage) => {
      const [one, other] = await stage.pair();
      const { grant, next } = await holdAndCrash(stage, one, other);
      const taken = await within(EXPIRY_MS_MAX, next, 'the end of a grant that nobody renews');
      const [reply] = await one.backend.renew([grant], [stage.settings.ttlMs]);
      assert.notEqual(reply?.state, 'held');
      const late = await one.backend.release(grant).catch(() => 'unknown');
      assert.notEqual(late, 'released');
      assert.ok(taken);
      const [still] = await other.backend.renew([taken], [stage.settings.ttlMs]);
      assert.equal(still?.state, 'held');
    },
  ],
  [
    'a crashed waiter does not stop those behind it',
    async (stage) => {
      const [one, second, third] = await stage.trio();
      const { ttlMs } = stage.settings;
      const grant = await one.acquire(stage.resource());
      const dead = second.backend.acquire(second.request(stage.resource(), { ttlMs }));
      dead.catch(() => {});
      await inLine(one, stage.resource(), 1);
      const next = third.backend.acquire(third.request(stage.resource()));
      next.catch(() => {});
      await inLine(one, stage.resource(), 2);
      await second.crash();
      // Whether it is granted before its death is noticed or skipped, its turn ends by itself.
      await one.backend.release(grant);
      assert.ok(await within(EXPIRY_MS_MAX, next, 'the turn after the dead waiter'));
    },
  ],
];

const RENEWAL: readonly StagedCase[] = [
  [
    'a grant that is renewed outlives its TTL',
    async (stage) => {
      const [one, other] = await stage.pair();
      const { ttlMs } = stage.settings;
      const grant = await one.acquire(stage.resource(), { ttlMs });
      let validity = grant.validity;
      for (let beat = 0; beat < 6; beat += 1) {
        await sleep(systemClock, ttlMs / 3);
        const [reply] = await one.backend.renew([grant], [ttlMs]);
        assert.equal(reply?.state, 'held');
        if (reply?.state === 'held') validity = reply.validity;
        assert.equal(await other.tryAcquire(stage.resource()), undefined);
      }
      assert.ok(remainingMs(systemClock, validity) > 0, 'the renewed validity lies ahead');
      assert.equal(await one.backend.release(grant), 'released');
    },
  ],
  [
    'a batch of renewals is answered in its order, and tells which grants are lost',
    async (stage) => {
      const node = await stage.node();
      const names = Array.from({ length: BATCH }, (_, index) => stage.resource(`:${index}`));
      const grants = await Promise.all(names.map((name) => node.acquire(name)));
      for (const grant of grants.filter((_, index) => index % 4 === 1)) {
        await node.backend.release(grant);
      }
      const ttls = grants.map(() => 30_000);
      const replies = await node.backend.renew(grants, ttls);
      const states = replies.map((reply) => reply.state);
      assert.deepEqual(
        states,
        grants.map((_, index) => (index % 4 === 1 ? 'lost' : 'held')),
      );
    },
  ],
  [
    'a renewal tells that others wait',
    async (stage) => {
      const [one, other] = await stage.pair();
      const grant = await one.acquire(stage.resource());
      assert.equal(grant.waiters, 0);
      const leave = new AbortController();
      const waits = other.backend.acquire(
        other.request(stage.resource(), { signal: leave.signal }),
      );
      waits.catch(() => {});
      await inLine(one, stage.resource(), 1);
      const [reply] = await one.backend.renew([grant], [30_000]);
      assert.ok(reply?.state === 'held' && reply.waiters >= 1);
      leave.abort();
      await assert.rejects(within(PATIENCE_MS, waits, 'the end of the wait'));
    },
  ],
];

/** What a grant carries, how long it lasts, and how it ends. */
export const LEASE_CASES: readonly StagedCase[] = [...TOKENS, ...EXPIRY, ...RENEWAL];
