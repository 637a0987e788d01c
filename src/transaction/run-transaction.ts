import { abortable, alarmAfter, throwIfAborted } from '../core/abort.js';
import { elapsedMs, type Instant } from '../core/clock.js';
import { deferred } from '../core/deferred.js';
import { closedError } from '../core/errors.js';
import type { TransactionId } from '../core/ids.js';
import { invalidArgument } from '../core/validate.js';
import type { Transaction } from './coordinator.js';
import { type Enlistment, enlistment } from './enlistment.js';
import {
  boundedCall,
  type CoordinatorHost,
  reasonOf,
  sharedController,
  silenceError,
} from './host.js';
import type { Life } from './lives.js';
import type { CheckedTransactionOptions } from './options.js';
import {
  abortedError,
  abortedOutcome,
  committedOutcome,
  inDoubtOutcome,
  type Outcome,
} from './outcome.js';
import { type Protocol, protocol } from './protocol.js';
import { type RemoteCalls, remoteCalls } from './remote/remote-calls.js';
import { sitesProtocol } from './three-phase/sites-protocol.js';
import type { AbortCause } from './two-phase.js';

/** A transaction that is about to begin. */
export interface TransactionStart {
  readonly options: CheckedTransactionOptions;
  readonly life: Life;
  /** Which try of the body this is, from 1 on. */
  readonly attempt: number;
  /** When the caller asked: its time counts from then. */
  readonly since: Instant;
  /** Runs the body where a nested `run` can see that it is nested. */
  readonly within: <T>(transactionId: TransactionId, body: () => Promise<T>) => Promise<T>;
}

type Body<Value> = (tx: Transaction) => Promise<Value> | Value;

/** What one run holds together. */
interface Run {
  readonly host: CoordinatorHost;
  readonly start: TransactionStart;
  readonly transactionId: TransactionId;
  readonly rounds: Protocol;
  readonly enlisting: Enlistment;
  /** Made by the first call. */
  calls: RemoteCalls | undefined;
  readonly work: AbortController;
  readonly callbacks: (() => unknown)[];
  rollbackReason: string | undefined;
  isClosed: boolean;
}

/** Runs the body, then the protocol, and answers no later than the transaction's time-out. */
export async function runTransaction<Value>(
  host: CoordinatorHost,
  start: TransactionStart,
  body: Body<Value>,
): Promise<Outcome<Value>> {
  const { life, options, since } = start;
  const isBySites = options.protocol === 'three-phase';
  const newId = isBySites ? life.newSitesId : life.newId;
  const transactionId = newId(options.resourceId, host.nodeId);
  const remainingMs = (): number => options.timeoutMs - elapsedMs(host.clock, since);
  const work = sharedController();
  const { incarnation } = life;
  const { resourceId, key } = options;
  const subject = { transactionId, resourceId, incarnation, key, remainingMs };
  const begin = isBySites ? sitesProtocol : protocol;
  const rounds = begin(host, { ...subject, workSignal: work.signal });
  const onBranch = rounds.enlisted;
  const branchIdOf = (count: number): string => `${transactionId}.${count}`;
  const facts = { transactionId, signal: work.signal, remainingMs, onBranch };
  const registry = 'createTransactionCoordinator';
  const run: Run = {
    host,
    start,
    transactionId,
    rounds,
    enlisting: enlistment(host, { ...facts, branchIdOf, registry }),
    calls: undefined,
    work,
    callbacks: [],
    rollbackReason: undefined,
    isClosed: false,
  };
  const { branches, ended } = rounds;
  const isInDoubt = (): boolean => rounds.state().isInDoubt;
  host.active.set(transactionId, { incarnation, isInDoubt, ended, branches });
  const forget = (): boolean => host.active.delete(transactionId);
  ended.then(forget, forget);
  const watch = watchForEnds(run, remainingMs());
  try {
    const value = await performBody(run, body);
    return await answer(run, value as Value, watch.timeUp);
  } finally {
    watch.stop();
  }
}

