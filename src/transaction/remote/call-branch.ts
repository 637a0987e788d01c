import { deferred } from '../../core/deferred.js';
import type { Guarantees } from '../../core/guarantees.js';
import type { DecidedBranch } from '../decision-log.js';
import type { Branch, BranchOutcome, Participant, Vote } from '../participant.js';
import { type CallDesk, changeCall } from './call-desk.js';
import type { CallKey, CallRecord, CallVote } from './call-record.js';
import { watchCall } from './call-watch.js';

/** A call as a branch of its caller's transaction. */
export interface CallBranch {
  readonly branch: Branch;
  readonly participant: Participant;
  /** The branches in the server's resources, once it has voted. */
  decided(): readonly DecidedBranch[];
  /** Of a three-phase transaction: the site that votes for the call, once it has answered. */
  site(): string | undefined;
  /** What stands in the store, as far as it is known. */
  stands(record: CallRecord): void;
  /** Takes the vote, with the record that it stands in. */
  voted(vote: CallVote, record: CallRecord): void;
  /** There will be no vote. `isSent`: the call may stand in the store. */
  failed(reason: string, cause: unknown, isSent: boolean): void;
}

const READ_ONLY: Vote = { vote: 'read-only' };

/**
 * The vote comes with the answer of the call, so that `prepare` has nothing to ask. Phase two is a
 * notice in the call's record; the server removes the record when it has applied it, and a sweep of
 * its own finds out the decision if the notice is lost.
 */
export function callBranch(desk: CallDesk, key: CallKey, left: Map<string, CallKey>): CallBranch {
  const vote = deferred<Vote>();
  let branches: readonly DecidedBranch[] = [];
  let site: string | undefined;
  let known: CallRecord | undefined;
  let isSent = true;

  const end = async (
    outcome: 'committed' | 'aborted',
    signal: AbortSignal | undefined,
  ): Promise<void> => {
    if (!isSent) return;
    await endCall(desk, known ?? key, outcome, signal ?? new AbortController().signal);
  };
  return {
    decided: () => branches,
    site: () => site,
    stands(record) {
      known = record;
    },
    voted(answer, record) {
      known = record;
      branches = answer.vote === 'yes' ? answer.branches : [];
      site = answer.vote === 'yes' ? answer.site : undefined;
      if (answer.vote === 'no') vote.resolve({ vote: 'no', reason: answer.reason });
      else vote.resolve(branches.length > 0 ? { vote: 'yes', evidence: '' } : READ_ONLY);
    },
    failed(reason, cause, wasSent) {
      isSent = wasSent;
      vote.resolve({ vote: 'no', reason, cause });
    },
    branch: {
      handle: undefined,
      prepare: () => vote.promise,
      commit: (options) => end('committed', options?.signal),
      async abort(options) {
        // Nobody but this process knows that it was aborted: its sweep goes on telling.
        left.set(key.callId, key);
        await end('aborted', options?.signal);
        left.delete(key.callId);
      },
    },
    participant: remoteParticipant(desk, key, left),
  };
}

/**
 * Ends a call and waits until its server has applied that. A call that nobody has prepared needs
 * nobody to apply anything, and is removed at once.
 */
export async function endCall(
  desk: CallDesk,
  known: CallRecord | CallKey,
  outcome: 'committed' | 'aborted',
  signal: AbortSignal,
): Promise<void> {
  const { session } = desk;
  using watch = watchCall(desk, known);
  let record = await standing(desk, known, outcome, signal);
  while (record !== undefined && isNothingHeld(record)) {
    await session.remove(record, { signal });
    if (record.state !== 'open') return;
    // Somebody may have taken it first.
    record = await session.read(known, { signal });
  }
  if (record === undefined) return;
  const change = await changeCall(desk, record, { type: 'end', outcome }, signal);
  if (change.record !== undefined && isNothingHeld(change.record)) {
    return session.remove(change.record, { signal });
  }
  // Nothing was promised: its server aborts by itself, and nobody need wait for that.
  if (outcome === 'aborted' && change.record?.vote === undefined) return;
  await watch.until((now) => now === undefined, signal, change.record);
}

async function standing(
  { session }: CallDesk,
  known: CallRecord | CallKey,
  outcome: 'committed' | 'aborted',
  signal: AbortSignal,
): Promise<CallRecord | undefined> {
  if ('writeId' in known) return known;
  if (outcome === 'committed') return session.read(known, { signal });
  // Of a create that was not answered nobody knows whether it is still on its way.
  return session.bury(known, { signal });
}

/** Whether no server has, or may come to have, anything prepared for it. */
export function isNothingHeld({ state, vote }: CallRecord): boolean {
  if (state === 'open') return true;
  if (vote === undefined) return false;
  return vote.vote === 'no' || (vote.branches.length === 0 && vote.site === undefined);
}

/** What recovery and `outcome` of the protocol ask, by the call's record. */
function remoteParticipant(desk: CallDesk, key: CallKey, left: Map<string, CallKey>): Participant {
  const { service } = key;
  const never = (): AbortSignal => new AbortController().signal;
  return {
    name: service,
    backend: 'remote',
    enlist: () => Promise.reject(new TypeError('a call is made by tx.call')),
    commit: (_, options) => endCall(desk, key, 'committed', options?.signal ?? never()),
    async abort(_, options) {
      await endCall(desk, key, 'aborted', options?.signal ?? never());
      left.delete(key.callId);
    },
    recover: async () => [],
    async outcome(_, options): Promise<BranchOutcome> {
      const record = await desk.session.read(key, { signal: options?.signal });
      if (record === undefined) return 'unknown';
      // It would have gone before the record of a decision was forgotten.
      return record.outcome ?? 'prepared';
    },
    guarantees: async (): Promise<Guarantees> => ({
      subject: `service ${service}`,
      survives: 'failover',
      promises: [],
      warnings: [],
      settings: {},
    }),
    close: async () => {},
  };
}
