import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { systemRandom } from '../core/random.js';
import { type CallRecord, type CallYes, callAfter } from '../transaction/remote/call-record.js';
import type { CallHint } from '../transaction/remote/call-session.js';
import type { CallStage, StagedCalls } from './call-session-stage.js';
import { eventually } from './decision-log-stage.js';

/** One case, before it is bound to a subject. */
interface CallSessionCase {
  readonly name: string;
  play(stage: CallStage): Promise<void>;
}

const CALLS = 24;
const YES: CallYes = {
  vote: 'yes',
  result: '{"left":3,"note":"ß {🦜}\\n"}',
  branches: [{ participant: 'inventory.eu-1/stock', branchId: 'b.1', evidence: 'xid 7 ß,;|\n' }],
};

/** Takes a call, and fails where none is to be had. */
async function taken(node: StagedCalls, service: string): Promise<CallRecord> {
  const call = await node.session.take(service);
  assert.ok(call, 'a call is handed out');
  return call.record;
}

async function voted(node: StagedCalls, record: CallRecord): Promise<CallRecord> {
  const { server, attempt } = record;
  const after = await node.change(record, { type: 'vote', server, attempt, vote: YES });
  assert.equal(after?.state, 'voted');
  return after as CallRecord;
}

/** What a store of calls promises. */
export const callSessionCases: readonly CallSessionCase[] = [
  {
    name: 'a call is created once, however often it is sent, and read whole by every process',
    async play({ node }) {
      const [caller, other] = [await node(), await node()];
      const record = await caller.post();
      const { callId, service } = record;
      const again = await caller.session.create({ callId, service, payload: '1', timeoutMs: 5 });
      assert.deepEqual(again, record);
      assert.deepEqual(await other.session.read(record), record);
      assert.equal(record.state, 'open');
      assert.equal(record.caller, caller.session.address);
      const leftMs = record.deadlineMs - (await other.session.nowMs());
      assert.ok(leftMs > 30_000 && leftMs <= 60_500, `the deadline is in ${leftMs} ms`);
    },
  },
  {
    name: 'a call that nobody made is not there, and nobody takes one',
    async play({ node, service }) {
      const { session } = await node();
      assert.equal(await session.read({ callId: 'nothing', service }), undefined);
      assert.equal(await session.take(service), undefined);
      assert.deepEqual(await session.list(service, 10), []);
      assert.deepEqual(await session.servers(service), []);
    },
  },
  {
    name: 'each call is handed out to exactly one of many who ask at the same time',
    async play({ node, service }) {
      const [caller, first, second] = [await node(), await node(), await node()];
      const posted = await Promise.all(Array.from({ length: CALLS }, () => caller.post()));
      const asked = Array.from({ length: CALLS }, () =>
        Promise.all([first.session.take(service), second.session.take(service)]),
      );
      const calls = (await Promise.all(asked)).flat().flatMap((call) => call ?? []);
      while (calls.length < CALLS) {
        const more = await first.session.take(service);
        assert.ok(more, `only ${calls.length} of ${CALLS} calls were handed out`);
        calls.push(more);
      }
      const ids = calls.map(({ record }) => record.callId).sort();
      assert.deepEqual(ids, posted.map(({ callId }) => callId).sort());
      for (const { record, remainingMs } of calls) {
        assert.deepEqual([record.state, record.attempt], ['claimed', 1]);
        assert.ok(remainingMs > 0 && remainingMs <= 60_500);
      }
      assert.equal(await second.session.take(service), undefined);
    },
  },
  {
    name: 'calls are handed out in the order of their coming',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      const first = await caller.post();
      const second = await caller.post();
      assert.equal((await taken(server, service)).callId, first.callId);
      assert.equal((await taken(server, service)).callId, second.callId);
    },
  },
  {
    name: 'a call is not handed out after its deadline',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      await caller.post({ timeoutMs: 20 });
      await sleep(systemClock, 200);
      assert.equal(await server.session.take(service), undefined);
    },
  },
  {
    name: 'a write succeeds once: of two that build on one version the second changes nothing',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      await caller.post();
      const claimed = await taken(server, service);
      const vote = await voted(server, claimed);
      const ended = callAfter(claimed, { type: 'end', outcome: 'aborted' }, systemRandom.token(11));
      assert.ok(ended);
      const stands = await caller.session.replace(ended, claimed.writeId);
      assert.equal(stands?.writeId, vote.writeId);
      assert.deepEqual((await caller.session.read(claimed))?.vote, YES);
    },
  },
  {
    name: 'a write that is sent again is the same write',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      await caller.post();
      const claimed = await taken(server, service);
      const vote = await voted(server, claimed);
      assert.deepEqual(await server.session.replace(vote, claimed.writeId), vote);
      assert.deepEqual(await caller.session.read(vote), vote);
    },
  },
  {
    name: 'a record that was removed is not made again by a write that builds on it',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      await caller.post();
      const claimed = await taken(server, service);
      await caller.session.remove(claimed);
      await caller.session.remove(claimed);
      const { server: address, attempt } = claimed;
      const vote = { type: 'vote', server: address, attempt, vote: YES } as const;
      assert.equal(await server.change(claimed, vote), undefined);
      assert.equal(await caller.session.read(claimed), undefined);
    },
  },
  {
    name: 'a version that was replaced is not removed',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      const open = await caller.post();
      const claimed = await taken(server, service);
      await caller.session.remove(open);
      assert.equal((await caller.session.read(open))?.writeId, claimed.writeId);
    },
  },
  {
    name: 'a call that was removed before anybody took it is not handed out',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      await caller.session.remove(await caller.post());
      assert.equal(await server.session.take(service), undefined);
      assert.deepEqual(await server.session.list(service, 10), []);
    },
  },
  {
    name: 'a call that was buried is not created any more',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      const key = { callId: 'buried', service };
      const buried = await caller.session.bury(key);
      assert.deepEqual([buried.state, buried.outcome], ['ended', 'aborted']);
      const late = await caller.session.create({ ...key, payload: '1', timeoutMs: 1_000 });
      assert.equal(late.writeId, buried.writeId);
      assert.equal(await server.session.take(service), undefined);
      const open = await caller.post();
      assert.deepEqual(await caller.session.bury(open), open);
    },
  },
  {
    name: 'a call that a server gives back is handed out again, as another attempt',
    async play({ node, service }) {
      const [caller, first, second] = [await node(), await node(), await node()];
      await caller.post();
      const claimed = await taken(first, service);
      const { server, attempt } = claimed;
      await first.change(claimed, { type: 'release', server, attempt });
      const again = await taken(second, service);
      assert.deepEqual([again.callId, again.attempt], [claimed.callId, 2]);
      assert.equal(again.server, second.session.address);
    },
  },
  {
    name: 'calls of a service are listed whole, and of no other',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      await caller.post();
      await caller.post();
      const claimed = await taken(server, service);
      const vote = await voted(server, claimed);
      const listed = await caller.session.list(service, 10);
      assert.equal(listed.length, 2);
      assert.deepEqual(
        listed.find(({ callId }) => callId === vote.callId),
        vote,
      );
      assert.deepEqual(await caller.session.list('another', 10), []);
      assert.equal((await caller.session.list(service, 1)).length, 1);
    },
  },
  {
    name: 'a payload and a result of the size that is allowed come through',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      const text = JSON.stringify('ü'.repeat(caller.session.bytesMax / 2 - 10));
      await caller.post({ payload: text });
      const claimed = await taken(server, service);
      assert.equal(claimed.payload, text);
      const { server: address, attempt } = claimed;
      const vote = { ...YES, result: text };
      await server.change(claimed, { type: 'vote', server: address, attempt, vote });
      assert.deepEqual((await caller.session.read(claimed))?.vote, vote);
    },
  },
  {
    name: 'servers see each other until they withdraw or close',
    async play({ node, service, goneWithinMs }) {
      const [first, second] = [await node(), await node()];
      await first.session.announce(service);
      await first.session.announce(service);
      await second.session.announce(service);
      const both = [first.session.address, second.session.address].sort();
      assert.deepEqual([...(await second.session.servers(service))].sort(), both);
      await first.session.withdraw(service);
      assert.deepEqual(await second.session.servers(service), [second.session.address]);
      await second.session.close();
      await eventually('a closed server is gone', goneWithinMs, async () => {
        return (await first.session.servers(service)).length === 0;
      });
    },
  },
  {
    name: 'servers hear of a new call, the caller of a vote and of an end, the server of an outcome',
    async play({ node, service }) {
      const [caller, server] = [await node(), await node()];
      server.hear([service]);
      await eventually('the server listens', 5_000, async () => {
        // Whoever found nothing is told when that changes.
        while ((await server.session.take(service)) !== undefined) server.hints.length = 0;
        await caller.post();
        await sleep(systemClock, 50);
        return server.hints.some(({ type }) => type === 'queued');
      });
      const claimed = await taken(server, service);
      const vote = await voted(server, claimed);
      await caller.hinted(vote.callId);
      assertTold(caller.hints, vote.callId, vote);
      server.hints.length = 0;
      await server.session.read(vote);
      const end = await caller.change(vote, { type: 'end', outcome: 'committed' });
      await server.hinted(vote.callId);
      assertTold(server.hints, vote.callId, end);
      caller.hints.length = 0;
      await caller.session.read(vote);
      await server.session.remove(end as CallRecord);
      await caller.hinted(vote.callId);
      assertTold(caller.hints, vote.callId, undefined);
    },
  },
];

/** A hint need not tell what stands there; what it tells is so. */
function assertTold(
  hints: readonly CallHint[],
  callId: string,
  record: CallRecord | undefined,
): void {
  for (const hint of hints) {
    if (hint.type !== 'changed' || hint.callId !== callId || hint.now === undefined) continue;
    assert.deepEqual(hint.now.record, record, 'a hint tells what stands there');
  }
}
