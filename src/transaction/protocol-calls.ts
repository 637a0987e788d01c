import type { Scope } from '../core/abort.js';
import { backoffMs } from '../core/backoff.js';
import type { CommitRecord, DecidedBranch } from './decision-log.js';
import { pause } from './finish-branch.js';
import { CALL_TIMEOUT_MS, scopedCall } from './host.js';
import type { Running } from './protocol.js';
import type { TwoPhaseEvent } from './two-phase.js';

/** What became of a try to decide. */
export type DecidedEvent = Extract<TwoPhaseEvent, { readonly type: 'decided' }>;

/** Why a fenced coordinator's transaction aborts. */
export const FENCED: string = 'a recoverer took this coordinator for dead';
/** Between two tries to learn the decision. */
export const BACKOFF: { readonly baseMs: number; readonly maxMs: number } = {
  baseMs: 20,
  maxMs: 2_000,
};

/** Pauses before every try but the first. False: background work must end. */
export function isNextAttemptDue(running: Running): boolean | Promise<boolean> {
  const { host, attempts } = running;
  running.attempts += 1;
  const isDue = (): boolean => !host.stopped.aborted;
  if (attempts === 0) return isDue();
  return pause(backoffMs(attempts - 1, BACKOFF, host.random), host).then(isDue);
}

/** A call whose answer decides. Only time ends the wait for it, and the coordinator's own end. */
export function decisiveCall<T>(
  running: Running,
  call: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return decisiveScope(running, (scope) => call(scope.signal));
}

/** The same, without a signal for who does not ask for one. */
export function decisiveScope<T>(running: Running, call: (scope: Scope) => Promise<T>): Promise<T> {
  const { host, subject } = running;
  const remainingMs = subject.remainingMs();
  const timeoutMs = remainingMs > 0 ? Math.min(remainingMs, CALL_TIMEOUT_MS) : CALL_TIMEOUT_MS;
  return scopedCall(host.clock, { signals: [host.stopping], timeoutMs }, call);
}

/** The decision, as the log keeps it. */
export function recordOf(running: Running): CommitRecord {
  const { transactionId, resourceId, key } = running.subject;
  const { nodeId } = running.host;
  const facts = { transactionId, resourceId, nodeId, branches: preparedOf(running) };
  return key === undefined ? facts : { ...facts, key };
}

/** The branches that voted yes, as they stand in the record. */
function preparedOf({ branches, state }: Running): readonly DecidedBranch[] {
  return branches.flatMap(({ participant, branchId, decided }, index) => {
    const { state: rm, evidence } = state.branches[index] ?? { state: 'aborted', evidence: '' };
    if (rm !== 'prepared') return [];
    return decided?.() ?? [{ participant: participant.name, branchId, evidence }];
  });
}

/** Tells whoever listens that something failed in the background, and will be tried again. */
export function publishFailure(
  { host, subject }: Running,
  operation: string,
  error: unknown,
): void {
  const { transactionId } = subject;
  host.channels.failed.publish(() => ({ operation, transactionId, error }));
}
