import assert from 'node:assert/strict';
import type { ParticipantCase } from './participant-branch.js';
import { isListed } from './participant-stage.js';

/** What other processes can do with a branch that its owner left, and what evidence says. */
export function recoveryCases<Handle>(): readonly ParticipantCase<Handle>[] {
  return [...finishingCases<Handle>(), ...repetitionCases<Handle>(), ...evidenceCases<Handle>()];
}

function finishingCases<Handle>(): readonly ParticipantCase<Handle>[] {
  return [
    {
      name: 'every process lists a branch from its yes until its end',
      async play({ process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { branch: work, branchId, prepare } = await branch(owner, 'written');
        assert.equal(await isListed(other, branchId), false);
        await prepare();
        assert.equal(await isListed(other, branchId), true);
        assert.equal(await isListed(owner, branchId), true);
        await work.commit();
        assert.equal(await isListed(other, branchId), false);
      },
    },
    {
      name: 'a prepared branch outlives the process that prepared it, and another one commits it',
      async play({ subject, process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { key, branchId, prepare } = await branch(owner, 'written');
        const record = await prepare();
        await owner.close();
        assert.equal(await isListed(other, branchId), true);
        await other.commit(record);
        assert.equal(await subject.read(key), 'written');
        assert.equal(await isListed(other, branchId), false);
      },
    },
    {
      name: 'a prepared branch is aborted by another process, and leaves nothing',
      async play({ subject, process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { key, branchId, prepare } = await branch(owner, 'written');
        await prepare();
        // A recoverer that found no record has no evidence either.
        await other.abort({ branchId, evidence: '' });
        assert.equal(await subject.read(key), undefined);
        assert.equal(await isListed(owner, branchId), false);
      },
    },
    {
      name: 'two processes that commit one branch at the same time both succeed',
      async play({ subject, process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { key, prepare, branch: work } = await branch(owner, 'written');
        const record = await prepare();
        await Promise.all([work.commit(), other.commit(record), other.commit(record)]);
        assert.equal(await subject.read(key), 'written');
      },
    },
    {
      name: 'a prepared branch tells its age, where the resource knows it',
      async play({ process, branch }) {
        const owner = await process();
        const { branchId, prepare } = await branch(owner, 'written');
        await prepare();
        const found = (await owner.recover()).find((each) => each.branchId === branchId);
        assert.ok(found !== undefined);
        const { ageMs = 0 } = found;
        assert.ok(ageMs >= 0 && ageMs < 60_000, `age ${ageMs} ms`);
      },
    },
  ];
}

function repetitionCases<Handle>(): readonly ParticipantCase<Handle>[] {
  return [
    {
      name: 'a commit that is sent again is a success and changes nothing',
      async play({ subject, process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { key, prepare, branch: work } = await branch(owner, 'written');
        const record = await prepare();
        await work.commit();
        await owner.commit(record);
        await other.commit(record);
        assert.equal(await subject.read(key), 'written');
      },
    },
    {
      name: 'an abort that is sent again, or for a branch that never was, is a success',
      async play({ process, branch }) {
        const owner = await process();
        const { branchId, prepare, branch: work } = await branch(owner, 'written');
        await prepare();
        await work.abort();
        await owner.abort({ branchId, evidence: '' });
        await owner.abort({ branchId, evidence: '' });
        await owner.abort({ branchId: `${branchId}9`, evidence: '' });
      },
    },
    {
      name: 'a commit of a branch that was aborted rejects',
      async play({ subject, process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { key, prepare } = await branch(owner, 'written');
        const record = await prepare();
        await other.abort(record);
        await assert.rejects(other.commit(record));
        await assert.rejects(owner.commit(record));
        assert.equal(await subject.read(key), undefined);
      },
    },
    {
      name: 'an abort of a branch that was committed changes nothing',
      async play({ subject, process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { key, prepare } = await branch(owner, 'written');
        const record = await prepare();
        await owner.commit(record);
        await Promise.allSettled([other.abort(record), owner.abort(record)]);
        assert.equal(await subject.read(key), 'written');
        assert.equal(await owner.outcome(record), 'committed');
      },
    },
  ];
}

function evidenceCases<Handle>(): readonly ParticipantCase<Handle>[] {
  return [
    {
      name: 'evidence tells every process that a branch is prepared, and then committed',
      async play({ process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { prepare, branch: work } = await branch(owner, 'written');
        const record = await prepare();
        assert.equal(await other.outcome(record), 'prepared');
        await work.commit();
        assert.equal(await other.outcome(record), 'committed');
        assert.equal(await owner.outcome(record), 'committed');
      },
    },
    {
      name: 'evidence tells every process that a prepared branch was aborted',
      async play({ process, branch }) {
        const [owner, other] = [await process(), await process()];
        const { prepare, branch: work } = await branch(owner, 'written');
        const record = await prepare();
        await work.abort();
        assert.equal(await other.outcome(record), 'aborted');
      },
    },
    {
      name: 'of a branch that never was, evidence claims neither prepared nor committed',
      async play({ process, branch }) {
        const owner = await process();
        const { branchId } = await branch(owner, 'written');
        const outcome = await owner.outcome({ branchId: `${branchId}8`, evidence: '' });
        assert.ok(outcome === 'unknown' || outcome === 'aborted', outcome);
      },
    },
  ];
}
