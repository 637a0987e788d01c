import assert from 'node:assert/strict';
import { systemClock } from '../core/clock.js';
import { GUARANTEE_LEVELS } from '../core/guarantees.js';
import { newTransactionId } from '../core/ids.js';
import { rejectsWith } from './decision-log-stage.js';
import { isListed, type ParticipantStage, type ParticipantSubject } from './participant-stage.js';

/** One case, before it is bound to a subject. */
export interface ParticipantCase<Handle> {
  readonly name: string;
  /** The optional part of the subject without which the case is left out. */
  readonly needs?: keyof ParticipantSubject<Handle>;
  play(stage: ParticipantStage<Handle>): Promise<void>;
}

const BRANCHES_AT_ONCE = 4;

/** What a branch does in the process that began it. */
export function branchCases<Handle>(): readonly ParticipantCase<Handle>[] {
  return [...workCases<Handle>(), ...voteCases<Handle>(), ...handleCases<Handle>()];
}

function workCases<Handle>(): readonly ParticipantCase<Handle>[] {
  return [
    {
      name: 'what a branch writes is seen by others after its commit and not before',
      async play({ subject, process, branch }) {
        const { branch: work, key, prepare } = await branch(await process(), 'written');
        assert.equal(await subject.read(key), undefined);
        await prepare();
        assert.equal(await subject.read(key), undefined);
        await work.commit();
        assert.equal(await subject.read(key), 'written');
      },
    },
    {
      name: 'a branch that is aborted before it voted leaves nothing',
      async play({ subject, process, branch }) {
        const participant = await process();
        const { branch: work, key, branchId } = await branch(participant, 'written');
        await work.abort();
        assert.equal(await subject.read(key), undefined);
        assert.equal(await isListed(participant, branchId), false);
      },
    },
    {
      name: 'a prepared branch that is aborted leaves nothing',
      async play({ subject, process, branch }) {
        const participant = await process();
        const { branch: work, key, branchId, prepare } = await branch(participant, 'written');
        await prepare();
        await work.abort();
        assert.equal(await subject.read(key), undefined);
        assert.equal(await isListed(participant, branchId), false);
      },
    },
    {
      name: 'branches of several transactions prepare at once, and end each in its own way',
      async play({ subject, process, branch }) {
        const participant = await process();
        const all = await Promise.all(
          Array.from({ length: BRANCHES_AT_ONCE }, () => branch(participant, 'written')),
        );
        await Promise.all(all.map((each) => each.prepare()));
        await Promise.all(
          all.map((each, index) => (index % 2 === 0 ? each.branch.commit() : each.branch.abort())),
        );
        for (const [index, { key }] of all.entries()) {
          assert.equal(await subject.read(key), index % 2 === 0 ? 'written' : undefined);
        }
      },
    },
  ];
}

function voteCases<Handle>(): readonly ParticipantCase<Handle>[] {
  return [
    {
      name: 'a branch alone commits in one phase, where the resource can, and is never prepared',
      async play({ subject, process, branch }) {
        const participant = await process();
        const { branch: work, key, branchId } = await branch(participant, 'written');
        if (work.commitOnePhase === undefined) return;
        assert.deepEqual(await work.commitOnePhase(), { state: 'committed' });
        assert.equal(await subject.read(key), 'written');
        assert.equal(await isListed(participant, branchId), false);
      },
    },
    {
      name: 'a branch that only read leaves nothing prepared after its vote and commit',
      needs: 'look',
      async play({ subject, process, branch }) {
        const participant = await process();
        const { branch: work, key, branchId } = await branch(participant);
        await subject.look?.(work.handle, key);
        const { vote } = await work.prepare();
        assert.notEqual(vote, 'no');
        if (vote === 'yes') await work.commit();
        assert.equal(await isListed(participant, branchId), false);
      },
    },
    {
      name: 'a branch that cannot keep a yes votes no, and leaves nothing',
      needs: 'spoil',
      async play({ subject, process, branch }) {
        const participant = await process();
        const { branch: work, key, branchId } = await branch(participant, 'written');
        await Promise.allSettled([subject.spoil?.(work.handle, key)]);
        const vote = await work.prepare();
        assert.equal(vote.vote, 'no');
        assert.ok(vote.vote === 'no' && vote.reason.length > 0);
        await work.abort();
        assert.equal(await subject.read(key), undefined);
        assert.equal(await isListed(participant, branchId), false);
      },
    },
    {
      name: 'a branch that was aborted elsewhere before it voted votes no',
      needs: 'notesAborts',
      async play({ subject, process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { branch: work, key, branchId } = await branch(owner, 'written');
        await other.abort({ branchId, evidence: '' });
        assert.equal((await work.prepare()).vote, 'no');
        await work.abort();
        assert.equal(await subject.read(key), undefined);
      },
    },
  ];
}

function handleCases<Handle>(): readonly ParticipantCase<Handle>[] {
  return [
    {
      name: 'a handle refuses with BRANCH_ENDED after its branch was committed or aborted',
      async play({ subject, process, branch }) {
        const participant = await process();
        for (const ending of ['commit', 'abort'] as const) {
          const { branch: work, key, prepare } = await branch(participant, 'written');
          await prepare();
          await work[ending]();
          const late = async (): Promise<unknown> => subject.write(work.handle, key, 'late');
          await rejectsWith('BRANCH_ENDED', late());
        }
      },
    },
    {
      name: 'a branch is not begun when the transaction has already been given up',
      async play({ process }) {
        const participant = await process();
        const reason = new Error('given up');
        const transactionId = newTransactionId('given up', 'contract');
        const enlisting = participant.enlist({
          transactionId,
          branchId: `${transactionId}.1`,
          timeoutMs: 1_000,
          signal: AbortSignal.abort(reason),
          clock: systemClock,
        });
        await assert.rejects(enlisting, reason);
      },
    },
    {
      name: 'guarantees tell what a yes survives',
      async play({ process }) {
        const guarantees = await (await process()).guarantees();
        assert.ok(GUARANTEE_LEVELS.includes(guarantees.survives));
        assert.ok(guarantees.subject.length > 0);
      },
    },
  ];
}
