import assert from 'node:assert/strict';
import { isCoordinationError } from '../core/errors.js';
import { newIncarnation } from '../core/ids.js';
import {
  type DecisionLogStage,
  eventually,
  recordOf,
  rejectsWith,
  stagedIncarnation,
} from './decision-log-stage.js';

/** One case, before it is bound to a subject. */
export interface DecisionLogCase {
  readonly name: string;
  /** Whether the subject must have said its `unacknowledgedMax`. */
  readonly needsLimit?: boolean;
  /** Whether it is about what is forgotten at once, and played on forgetful subjects alone. */
  readonly isForgetful?: boolean;
  play(stage: DecisionLogStage): Promise<void>;
}

const RACES = 25;
const TICK_DECISIONS = 40;

/** What a decision and a fence promise each other. */
export const decisionCases: readonly DecisionLogCase[] = [
  {
    name: 'a transaction that was never decided has no record',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { transactionId } = (await incarnation()).record();
      assert.equal(await session.find(transactionId), undefined);
    },
  },
  {
    name: 'a decision is found whole by every other process',
    async play(stage) {
      const [owner, other] = [await stage.node(), await stage.node()];
      const incarnation = await owner.incarnation();
      const record = incarnation.record();
      assert.equal(await owner.session.decide(incarnation.name, record), 'committed');
      const found = await other.session.find(record.transactionId);
      assert.deepEqual(recordOf(found), record);
      assert.deepEqual([...(found?.unacknowledged ?? [])].sort(), ['orders', 'stock.eu-1']);
      assert.ok(found !== undefined && found.ageMs >= 0 && found.ageMs < 60_000);
    },
  },
  {
    name: 'a decision that is sent again is committed again and leaves one record',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { name, record } = await incarnation();
      const decided = record();
      assert.equal(await session.decide(name, decided), 'committed');
      assert.equal(await session.decide(name, decided), 'committed');
      assert.equal((await session.unacknowledged(name, 10)).length, 1);
    },
  },
  {
    name: 'decisions made in one tick are all recorded',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { name, record } = await incarnation();
      const count = Math.min(TICK_DECISIONS, stage.unacknowledgedMax ?? TICK_DECISIONS);
      const records = Array.from({ length: count }, () => record());
      const answers = await Promise.all(records.map((each) => session.decide(name, each)));
      assert.deepEqual(new Set(answers), new Set(['committed']));
      for (const each of records) {
        assert.deepEqual(recordOf(await session.find(each.transactionId)), each);
      }
    },
  },
  {
    name: 'a fenced incarnation decides no more, and its absent record stays absent',
    async play(stage) {
      const [owner, recoverer] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      await recoverer.session.fence(name);
      const late = record();
      assert.equal(await owner.session.decide(name, late), 'fenced');
      assert.equal(await owner.session.decide(name, late), 'fenced');
      assert.equal(await recoverer.session.find(late.transactionId), undefined);
    },
  },
  {
    name: 'a fence undoes no decision: sent again it is still committed',
    async play(stage) {
      const [owner, recoverer] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      const decided = record();
      await owner.session.decide(name, decided);
      await recoverer.session.fence(name);
      assert.deepEqual(recordOf(await recoverer.session.find(decided.transactionId)), decided);
      assert.equal(await owner.session.decide(name, decided), 'committed');
    },
  },
  {
    name: 'of a decision and a fence that race, exactly one wins and both sides agree which',
    async play(stage) {
      const [owner, recoverer] = [await stage.node(), await stage.node()];
      for (let race = 0; race < RACES; race += 1) {
        const { name, record } = await owner.incarnation();
        const contested = record();
        const recover = async (): Promise<boolean> => {
          await recoverer.session.fence(name);
          return (await recoverer.session.find(contested.transactionId)) !== undefined;
        };
        const [answer, found] = await Promise.all([
          owner.session.decide(name, contested),
          recover(),
        ]);
        assert.equal(answer, found ? 'committed' : 'fenced', `race ${race}`);
      }
    },
  },
  {
    name: 'a fence that is sent twice is one fence, and touches no other incarnation',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const [fenced, spared] = [await incarnation(), await incarnation()];
      await session.fence(fenced.name);
      await session.fence(fenced.name);
      assert.equal(await session.decide(fenced.name, fenced.record()), 'fenced');
      assert.equal(await session.decide(spared.name, spared.record()), 'committed');
    },
  },
  {
    name: 'an incarnation that was fenced before it registered can never decide',
    async play(stage) {
      const [owner, recoverer] = [await stage.node(), await stage.node()];
      const name = newIncarnation();
      await recoverer.session.fence(name);
      await rejectsWith('INCARNATION_FENCED', owner.session.register(name));
      const sample = (await owner.incarnation()).record();
      const [, namespace = '', authority = ''] = sample.transactionId.split('.');
      const late = stagedIncarnation(authority, owner.nodeId, namespace, name).record();
      assert.equal(await owner.session.decide(name, late), 'fenced');
    },
  },
  {
    name: 'an owner learns that it was fenced no later than when it decides',
    async play(stage) {
      const [owner, recoverer] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      const signal = owner.session.fencedSignal(name);
      assert.equal(signal.aborted, false);
      await recoverer.session.fence(name);
      assert.equal(await owner.session.decide(name, record()), 'fenced');
      assert.equal(signal.aborted, true);
      assert.ok(isCoordinationError(signal.reason, 'INCARNATION_FENCED'));
    },
  },
  {
    name: 'a registration that is sent twice is one registration',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { name, record } = await incarnation();
      await session.register(name);
      assert.equal(await session.decide(name, record()), 'committed');
      const listed = await session.incarnations();
      assert.equal(listed.filter((each) => each.incarnation === name).length, 1);
    },
  },
  {
    name: 'an operation whose signal was aborted before rejects with its reason',
    async play(stage) {
      const { session, incarnation } = await stage.node();
      const { name, record } = await incarnation();
      const late = record();
      const reason = new Error('too late');
      const signal = AbortSignal.abort(reason);
      await assert.rejects(session.find(late.transactionId, { signal }), reason);
      await assert.rejects(session.decide(name, late, { signal }), reason);
      await eventually('no record', stage.lazyWithinMs, async () => {
        return (await session.find(late.transactionId)) === undefined;
      });
    },
  },
  {
    name: 'a lost reply, then a fence and prune: unknown, never fenced',
    isForgetful: true,
    async play(stage) {
      const [owner, recoverer] = [await stage.node(), await stage.node()];
      const { name, record } = await owner.incarnation();
      assert.equal(await owner.session.decide(name, record()), 'committed');
      const lost = record();
      const { transactionId } = lost;
      const endLoss = await owner.loseReplies();
      const refused = rejectsWith('RESULT_UNKNOWN', owner.session.decide(name, lost));
      refused.catch(() => {});
      const isFound = async (): Promise<boolean> =>
        (await recoverer.session.find(transactionId)) !== undefined;
      await eventually('recorded', stage.lazyWithinMs, isFound);
      // Somebody finishes it meanwhile, and the log forgets it.
      await recoverer.session.fence(name);
      const names = ['orders', 'stock.eu-1'];
      await recoverer.session.acknowledge(
        names.map((each) => ({ transactionId, participant: each })),
      );
      await eventually('forgotten', stage.lazyWithinMs, async () => {
        await recoverer.session.prune();
        return !(await isFound());
      });
      await endLoss();
      await refused;
      // Asked anew, it is fenced: the coordinator knows of the loss, and asks for evidence.
      assert.equal(await owner.session.decide(name, lost), 'fenced');
    },
  },
];