/** Whatever may end a transaction from outside. After the decision was sent, only time does. */
function watchForEnds(
  run: Run,
  remainingMs: number,
): { readonly timeUp: Promise<void>; stop(): void } {
  const { host, start } = run;
  const { options, life } = start;
  const timeUp = deferred<void>();
  const by = (cause: AbortCause): void => giveUp(run, cause);
  const stops = [
    options.signal &&
      host.onAbort(options.signal, () => {
        by({ by: 'signal', reason: 'its signal was aborted', cause: options.signal?.reason });
      }),
    host.onAbort(life.fenced, () => {
      const { reason: cause } = life.fenced;
      by({ by: 'fence', reason: 'a recoverer took this coordinator for dead', cause });
    }),
    host.onAbort(host.closing, () => {
      by({ by: 'close', reason: 'the coordinator was closed', cause: host.closing.reason });
      timeUp.resolve();
    }),
    alarmAfter(host.clock, remainingMs, () => {
      by({ by: 'timeout', reason: `it took more than ${options.timeoutMs} ms` });
      timeUp.resolve();
    }),
  ];
  return {
    timeUp: timeUp.promise,
    stop() {
      for (const stop of stops) stop?.();
    },
  };
}

function giveUp({ rounds, work, transactionId }: Run, cause: AbortCause): void {
  const before = rounds.state().phase;
  rounds.giveUp(cause);
  if (before === 'aborted' || rounds.state().phase !== 'aborted') return;
  // The caller's own reason goes to the caller's own work untouched.
  work.abort(cause.by === 'signal' ? cause.cause : abortedError(transactionId, cause));
}

/** The body's value; undefined when the transaction aborts, which the protocol then knows. */
async function performBody<Value>(run: Run, body: Body<Value>): Promise<Value | undefined> {
  const { start, transactionId, rounds, enlisting, work } = run;
  try {
    work.signal.throwIfAborted();
    const working = start.within(transactionId, async () => body(transactionOf(run)));
    const value = await abortable(working, work.signal);
    if (!enlisting.isSettled || run.calls !== undefined) {
      const settling = Promise.all([enlisting.settled(), run.calls?.settled()]);
      await abortable(settling, work.signal);
    }
    closeWork(run);
    const { rollbackReason: reason } = run;
    if (reason === undefined) rounds.workDone();
    else giveUp(run, { by: 'rollback-only', reason });
    return value;
  } catch (cause) {
    closeWork(run);
    // Does nothing where the transaction was given up before and the body only heard of it.
    giveUp(run, { by: 'body', reason: reasonOf(cause), cause });
    return undefined;
  }
}

/** Whoever begins something from now on is refused; a first call, too. */
function closeWork(run: Run): void {
  run.enlisting.close();
  run.isClosed = true;
  run.calls?.close();
}

function callsOf(run: Run): RemoteCalls {
  const { host, transactionId, work, rounds, start } = run;
  run.calls ??= remoteCalls({
    transactionId,
    signal: work.signal,
    remainingMs: () => start.options.timeoutMs - elapsedMs(host.clock, start.since),
    onBranch: rounds.enlisted,
    nodeId: host.nodeId,
    tracing: host.channels.call,
    desk: () => host.calls.open(),
    traceparent: () => start.options.traceparent ?? host.traceparent?.(),
    left: host.calls.left,
    giveUp: (cause) => giveUp(run, cause),
  });
  if (run.isClosed) run.calls.close();
  return run.calls;
}

function transactionOf(run: Run): Transaction {
  const { transactionId, work, enlisting, callbacks } = run;
  return {
    transactionId,
    attempt: run.start.attempt,
    signal: work.signal,
    enlist: (participant) => enlisting.enlist(participant),
    call: (service, payload, options) => callsOf(run).call(service, payload, options),
    afterCommit(callback) {
      if (typeof callback !== 'function') {
        throw invalidArgument('callback', callback, 'a function');
      }
      assertOpen(run);
      callbacks.push(callback);
    },
    setRollbackOnly(reason) {
      if (typeof reason !== 'string') throw invalidArgument('reason', reason, 'a text');
      assertOpen(run);
      run.rollbackReason ??= reason;
    },
  };
}

