import assert from 'node:assert/strict';
import { GUARANTEE_LEVELS } from '../core/guarantees.js';
import type { CommitRecord, DecisionLogSession } from '../transaction/decision-log.js';
import type { DecisionLogCase } from './decision-log-decisions.js';
import { eventually, recordOf, rejectsWith, statusOf } from './decision-log-stage.js';

/** How long records and incarnations stay, who sees them, and who is told. */
export const retentionCases: readonly DecisionLogCase[] = [
  {
    name: 'unacknowledged records are listed oldest first, at most as many as asked for',
    async play(stage) {
      const [owner, other] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      const records = [record(), record(), record()];
      for (const each of records) await owner.session.decide(name, each);
      const listed = await other.session.unacknowledged(name, 2);
      assert.deepEqual(listed.map(recordOf), records.slice(0, 2));
      assert.equal((await statusOf(other.session, name))?.unacknowledgedCount, 3);
    },
  },
  {
    name: 'a record stays unacknowledged until its last participant has acknowledged',
    async play(stage) {
      const [owner, other] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      const decided = record();
      await owner.session.decide(name, decided);
      await acknowledge(owner.session, decided, ['orders']);
      await eventually('one acknowledged', stage.lazyWithinMs, async () => {
        const [first] = await other.session.unacknowledged(name, 10);
        return first?.unacknowledged.join() === 'stock.eu-1';
      });
      await acknowledge(other.session, decided, ['stock.eu-1']);
      await eventually('both acknowledged', stage.lazyWithinMs, async () => {
        return (await owner.session.unacknowledged(name, 10)).length === 0;
      });
    },
  },
  {
    name: 'an acknowledgement that is sent twice, or of no record, does no harm',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { name, record } = await incarnation();
      const [decided, never] = [record(), record()];
      await session.decide(name, decided);
      await acknowledge(session, never, ['orders', 'stock.eu-1']);
      for (let sent = 0; sent < 2; sent += 1) {
        await acknowledge(session, decided, ['orders', 'orders']);
      }
      const found = await session.find(decided.transactionId);
      assert.ok(found?.unacknowledged.includes('stock.eu-1'));
      assert.equal(await session.find(never.transactionId), undefined);
    },
  },
  {
    name: 'a record is still found after its last acknowledgement, for its retention',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { name, record } = await incarnation();
      const decided = record();
      await session.decide(name, decided);
      await acknowledge(session, decided, ['orders', 'stock.eu-1']);
      await eventually('acknowledged', stage.lazyWithinMs, async () => {
        return (await session.unacknowledged(name, 10)).length === 0;
      });
      await session.prune();
      assert.deepEqual(recordOf(await session.find(decided.transactionId)), decided);
      assert.equal(await session.decide(name, decided), 'committed');
    },
  },
  {
    name: 'prune never forgets a record that a participant has not acknowledged',
    async play(stage) {
      const [owner, other] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      const decided = record();
      await owner.session.decide(name, decided);
      await acknowledge(owner.session, decided, ['orders']);
      await other.session.fence(name);
      for (let pass = 0; pass < 3; pass += 1) await other.session.prune();
      assert.deepEqual(recordOf(await other.session.find(decided.transactionId)), decided);
      assert.equal((await statusOf(other.session, name))?.state, 'fenced');
    },
  },
  {
    name: 'an incarnation is live while its process is there, and silent after',
    async play(stage) {
      const [owner, other] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      await owner.session.decide(name, record());
      const live = await statusOf(other.session, name);
      assert.equal(live?.state, 'live');
      assert.equal(live?.nodeId, owner.nodeId);
      await owner.session.close();
      await eventually('silent', stage.silentWithinMs, async () => {
        return (await statusOf(other.session, name))?.state === 'silent';
      });
      assert.equal((await other.session.unacknowledged(name, 10)).length, 1);
    },
  },
  {
    name: 'prune forgets a fenced incarnation without records, which stays fenced for late steps',
    async play(stage) {
      const [owner, other] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      await other.session.fence(name);
      await eventually('forgotten', stage.lazyWithinMs, async () => {
        await other.session.prune();
        return (await statusOf(other.session, name)) === undefined;
      });
      assert.equal(await owner.session.decide(name, record()), 'fenced');
    },
  },
  {
    name: 'namespaces do not see each other',
    async play(stage) {
      const [owner, foreign] = [await stage.node(), await stage.node('elsewhere')];
      const { name } = await owner.incarnation();
      assert.equal((await statusOf(owner.session, name))?.state, 'live');
      assert.equal(await statusOf(foreign.session, name), undefined);
    },
  },
  {
    name: 'a log that is full refuses before it records, and names the participants that block it',
    needsLimit: true,
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { name, record } = await incarnation();
      const limit = stage.unacknowledgedMax ?? 0;
      const records = Array.from({ length: limit }, () => record());
      for (const each of records) await session.decide(name, each);
      const refused = record();
      const error = await rejectsWith('LOG_FULL', session.decide(name, refused));
      const { details } = error as { details: { participants: readonly string[] } };
      assert.deepEqual([...details.participants].sort(), ['orders', 'stock.eu-1']);
      assert.equal(await session.find(refused.transactionId), undefined);
      for (const each of records) await acknowledge(session, each, ['orders', 'stock.eu-1']);
      await eventually('room again', stage.lazyWithinMs, async () => {
        const [settled] = await Promise.allSettled([session.decide(name, refused)]);
        return settled.status === 'fulfilled' && settled.value === 'committed';
      });
    },
  },
  {
    name: 'guarantees tell what the decisions survive, and the settings that were read',
    async play(stage) {
      const { session } = await stage.node();
      const guarantees = await session.guarantees();
      assert.ok(GUARANTEE_LEVELS.includes(guarantees.survives));
      assert.ok(guarantees.subject.length > 0);
      assert.ok(guarantees.promises.length + guarantees.warnings.length > 0);
    },
  },
  {
    name: 'closing twice is closing once',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      await incarnation();
      await session.close();
      await session.close();
    },
  },
];

async function acknowledge(
  session: DecisionLogSession,
  { transactionId }: CommitRecord,
  participants: readonly string[],
): Promise<void> {
  await session.acknowledge(participants.map((participant) => ({ transactionId, participant })));
}
