import assert from 'node:assert/strict';
import { systemClock } from '../core/clock.js';
import { newTransactionId } from '../core/ids.js';
import { systemRandom } from '../core/random.js';
import type { Branch, BranchRecord, Participant } from '../transaction/participant.js';

/** One process's participant, as the subject of a contract opens it. */
export interface OpenedParticipant<Handle> {
  /** What the cases begin branches in. */
  readonly participant: Participant<Handle>;
  /** Lets go of what was opened for it; called after `Participant.close`. */
  close?(): Promise<void>;
}

/** What `participantContract` is run on. */
export interface ParticipantSubject<Handle> {
  /** Opens the participant the way one more process would: same name, same resource. */
  open(): OpenedParticipant<Handle> | Promise<OpenedParticipant<Handle>>;
  /** Writes a text under a key inside a branch. */
  write(handle: Handle, key: string, value: string): Promise<unknown>;
  /**
   * The committed text under a key, read outside any transaction; undefined where there is none.
   */
  read(key: string): Promise<string | undefined>;
  /** Reads inside a branch and writes nothing. Leave it out where the resource cannot. */
  look?(handle: Handle, key: string): Promise<unknown>;
  /** Makes a branch unable to keep a yes. It may already reject. Leave it out where nothing can. */
  spoil?(handle: Handle, key: string): Promise<unknown>;
  /** Whether an abort before prepare is noted, so that the late prepare votes no. Default false. */
  readonly notesAborts?: boolean | undefined;
}

/** A branch that a case began. */
export interface StagedBranch<Handle> {
  readonly participant: Participant<Handle>;
  readonly branch: Branch<Handle>;
  readonly branchId: string;
  readonly key: string;
  /** Votes, and fails the case when the vote is not yes. */
  prepare(): Promise<BranchRecord>;
}

/** Where one case plays: keys of its own, and every branch ended afterwards. */
export interface ParticipantStage<Handle> {
  readonly subject: ParticipantSubject<Handle>;
  /** One more process. */
  process(): Promise<Participant<Handle>>;
  /** Begins a branch, and writes `value` into it unless it is left out. */
  branch(participant: Participant<Handle>, value?: string): Promise<StagedBranch<Handle>>;
}

const TIMEOUT_MS = 15_000;

/** Runs a case on a stage, and lets go of everything afterwards, however it ended. */
export async function onParticipantStage<Handle>(
  subject: ParticipantSubject<Handle>,
  play: (stage: ParticipantStage<Handle>) => Promise<void>,
): Promise<void> {
  const cleanups: (() => Promise<unknown>)[] = [];
  const prefix = `kit:${systemRandom.token(8)}`;
  let branchCount = 0;
  try {
    await play({
      subject,
      async process() {
        const { participant, close } = await subject.open();
        cleanups.push(async () => {
          await participant.close();
          await close?.();
        });
        return participant;
      },
      async branch(participant, value) {
        branchCount += 1;
        const staged = await beginBranch(participant, `${prefix}:${branchCount}`);
        // Ended before its process closes, and harmless where the case ended it already.
        cleanups.push(() => Promise.allSettled([staged.end()]));
        if (value !== undefined) await subject.write(staged.branch.handle, staged.key, value);
        return staged;
      },
    });
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup();
  }
}

async function beginBranch<Handle>(
  participant: Participant<Handle>,
  key: string,
): Promise<StagedBranch<Handle> & { end(): Promise<void> }> {
  const origin = { namespace: '_kit-_kit-', authority: 'contract' };
  const transactionId = newTransactionId(key, 'contract', origin);
  const branchId = `${transactionId}.1`;
  const branch = await participant.enlist({
    transactionId,
    branchId,
    timeoutMs: TIMEOUT_MS,
    signal: new AbortController().signal,
    clock: systemClock,
  });
  const record: BranchRecord = { branchId, evidence: '' };
  return {
    participant,
    branch,
    branchId,
    key,
    async prepare() {
      const vote = await branch.prepare();
      assert.equal(vote.vote, 'yes', `vote of a branch that wrote: ${JSON.stringify(vote)}`);
      return { branchId, evidence: vote.vote === 'yes' ? vote.evidence : '' };
    },
    async end() {
      await branch.abort();
      await participant.abort(record);
    },
  };
}

/** Whether a process lists a branch as prepared. */
export async function isListed(
  participant: Participant<unknown>,
  branchId: string,
): Promise<boolean> {
  const listed = await participant.recover();
  return listed.some((each) => each.branchId === branchId);
}
