import { type Scope, sleep } from '../core/abort.js';
import { backoffMs } from '../core/backoff.js';
import { isCoordinationError } from '../core/errors.js';
import type { TransactionId } from '../core/ids.js';
import { callOptions } from './call-scope.js';
import { type EnlistedBranch, type RecoveryHost, scopedCall } from './host.js';
import type { ParticipantCallOptions } from './participant.js';

/** How one branch is to end. */
export interface BranchEnding {
  readonly transactionId: TransactionId;
  readonly verb: 'commit' | 'abort';
  readonly evidence: string;
  /** Its prepare was not answered, so the participant itself is asked too. */
  readonly isLost: boolean;
}

/** After so many tries a branch is left to the sweep, which never gives up. */
const ATTEMPTS_MAX = 4;
const BACKOFF = { baseMs: 50, maxMs: 2_000 };

/**
 * Phase two of one branch: first through the branch, which still has its connection, then through
 * the participant. Resolves 'ended', or 'left' for the sweep; `onTried` is called after each try
 * that failed.
 */
export async function finishBranch(
  host: RecoveryHost,
  enlisted: EnlistedBranch,
  ending: BranchEnding,
  onTried: () => void,
): Promise<'ended' | 'left'> {
  const { clock, random, stopped, stopping = stopped } = host;
  for (let attempt = 0; attempt < ATTEMPTS_MAX && !stopped.aborted; attempt += 1) {
    try {
      await scopedCall(clock, { signals: [stopping] }, (scope) =>
        attempt === 0
          ? endHere(enlisted, ending, scope)
          : endThere(enlisted, ending, { signal: scope.signal }),
      );
      return 'ended';
    } catch (error) {
      if (isCoordinationError(error, 'OUTCOME_CONTRADICTED')) {
        contradicted(host, enlisted, ending, error);
        return 'left';
      }
      failed(host, enlisted, ending, error);
    }
    onTried();
    await pause(backoffMs(attempt, BACKOFF, random), host);
  }
  return 'left';
}

async function endHere(
  { branch, branchId, participant }: EnlistedBranch,
  { verb, isLost, evidence }: BranchEnding,
  scope: Scope,
): Promise<void> {
  const options = callOptions(branch, scope);
  if (!isLost) return branch[verb](options);
  // The branch lets go of what it holds, whatever it believes; then the resource is told.
  await branch.abort(options).catch(() => {});
  await participant.abort({ branchId, evidence }, { signal: scope.signal });
}

async function endThere(
  { branchId, participant }: EnlistedBranch,
  { verb, evidence }: BranchEnding,
  options: ParticipantCallOptions,
): Promise<void> {
  await participant[verb]({ branchId, evidence }, options);
}

/** Waits, or less when background work must end. */
export async function pause(delayMs: number, host: RecoveryHost): Promise<void> {
  const { clock, stopped } = host;
  await sleep(clock, delayMs, { signal: stopped, keepAlive: false }).catch(() => {});
}

function contradicted(
  { recorder, channels }: RecoveryHost,
  { participant, branchId }: EnlistedBranch,
  { transactionId }: BranchEnding,
  error: unknown,
): void {
  recorder.contradicted();
  channels.contradicted.publish(() => ({
    transactionId,
    branchId,
    participant: participant.name,
    error,
  }));
}

function failed(
  { channels }: RecoveryHost,
  { participant }: EnlistedBranch,
  { transactionId, verb }: BranchEnding,
  error: unknown,
): void {
  channels.failed.publish(() => ({
    operation: verb,
    transactionId,
    participant: participant.name,
    error,
  }));
}