/** What comes after the body has ended changes nothing any more, and its author must learn of it. */
function assertOpen({ isClosed, transactionId }: Run): void {
  if (isClosed) throw closedError(`transaction ${transactionId}`);
}

async function answer<Value>(
  run: Run,
  value: Value,
  timeUp: Promise<void>,
): Promise<Outcome<Value>> {
  const { rounds, start, transactionId } = run;
  const outcome = await rounds.answer;
  if (outcome === 'in-doubt') {
    whenResolved(run);
    return inDoubtOutcome(transactionId, pendingOf(run));
  }
  const isImpatient = outcome === 'committed' && start.options.waitFor === 'decided';
  if (!isImpatient) await Promise.race([rounds.told, timeUp]);
  if (outcome === 'committed') {
    if (run.callbacks.length > 0) await Promise.race([callBack(run), timeUp]);
    return committedOutcome(transactionId, value, pendingOf(run));
  }
  const { cause = { by: 'log', reason: 'it was not decided' } } = rounds.state();
  return abortedOutcome(transactionId, cause);
}

/** Whose branches have not ended yet, by name. */
function pendingOf({ rounds }: Run): readonly string[] {
  const { branches, phase, lastResource } = rounds.state();
  return rounds.branches
    .filter((_, index) => {
      const rm = branches[index]?.state;
      const isLast = phase === 'one-phase' || (phase === 'deciding' && index === lastResource);
      return rm === 'prepared' || (isLast && rm === 'working');
    })
    .map(({ participant }) => participant.name);
}

/** One that was answered 'in-doubt' goes on in the background. */
function whenResolved(run: Run): void {
  const { rounds, host, transactionId } = run;
  const resolved = async (): Promise<void> => {
    const outcome = await rounds.conclusion;
    host.recorder.resolved();
    host.channels.resolved.publish(() => ({ transactionId, outcome }));
    if (outcome === 'committed') await callBack(run);
  };
  resolved().catch(() => {});
}

/** Callbacks run in the order of their registration; none of them can change the outcome. */
async function callBack({ callbacks, host, transactionId }: Run): Promise<void> {
  for (const callback of callbacks.splice(0)) {
    try {
      await callback();
    } catch (error) {
      host.channels.failed.publish(() => ({ operation: 'after-commit', transactionId, error }));
    }
  }
}

/** The life that decides, where nothing has to be waited for. */
export function readyLife(
  { closing, readiness, lives }: CoordinatorHost,
  options: CheckedTransactionOptions,
): Life | undefined {
  const { ready } = lives;
  if (ready === undefined || !readiness.isLogChecked) return undefined;
  throwIfAborted(options.signal);
  throwIfAborted(closing);
  return ready;
}

/**
 * Waits until the log and this coordinator's life are ready, no longer than the transaction may.
 */
export async function becomeReady(
  host: CoordinatorHost,
  options: CheckedTransactionOptions,
  since: Instant,
): Promise<Life> {
  const { clock, closing, readiness, lives } = host;
  const timeoutMs = Math.max(options.timeoutMs - elapsedMs(clock, since), 1);
  const caller = new AbortController();
  const signals = [caller.signal, closing];
  const stop = host.onAbort(options.signal, () => caller.abort(options.signal?.reason));
  const timeoutReason = (): unknown => silenceError(`${host.backend} log`, 'register', timeoutMs);
  try {
    return await boundedCall(clock, { signals, timeoutMs, timeoutReason }, async (signal) => {
      await readiness.checkLog(signal);
      if (options.protocol === 'three-phase' && host.site !== undefined) {
        await readiness.checkSite(host.site, signal);
      }
      return lives.current(signal);
    });
  } finally {
    stop();
  }
}
