import { abortable, abortScope } from '../../core/abort.js';
import { elapsedMs, instantOf } from '../../core/clock.js';
import { type CoordinationError, isCoordinationError } from '../../core/errors.js';
import type { TransactionId } from '../../core/ids.js';
import { assertNumber, invalidArgument } from '../../core/validate.js';
import { branchEndedError } from '../branch-errors.js';
import { CALLS_MAX, callIdOf } from '../branch-id.js';
import type { TransactionChannels } from '../diagnostics.js';
import type { EnlistedBranch } from '../host.js';
import { traceparentOf } from '../traceparent.js';
import type { AbortCause } from '../two-phase.js';
import { type CallBranch, callBranch, isNothingHeld } from './call-branch.js';
import type { CallDesk } from './call-desk.js';
import { callRefusedError, callTimeoutError, callUnservedError } from './call-errors.js';
import { assertServiceName } from './call-keys.js';
import type { CallKey, CallRecord } from './call-record.js';
import { type CallSchemas, encoded, fitted } from './call-schema.js';
import { watchCall } from './call-watch.js';

/** Options of `Transaction.call`. */
export interface RemoteCallOptions<Payload = unknown, Result = unknown> {
  /**
   * How long the call may take, in milliseconds, from here to its answer, 1 or more; no longer than
   * the transaction. Default nine tenths of what is left of the transaction's time.
   */
  readonly timeoutMs?: number | undefined;
  /** Checks the payload before anything is sent, and the result before it is answered. */
  readonly schema?: CallSchemas<Payload, Result> | undefined;
}

/** The calls of one transaction. */
export interface RemoteCalls {
  call<Result = unknown, Payload = unknown>(
    service: string,
    payload: Payload,
    options?: RemoteCallOptions<Payload, Result>,
  ): Promise<Result>;
  /** Waits for calls that were made and not waited for. */
  settled(): Promise<void>;
  /** Refuses further calls. */
  close(): void;
}

/** What the calls of one transaction need of it. */
export interface CallerFacts {
  readonly transactionId: TransactionId;
  readonly nodeId: string;
  readonly tracing: TransactionChannels['call'];
  /** Opens the store's calls at the first use. */
  readonly desk: () => CallDesk;
  /** The trace that the caller is in, or whatever stands there. */
  readonly traceparent: () => unknown;
  /** Aborted calls whose servers have not been told yet. */
  readonly left: Map<string, CallKey>;
  readonly signal: AbortSignal;
  readonly remainingMs: () => number;
  readonly onBranch: (branch: EnlistedBranch) => void;
  readonly giveUp: (cause: AbortCause) => void;
}

/** No call yet. */
export function remoteCalls(facts: CallerFacts): RemoteCalls {
  const underWay = new Set<Promise<unknown>>();
  let count = 0;
  let isClosed = false;
  return {
    async call<Result, Payload>(
      service: string,
      payload: Payload,
      options: RemoteCallOptions<Payload, Result> = {},
    ): Promise<Result> {
      assertServiceName(service, 'service');
      const { timeoutMs, schema } = options;
      if (timeoutMs !== undefined) assertNumber('timeoutMs', timeoutMs, { min: 1 });
      if (isClosed) throw branchEndedError(service);
      facts.signal.throwIfAborted();
      const desk = facts.desk();
      const part = { service, part: 'payload' } as const;
      const checked = await fitted(schema?.payload, payload, part);
      const text = encoded(checked, part, desk.session.bytesMax);
      if (count >= CALLS_MAX) {
        throw invalidArgument('service', service, `at most ${CALLS_MAX} calls of one transaction`);
      }
      const callId = callIdOf(facts.transactionId, count);
      count += 1;
      const { transactionId, nodeId, tracing } = facts;
      const calling = tracing.trace(
        () => ({ transactionId, callId, service, nodeId }),
        () => oneCall<Result>(facts, { desk, callId, service, text, timeoutMs, schema }),
      );
      underWay.add(calling);
      try {
        return await calling;
      } finally {
        underWay.delete(calling);
      }
    },
    async settled() {
      while (underWay.size > 0) await Promise.allSettled(underWay);
    },
    close() {
      isClosed = true;
    },
  };
}

interface OneCall<Result> {
  readonly desk: CallDesk;
  readonly callId: string;
  readonly service: string;
  readonly text: string;
  readonly timeoutMs: number | undefined;
  readonly schema: CallSchemas<never, Result> | CallSchemas<unknown, Result> | undefined;
}

