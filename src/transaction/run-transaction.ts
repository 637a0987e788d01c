import {
  type AbortSource,
  abortable,
  alarmAfter,
  type LazyAbort,
  lazyAbort,
  throwIfAborted,
} from '../core/abort.js';
import { elapsedMs, type Instant } from '../core/clock.js';
import { closedError } from '../core/errors.js';
import type { TransactionId } from '../core/ids.js';
import { invalidArgument } from '../core/validate.js';
import type { Transaction } from './coordinator.js';
import { type Enlistment, enlistment } from './enlistment.js';
import {
  type ActiveTransaction,
  boundedCall,
  type CoordinatorHost,
  type EnlistedBranch,
  reasonOf,
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
import { FENCED } from './protocol-calls.js';
import { type RemoteCalls, remoteCalls } from './remote/remote-calls.js';
import { sitesProtocol } from './three-phase/sites-protocol.js';
import type { AbortCause } from './two-phase.js';

/** The transaction that the current asynchronous task is inside of. */
export interface Inside {
  readonly transactionId: TransactionId;
  isOver: boolean;
}

/** A transaction that is about to begin. */
export interface TransactionStart {
  readonly options: CheckedTransactionOptions;
  readonly life: Life;
  /** Which try of the body this is, from 1 on. */
  readonly attempt: number;
  /** When the caller asked: its time counts from then. */
  readonly since: Instant;
  /** Runs the body where a nested `run` can see that it is nested. */
  readonly within: <T>(inside: Inside, body: () => T) => T;
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
  readonly work: LazyAbort;
  readonly callbacks: (() => unknown)[];
  rollbackReason: string | undefined;
  isClosed: boolean;
  isTimeUp: boolean;
  /** Who waits only until time is up. */
  onTimeUp: (() => void) | undefined;
}

const REGISTRY = 'createTransactionCoordinator';

/** Runs the body, then the protocol, and answers no later than the transaction's time-out. */
export async function runTransaction<Value>(
  host: CoordinatorHost,
  start: TransactionStart,
  body: Body<Value>,
): Promise<Outcome<Value>> {
  const run = runOf(host, start);
  const { active } = host;
  const stop = watchForEnds(run, active.get(run.transactionId) as Active);
  try {
    const value = await performBody(run, body);
    return await answer(run, value as Value);
  } finally {
    stop();
  }
}

function runOf(host: CoordinatorHost, start: TransactionStart): Run {
  const { life, options, since } = start;
  const { incarnation } = life;
  const { resourceId, key, timeoutMs } = options;
  const isBySites = options.protocol === 'three-phase';
  const newId = isBySites ? life.newSitesId : life.newId;
  const transactionId = newId(resourceId, host.nodeId);
  const remainingMs = (): number => timeoutMs - elapsedMs(host.clock, since);
  const work = lazyAbort();
  const active = new Active(incarnation);
  const onEnded = (): void => {
    host.active.delete(transactionId);
    active.run = undefined;
  };
  const subject = { transactionId, resourceId, incarnation, key, remainingMs, work, onEnded };
  const rounds = (isBySites ? sitesProtocol : protocol)(host, subject);
  const branchIdOf = (count: number): string => `${transactionId}.${count}`;
  const onBranch = (branch: EnlistedBranch): void => rounds.enlisted(branch);
  const facts = { transactionId, remainingMs, onBranch, branchIdOf, registry: REGISTRY };
  const run: Run = {
    host,
    start,
    transactionId,
    rounds,
    enlisting: enlistment(host, { ...facts, source: work }),
    calls: undefined,
    work,
    callbacks: [],
    rollbackReason: undefined,
    isClosed: false,
    isTimeUp: false,
    onTimeUp: undefined,
  };
  active.run = run;
  host.active.set(transactionId, active);
  return run;
}

/** Tables that outlive it for a while lead to it, but not to its run. */
class Active implements ActiveTransaction {
  readonly incarnation: string;
  run: Run | undefined = undefined;
  isAnswered = false;

  constructor(incarnation: string) {
    this.incarnation = incarnation;
  }

  isInDoubt(): boolean {
    return this.run?.rounds.state().isInDoubt === true;
  }

  giveUp(cause: AbortCause): void {
    const { run } = this;
    if (run === undefined || this.isAnswered) return;
    giveUp(run, cause);
    if (cause.by === 'close') timeIsUp(run);
  }

  get ended(): Promise<void> {
    return this.run?.rounds.ended ?? Promise.resolve();
  }

  get branches(): readonly EnlistedBranch[] {
    return this.run?.rounds.branches ?? [];
  }
}

/**
 * Whatever may end a transaction from outside. After the decision was sent, only time does. The
 * coordinator tells those that are active of a fence and of its close.
 */
function watchForEnds(run: Run, active: Active): () => void {
  const { host, start } = run;
  const { options, life } = start;
  const { signal, timeoutMs } = options;
  const remainingMs = timeoutMs - elapsedMs(host.clock, start.since);
  const onSignal = (): void =>
    giveUp(run, { by: 'signal', reason: 'its signal was aborted', cause: signal?.reason });
  const stop = signal && host.onAbort(signal, onSignal);
  if (life.fenced.aborted) {
    active.giveUp({ by: 'fence', reason: FENCED, cause: life.fenced.reason });
  }
  if (host.closing.aborted) active.giveUp(closedCause(host.closing));
  const cancel = alarmAfter(host.clock, remainingMs, () => {
    giveUp(run, { by: 'timeout', reason: `it took more than ${timeoutMs} ms` });
    timeIsUp(run);
  });
  return () => {
    active.isAnswered = true;
    stop?.();
    cancel();
  };
}

/** Why a transaction is aborted whose coordinator was closed. */
export function closedCause({ reason: cause }: AbortSource): AbortCause {
  return { by: 'close', reason: 'the coordinator was closed', cause };
}

function timeIsUp(run: Run): void {
  run.isTimeUp = true;
  run.onTimeUp?.();
}

/** Waits for what never rejects, but only until time is up. */
function untilTimeUp(run: Run, work: Promise<void>): Promise<void> {
  return new Promise((resolve) => {
    run.onTimeUp = resolve;
    if (run.isTimeUp) resolve();
    else void work.then(resolve);
  });
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
    throwIfAborted(work);
    const inside: Inside = { transactionId, isOver: false };
    const working = start.within(inside, () => runBody(run, inside, body));
    const value = await abortable(working, work);
    if (!enlisting.isSettled || run.calls !== undefined) {
      const settling = Promise.all([enlisting.settled(), run.calls?.settled()]);
      await abortable(settling, work);
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

async function runBody<Value>(run: Run, inside: Inside, body: Body<Value>): Promise<Value> {
  try {
    return await body(transactionOf(run));
  } finally {
    inside.isOver = true;
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
    onBranch: (branch) => rounds.enlisted(branch),
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
    get signal() {
      return work.signal;
    },
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

async function answer<Value>(run: Run, value: Value): Promise<Outcome<Value>> {
  const { rounds, start, transactionId } = run;
  const outcome = await rounds.answer;
  if (outcome === 'in-doubt') {
    whenResolved(run);
    return inDoubtOutcome(transactionId, pendingOf(run));
  }
  const isImpatient = outcome === 'committed' && start.options.waitFor === 'decided';
  if (!isImpatient && !rounds.isTold) await untilTimeUp(run, rounds.told);
  if (outcome === 'committed') {
    if (run.callbacks.length > 0) await untilTimeUp(run, callBack(run));
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
