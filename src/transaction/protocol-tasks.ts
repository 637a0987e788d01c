import { abortable, throwIfAborted } from '../core/abort.js';
import { backoffMs } from '../core/backoff.js';
import { deferred } from '../core/deferred.js';
import { type ErrorCode, isCoordinationError } from '../core/errors.js';
import { callOptions } from './call-scope.js';
import { finishBranch, pause } from './finish-branch.js';
import {
  boundedCall,
  CALL_TIMEOUT_MS,
  type EnlistedBranch,
  reasonOf,
  scopedCall,
  silenceError,
} from './host.js';
import { commitLast, settle } from './last-resource.js';
import type {
  BranchOutcome,
  BranchRecord,
  OnePhaseOutcome,
  Participant,
  Vote,
} from './participant.js';
import type { Running } from './protocol.js';
import {
  BACKOFF,
  type DecidedEvent,
  decisiveCall,
  decisiveScope,
  FENCED,
  isNextAttemptDue,
  publishFailure,
  recordOf,
} from './protocol-calls.js';
import { takeKey } from './transaction-key.js';
import type { AbortCause, LostVote, TwoPhaseEffect } from './two-phase.js';

/** An effect that takes time. */
export type TaskEffect = Exclude<
  TwoPhaseEffect,
  { readonly type: 'conclude' | 'doubt' | 'acknowledge' }
>;

/** So often a key that is not needed is given up, if that fails. */
const RELEASES_MAX = 6;
/** Errors of a log that certainly recorded nothing. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set([
  'LOG_FULL',
  'BACKEND_UNAVAILABLE',
  'TRANSACTION_KEY_BUSY',
]);

/** The work of an effect; it ends with an event, unless the coordinator ends first. */
export function taskOf(running: Running, effect: TaskEffect): Promise<void> {
  switch (effect.type) {
    case 'prepare':
      return prepare(running, effect.branch);
    case 'commit':
    case 'abort':
      return endBranch(running, effect);
    case 'commit-one-phase':
      return commitOnePhase(running, effect.branch);
    case 'decide':
      return decide(running);
    case 'settle':
      return settle(running);
    case 'inspect':
      return inspect(running);
  }
}

async function prepare(running: Running, branch: number): Promise<void> {
  const { branches, subject } = running;
  const enlisted = branches[branch];
  if (enlisted === undefined) return;
  running.untold += 1;
  let vote: Vote | LostVote;
  try {
    // Aborted with the transaction's time too, so that it needs no bound of its own.
    const { work } = subject;
    throwIfAborted(work);
    vote = await abortable(enlisted.branch.prepare(callOptions(enlisted.branch, work)), work);
  } catch (cause) {
    // Whatever it is, it is not a vote: the branch may be prepared, or become so.
    vote = { vote: 'lost', reason: `no vote: ${reasonOf(cause)}`, cause };
  }
  running.happen({ type: 'voted', branch, vote, participant: enlisted.participant.name });
  running.untold -= 1;
}

async function commitOnePhase(running: Running, branch: number): Promise<void> {
  const enlisted = running.branches[branch];
  if (enlisted === undefined) return;
  const { name: participant } = enlisted.participant;
  const ended = (
    answer: 'committed' | 'aborted' | 'lost',
    evidence = '',
    cause: Partial<AbortCause> = {},
  ): void => {
    const blame: AbortCause = { by: 'participant', participant, reason: 'it did not commit' };
    running.happen({ type: 'one-phase-ended', answer, evidence, cause: { ...blame, ...cause } });
  };
  let outcome: OnePhaseOutcome | undefined;
  try {
    outcome = await onePhaseAnswer(running, enlisted);
  } catch (cause) {
    return ended('lost', '', { cause });
  }
  if (outcome?.state === 'committed') return ended('committed');
  if (outcome?.state === 'aborted') return ended('aborted', '', outcome);
  return ended('lost', outcome?.evidence, { cause: outcome?.cause });
}

/**
 * When time is up the branch's own word is waited for a little longer: it alone has the evidence by
 * which the outcome can be found out. The caller is not kept waiting by it.
 */