/** Time is left to commit, or to tell why not. */
const TIME_SHARE = 0.9;

/** From the first message to the vote. Whatever it fails with, the transaction cannot commit. */
async function oneCall<Result>(facts: CallerFacts, call: OneCall<Result>): Promise<Result> {
  const { desk, callId, service } = call;
  const made = callBranch(desk, { callId, service }, facts.left);
  const { branch, participant, decided, site } = made;
  facts.onBranch({ participant, branch, branchId: callId, decided, site });
  try {
    const record = await answered(facts, call, made);
    const { vote } = record;
    if (vote === undefined) throw callRefusedError(service, { reason: 'the call was ended' });
    made.voted(vote, record);
    if (isNothingHeld(record)) void desk.session.remove(record).catch(() => {});
    if (vote.vote === 'no') throw callRefusedError(service, vote);
    const part = { service, part: 'result' } as const;
    return await fitted(call.schema?.result, JSON.parse(vote.result), part);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const isSent = !isCoordinationError(cause, 'CALL_QUEUE_FULL');
    made.failed(reason, cause, isSent);
    if (!facts.signal.aborted) {
      facts.giveUp({ by: 'participant', participant: service, reason, cause });
    }
    throw cause;
  }
}

/** The record with the vote. */
async function answered<Result>(
  { remainingMs, signal, traceparent }: CallerFacts,
  { desk, callId, service, text, timeoutMs }: OneCall<Result>,
  made: CallBranch,
): Promise<CallRecord> {
  const { clock } = desk;
  const since = instantOf(clock);
  const limitMs = Math.max(Math.min(timeoutMs ?? TIME_SHARE * remainingMs(), remainingMs()), 1);
  using scope = abortScope({ clock, parents: [signal], timeoutMs: limitMs });
  const key = { callId, service };
  using watch = watchCall(desk, key);
  try {
    const slackMs = Math.max(Math.round(remainingMs() - limitMs), 0);
    const trace = traceparentOf(traceparent);
    const facts = { ...key, payload: text, slackMs, ...trace, timeoutMs: limitMs };
    const creating = created(desk, facts, scope.signal);
    // A transaction that ended meanwhile has buried the call, which is no longer needed then.
    creating.then(made.stands, () => {});
    const stands = await abortable(creating, scope.signal);
    const isAnswered = (now: CallRecord | undefined): boolean =>
      now === undefined || now.state === 'voted' || now.state === 'ended';
    const record = await watch.until(isAnswered, scope.signal, stands);
    if (record !== undefined) return record;
    throw callRefusedError(service, { reason: 'the call is not in the store any more' });
  } catch (error) {
    if (!scope.signal.aborted || signal.aborted || error !== scope.signal.reason) throw error;
    throw await lateError(desk, service, key, Math.round(elapsedMs(clock, since)));
  }
}

async function created(
  { session, clock }: CallDesk,
  call: Parameters<CallDesk['session']['create']>[0],
  signal: AbortSignal,
): Promise<CallRecord> {
  const since = instantOf(clock);
  while (true) {
    try {
      const leftMs = Math.max(call.timeoutMs - elapsedMs(clock, since), 1);
      return await session.create({ ...call, timeoutMs: leftMs }, { signal });
    } catch (error) {
      // Nobody else writes this call: it can be sent again until it is there.
      if (!isCoordinationError(error, 'RESULT_UNKNOWN') || signal.aborted) throw error;
    }
  }
}

const LATE_LOOK_MS = 1_000;

/** Why a call has no answer: asked once more, with a bound of its own. */
async function lateError(
  { session, clock }: CallDesk,
  service: string,
  key: { readonly callId: string; readonly service: string },
  waitedMs: number,
): Promise<CoordinationError> {
  try {
    using scope = abortScope({ clock, timeoutMs: LATE_LOOK_MS });
    const { signal } = scope;
    const [record, servers] = await Promise.all([
      session.read(key, { signal }),
      session.servers(service, { signal }),
    ]);
    if (record?.state === 'claimed') return callTimeoutError(service, waitedMs, 'running');
    if (servers.length === 0) return callUnservedError(service, waitedMs);
  } catch {
    // The store does not answer: that nobody did is all that is known.
  }
  return callTimeoutError(service, waitedMs, 'queued');
}
