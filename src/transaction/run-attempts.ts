import { sleep } from '../core/abort.js';
import { backoffMs } from '../core/backoff.js';
import { elapsedMs, type Instant } from '../core/clock.js';
import { CoordinationError, isCoordinationError } from '../core/errors.js';
import type { TransactionId } from '../core/ids.js';
import { isConflict } from './conflict.js';
import type { Transaction } from './coordinator.js';
import { boundedCall, type CoordinatorHost } from './host.js';
import type { CheckedTransactionOptions } from './options.js';
import { type Outcome, repeatedOutcome } from './outcome.js';
import {
  becomeReady,
  readyLife,
  runTransaction,
  type TransactionStart,
} from './run-transaction.js';
import { protocolUnsupported } from './three-phase/sites-protocol.js';
import { holderState, keyBusyError } from './transaction-key.js';

/** A call of `run`: all attempts together have the time that one has. */
export interface RunRequest {
  readonly options: CheckedTransactionOptions;
  readonly since: Instant;
  readonly within: TransactionStart['within'];
}

type Body<Value> = (tx: Transaction) => Promise<Value> | Value;

const RETRY_BACKOFF = { baseMs: 10, maxMs: 1_000 };
/** So many transactions may wait for the log's answer in the background. */
const IN_DOUBT_MAX = 1_000;

/** Runs a transaction, again after conflicts where the caller wishes it, and once for a key. */
export async function runAttempts<Value>(
  host: CoordinatorHost,
  request: RunRequest,
  body: Body<Value>,
): Promise<Outcome<Value | undefined>> {
  const { key, protocol } = request.options;
  if (protocol === 'three-phase') assertSites(host, key);
  if (key === undefined) return attempts(host, request, body);
  if (host.keys.has(key)) throw keyBusyError(key, undefined);
  host.keys.add(key);
  try {
    return await attempts(host, request, body);
  } finally {
    host.keys.delete(key);
  }
}

async function attempts<Value>(
  host: CoordinatorHost,
  request: RunRequest,
  body: Body<Value>,
): Promise<Outcome<Value | undefined>> {
  for (let attempt = 1; ; attempt += 1) {
    const outcome = await attemptOnce(host, request, attempt, body);
    if (outcome.state !== 'aborted') return outcome;
    if (outcome.by === 'key') throw outcome.cause;
    if (isCoordinationError(outcome.cause, 'PROTOCOL_UNSUPPORTED')) throw outcome.cause;
    const isLast = attempt >= request.options.retry.attempts;
    const mayRetry = outcome.by === 'body' || outcome.by === 'participant';
    if (isLast || !mayRetry || !isConflict(host.participants.values(), outcome.cause)) {
      return outcome;
    }
    if (!(await isNextDue(host, request, attempt))) return outcome;
    host.recorder.retried();
  }
}

/** @throws CoordinationError (PROTOCOL_UNSUPPORTED) */
function assertSites({ site }: CoordinatorHost, key: string | undefined): void {
  if (site === undefined) {
    const needed = 'createTransactionCoordinator({ site: createTransactionSite({ … }) })';
    throw protocolUnsupported(needed, 'no site');
  }
  if (key !== undefined) {
    throw protocolUnsupported('transactions without a key, which the log decides', 'a key');
  }
}

/** Waits between two attempts; false when there is no time, or no wish, for another one. */
async function isNextDue(
  { clock, random, closing, onAbort }: CoordinatorHost,
  { options, since }: RunRequest,
  attempt: number,
): Promise<boolean> {
  const delayMs = backoffMs(attempt - 1, RETRY_BACKOFF, random);
  if (delayMs >= options.timeoutMs - elapsedMs(clock, since)) return false;
  const ending = new AbortController();
  const stops = [options.signal, closing].map((signal) => onAbort(signal, () => ending.abort()));
  await sleep(clock, delayMs, { signal: ending.signal }).catch(() => {});
  for (const stop of stops) stop();
  return !ending.signal.aborted;
}

async function attemptOnce<Value>(
  host: CoordinatorHost,
  request: RunRequest,
  attempt: number,
  body: Body<Value>,
): Promise<Outcome<Value | undefined>> {
  const { options, since, within } = request;
  const { recorder, clock } = host;
  recorder.started();
  let start: TransactionStart;
  try {
    assertRoom(host);
    const life = readyLife(host, options) ?? (await becomeReady(host, options, since));
    start = { options, since, within, attempt, life };
    const { key } = options;
    const first = key === undefined ? undefined : await committedBefore(host, request, key);
    if (first !== undefined) {
      recorder.repeated();
      return repeatedOutcome(first);
    }
  } catch (error) {
    recorder.refused();
    throw error;
  }
  const outcome = await runTransaction(host, start, body);
  record(host, options.resourceId, outcome, elapsedMs(clock, since));
  return outcome;
}

/** The transaction that committed with this key before, if any did. */
async function committedBefore(
  { clock, session, closing }: CoordinatorHost,
  { options: { timeoutMs }, since }: RunRequest,
  key: string,
): Promise<TransactionId | undefined> {
  const call = <T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    const leftMs = Math.max(timeoutMs - elapsedMs(clock, since), 1);
    return boundedCall(clock, { signals: [closing], timeoutMs: leftMs }, ask);
  };
  const holder = await call((signal) => session.findKey(key, { signal }));
  if (holder === undefined) return undefined;
  const state = await holderState(session, holder, call);
  if (state === 'open') throw keyBusyError(key, holder.transactionId);
  return state === 'committed' ? holder.transactionId : undefined;
}

function assertRoom({ active }: CoordinatorHost): void {
  if (active.size < IN_DOUBT_MAX) return;
  const waiting = Array.from(active.values()).filter((each) => each.isInDoubt());
  if (waiting.length < IN_DOUBT_MAX) return;
  const names = waiting.flatMap(({ branches }) => branches.map((each) => each.participant.name));
  const participants = Array.from(new Set(names));
  throw new CoordinationError(
    'LOG_FULL',
    `${IN_DOUBT_MAX} transactions of this process wait for an answer of the log; ` +
      'bring the log back before beginning more',
    { limit: IN_DOUBT_MAX, participants },
  );
}

function record(
  { recorder, channels }: CoordinatorHost,
  resource: string,
  outcome: Outcome<unknown>,
  durationMs: number,
): void {
  const { state, transactionId } = outcome;
  const by = outcome.state === 'aborted' ? outcome.by : undefined;
  recorder.ended(state, durationMs, by);
  channels.ended.publish(() => ({ transactionId, resource, state, by, durationMs }));
}