async function onePhaseAnswer(
  running: Running,
  { branch }: EnlistedBranch,
): Promise<OnePhaseOutcome | undefined> {
  const { clock, stopped } = running.host;
  let answering: Promise<OnePhaseOutcome | undefined> | undefined;
  try {
    return await decisiveCall(running, (signal) => {
      answering = (async () => branch.commitOnePhase?.({ signal }))();
      return answering;
    });
  } catch (error) {
    const late = answering ?? Promise.reject(error);
    return boundedCall(clock, { signals: [stopped] }, () => late);
  }
}

/** The deciding step; sent again, after a pause, when an earlier reply was lost. */
async function decide(running: Running): Promise<void> {
  const { host, subject, state } = running;
  if (!(await isNextAttemptDue(running))) return;
  const { incarnation, key } = subject;
  const record = recordOf(running);
  let event: DecidedEvent;
  try {
    if (key !== undefined && !state.isUncertain) await reserve(running, key);
    if (state.lastResource !== undefined) {
      event = await commitLast(running, state.lastResource, record);
    } else {
      const answer = await decisiveScope(running, (scope) =>
        host.session.decide(incarnation, record, callOptions(host.session, scope)),
      );
      event = { type: 'decided', answer, cause: { by: 'fence', reason: FENCED } };
    }
  } catch (cause) {
    const isBusy = isCoordinationError(cause, 'TRANSACTION_KEY_BUSY');
    if (!isBusy) publishFailure(running, 'decide', cause);
    const blame = { by: isBusy ? 'key' : 'log', reason: reasonOf(cause), cause } as const;
    event = { type: 'decided', answer: isRefusal(cause) ? 'refused' : 'lost', cause: blame };
  }
  if (event.cause.by === 'fence' && event.answer !== 'committed') host.lives.end(incarnation);
  running.happen(event);
}

/** Whether it is certain that nothing was recorded, nor will be. */
function isRefusal(error: unknown): boolean {
  return isCoordinationError(error) && REFUSALS.has(error.code);
}

/** A step before the decision: whatever it fails with, nothing was decided. */
async function reserve(running: Running, key: string): Promise<void> {
  const { host, subject } = running;
  running.isKeyAsked = true;
  try {
    await takeKey(host.session, { key, transactionId: subject.transactionId }, (call) =>
      decisiveCall(running, call),
    );
  } catch (error) {
    if (isRefusal(error)) throw error;
    throw silenceError(`${host.backend} log`, 'reserve the key', CALL_TIMEOUT_MS, error);
  }
}

/** Gives the key up again. If that fails too, it stays taken until this coordinator's life ends. */
export async function releaseKey(running: Running): Promise<void> {
  const { host, subject } = running;
  const { key, transactionId } = subject;
  if (key === undefined) return;
  for (let attempt = 0; attempt < RELEASES_MAX && !host.stopped.aborted; attempt += 1) {
    try {
      return await boundedCall(host.clock, { signals: [host.stopped] }, (signal) =>
        host.session.releaseKey(key, transactionId, { signal }),
      );
    } catch (error) {
      publishFailure(running, 'release the key', error);
    }
    await pause(backoffMs(attempt, BACKOFF, host.random), host);
  }
}

/** Notes that the key's transaction committed; acknowledgements, which come later, do so again. */
export async function confirmKey(running: Running): Promise<void> {
  const { host, subject } = running;
  const { key, transactionId } = subject;
  // Where somebody is to acknowledge, that is the time; the record is there until then.
  if (key === undefined || running.state.branches.some(({ state }) => state === 'prepared')) return;
  try {
    await boundedCall(host.clock, { signals: [host.stopped] }, (signal) =>
      host.session.confirmKey(key, transactionId, { signal }),
    );
  } catch (error) {
    publishFailure(running, 'confirm the key', error);
  }
}

/** Asks the resources what became of the branches, after a lost reply. */
async function inspect(running: Running): Promise<void> {
  if (!(await isNextAttemptDue(running))) return;
  const { branches, state } = running;
  const outcomes = branches.map(async ({ participant, branchId }, index) => {
    const { state: rm, evidence } = state.branches[index] ?? { state: 'aborted', evidence: '' };
    const isOnePhase = state.phase === 'one-phase';
    const isLast = index === state.lastResource && evidence !== '';
    if (rm !== 'prepared' && !isOnePhase && !isLast) return 'unknown';
    try {
      // A COMMIT that never arrived leaves no trace: where the resource can note it, an abort keeps
      // it from arriving still, and changes nothing of what was committed.
      if (isOnePhase) await abortUnlessCommitted(running, participant, { branchId, evidence });
      return await decisiveCall(running, (signal) =>
        participant.outcome({ branchId, evidence }, { signal }),
      );
    } catch (error) {
      publishFailure(running, 'outcome', error);
      return 'unknown';
    }
  });
  const known: readonly BranchOutcome[] = await Promise.all(outcomes);
  running.happen({ type: 'inspected', outcomes: known });
}

async function abortUnlessCommitted(
  running: Running,
  participant: Participant,
  branch: BranchRecord,
): Promise<void> {
  try {
    await decisiveCall(running, (signal) => participant.abort(branch, { signal }));
  } catch (error) {
    if (!isCoordinationError(error, 'OUTCOME_CONTRADICTED')) throw error;
  }
}

async function endBranch(
  running: Running,
  effect: Extract<TwoPhaseEffect, { type: 'commit' | 'abort' }>,
): Promise<void> {
  const { host, branches, state, subject } = running;
  const enlisted = branches[effect.branch];
  if (enlisted === undefined) return;
  const isCommit = effect.type === 'commit';
  const ending = {
    transactionId: subject.transactionId,
    verb: effect.type,
    evidence: state.branches[effect.branch]?.evidence ?? '',
    isLost: effect.type === 'abort' && effect.isLost,
  };
  running.untold += 1;
  running.commits += isCommit ? 1 : 0;
  let isTold = false;
  const told = (): void => {
    if (isTold) return;
    isTold = true;
    running.untold -= 1;
    running.settle();
  };
  const onTried = (): void => {
    told();
    for (const onLate of running.onLate ?? []) onLate();
  };
  const waits = isCommit && enlisted.participant.commitsAfterOthers === true;
  const mayEnd = !waits || (await othersCommitted(running, told));
  const ended = mayEnd ? await finishBranch(host, enlisted, ending, onTried) : 'left';
  running.endings[effect.branch] = ended;
  running.awaited?.get(effect.branch)?.resolve(ended);
  if (ended === 'ended') running.happen({ type: 'branch-ended', branch: effect.branch });
  told();
  running.commits -= isCommit ? 1 : 0;
  if (isCommit && running.commits === 0) await acknowledge(running);
}

/**
 * Waits, for a branch that commits after the others, until they have; false when one of them is left
 * to the sweep, which then keeps the order.
 */
async function othersCommitted(running: Running, onLate: () => void): Promise<boolean> {
  const { branches, state } = running;
  const isAfter = (index: number): boolean =>
    branches[index]?.participant.commitsAfterOthers === true;
  const others = state.branches.flatMap((other, index) =>
    other.state === 'prepared' && !isAfter(index) ? [endingOf(running, index)] : [],
  );
  running.onLate ??= new Set();
  running.onLate.add(onLate);
  const endings = await Promise.all(others);
  running.onLate.delete(onLate);
  return !endings.includes('left');
}

function endingOf(running: Running, branch: number): 'ended' | 'left' | Promise<'ended' | 'left'> {
  const known = running.endings[branch];
  if (known !== undefined) return known;
  running.awaited ??= new Map();
  const ending = running.awaited.get(branch) ?? deferred();
  running.awaited.set(branch, ending);
  return ending.promise;
}

/** One message for all branches. Losing it costs a repeated commit, nothing else. */
async function acknowledge(running: Running): Promise<void> {
  const { host, subject, acknowledged } = running;
  const { transactionId } = subject;
  const acknowledgements = acknowledged
    .splice(0)
    .map((participant) => ({ transactionId, participant }));
  if (acknowledgements.length === 0) return;
  try {
    await scopedCall(host.clock, { signals: [host.stopping] }, async (scope) => {
      // In this order: a record that is forgotten must have left its key behind.
      const { key } = subject;
      const options = callOptions(host.session, scope);
      if (key !== undefined) await host.session.confirmKey(key, transactionId, options);
      await host.session.acknowledge(acknowledgements, options);
    });
  } catch (error) {
    publishFailure(running, 'acknowledge', error);
  }
}
