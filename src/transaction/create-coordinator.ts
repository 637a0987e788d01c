import { AsyncLocalStorage } from 'node:async_hooks';
import { abortFanOut, lazyAbort, onAbort, throwIfAborted } from '../core/abort.js';
import { elapsedMs, instantOf } from '../core/clock.js';
import { CoordinationError, closedError } from '../core/errors.js';
import { FewMap } from '../core/few-map.js';
import { assertNumber, assertSignal, invalidArgument } from '../core/validate.js';
import { workGate } from '../core/work-gate.js';
import type {
  Transaction,
  TransactionCoordinator,
  TransactionCoordinatorOptions,
  TransactionOptions,
} from './coordinator.js';
import type { DecisionLogSession } from './decision-log.js';
import { type TransactionRunContext, transactionChannels } from './diagnostics.js';
import { boundedCall, type CoordinatorHost, sharedController } from './host.js';
import { lives } from './lives.js';
import {
  type CheckedCoordinatorOptions,
  checkCoordinatorOptions,
  checkTransactionOptions,
} from './options.js';
import type { Outcome } from './outcome.js';
import { FENCED } from './protocol-calls.js';
import { readiness } from './readiness.js';
import { recoveryOf } from './recover.js';
import { callerDesk } from './remote/caller-desk.js';
import { runAttempts } from './run-attempts.js';
import { closedCause, type Inside, type TransactionStart } from './run-transaction.js';
import { transactionRecorder } from './statistics.js';
import { startSweep } from './sweep.js';
import { siteDeskOf } from './three-phase/site-desk.js';

const WHAT = 'the transaction coordinator';
const DRAIN_MS = 5_000;

/**
 * A coordinator of atomic commits over several resources: two-phase commit with presumed abort
 * (Mohan, Lindsay and Obermarck 1986) and incarnation fencing.
 *
 * Sends nothing yet and needs no server to be there; the first transaction registers this process
 * with the log, and the sweep that finishes what others left begins at once.
 *
 * @throws TypeError (INVALID_ARGUMENT) for ill-formed options.
 */
export function createTransactionCoordinator(
  options: TransactionCoordinatorOptions,
): TransactionCoordinator {
  const settings = checkCoordinatorOptions(options);
  const { clock, nodeId, namespace } = settings;
  const closing = sharedController();
  const stopped = sharedController();
  const host = hostOf(settings, closing.signal, stopped.signal);
  const gate = workGate(WHAT, clock);
  const inside = new AsyncLocalStorage<Inside>();
  const within: TransactionStart['within'] = (here, body) => inside.run(here, body);
  const recovery = recoveryOf(host);
  const sweep = startSweep(host, recovery, settings.sweepMs);
  let closed: Promise<void> | undefined;

  const run = async <Value>(
    runOptions: TransactionOptions,
    body: (tx: Transaction) => Promise<Value> | Value,
  ): Promise<Outcome<Value | undefined>> => {
    const since = instantOf(clock);
    const checked = checkTransactionOptions(runOptions, body, settings);
    throwIfAborted(checked.signal);
    assertNotNested(inside.getStore());
    const { resourceId: resource } = checked;
    const context = (): TransactionRunContext => ({ resource, nodeId, backend: host.backend });
    const request = { options: checked, since, within };
    return gate.run(() => host.channels.run.trace(context, () => runAttempts(host, request, body)));
  };
  const close = async (drainMs: number): Promise<void> => {
    const since = instantOf(clock);
    sweep.stop();
    // Node would carry it along with every promise that the process makes from now on.
    inside.disable();
    await gate.close(drainMs);
    closing.abort(closedError(WHAT));
    await drained(host, Math.max(drainMs - elapsedMs(clock, since), 0));
    stopped.abort(closedError(WHAT));
    await closeSession(host);
  };
  return {
    nodeId,
    namespace,
    // Without a key, an outcome that is committed has the body's value.
    run: run as TransactionCoordinator['run'],
    commit: (async (runOptions: TransactionOptions, body: (tx: Transaction) => unknown) =>
      (await run(runOptions, body)).unwrap()) as TransactionCoordinator['commit'],
    recover: (call) =>
      gate.run(async () => {
        assertSignal(call?.signal);
        return recovery.recover(call?.signal, false);
      }),
    inDoubt: (call) => recovery.inDoubt(call?.signal),
    guarantees: (call) =>
      gate.run(async () => {
        assertSignal(call?.signal);
        const signals = [call?.signal, stopped.signal];
        return boundedCall(clock, { signals }, (signal) => host.readiness.guarantees(signal));
      }),
    stats: () => host.recorder.stats(),
    async close({ drainMs = DRAIN_MS } = {}) {
      assertNumber('drainMs', drainMs, { min: 0 });
      closed ??= close(drainMs);
      return closed;
    },
    async [Symbol.asyncDispose]() {
      closed ??= close(DRAIN_MS);
      return closed;
    },
  };
}

async function closeSession({ session, calls, channels }: CoordinatorHost): Promise<void> {
  try {
    await calls.close();
    await session.close();
  } catch (error) {
    channels.failed.publish(() => ({ operation: 'close', error }));
  }
}

function hostOf(
  settings: CheckedCoordinatorOptions,
  closing: AbortSignal,
  stopped: AbortSignal,
): CoordinatorHost {
  const { log, clock, random, nodeId, namespace, participants } = settings;
  const session = log.open({ nodeId, namespace, clock, random });
  assertHoldsDecisions(session, settings);
  const active: CoordinatorHost['active'] = new FewMap();
  const stopping = lazyAbort();
  onAbort(stopped, () => stopping.abort(stopped.reason));
  const recorder = transactionRecorder();
  const channels = transactionChannels();
  const onFenced = (incarnation: string, reason: unknown): void => {
    recorder.fenced();
    channels.fenced.publish(() => ({ nodeId, incarnation, reason }));
    const cause = { by: 'fence', reason: FENCED, cause: reason } as const;
    for (const each of Array.from(active.values())) {
      if (each.incarnation === incarnation) each.giveUp?.(cause);
    }
  };
  onAbort(closing, () => {
    for (const each of Array.from(active.values())) each.giveUp?.(closedCause(closing));
  });
  const { authority, backend } = log;
  const named = new Map(participants.map((each) => [each.name, each]));
  if (settings.site !== undefined) siteDeskOf(settings.site).attach(named);
  return {
    nodeId,
    namespace,
    authority,
    backend,
    clock,
    random,
    session,
    site: settings.site,
    traceparent: settings.traceparent,
    sitesRecords: () => (settings.site === undefined ? [] : siteDeskOf(settings.site).records()),
    lastResource: settings.lastResource,
    participants: named,
    lives: lives({ session, namespace, authority, clock, random, stopped, onFenced }),
    readiness: readiness(session, participants, settings),
    calls: callerDesk(log, settings),
    recorder,
    channels,
    active,
    keys: new Set(),
    onAbort: abortFanOut(),
    closing,
    stopped,
    stopping,
  };
}

function assertNotNested(outer: Inside | undefined): void {
  if (outer === undefined || outer.isOver) return;
  const { transactionId } = outer;
  throw new CoordinationError(
    'TRANSACTION_NESTED',
    `a transaction was begun inside transaction ${transactionId}, which could not undo it; ` +
      'do its work in the outer one, or begin it after the outer one has ended',
    { transactionId },
  );
}

function assertHoldsDecisions(
  session: DecisionLogSession,
  { lastResource, log }: CheckedCoordinatorOptions,
): void {
  if (lastResource === undefined || session.decideWithin !== undefined) return;
  const remedy = 'it with a log in the same database, postgresTransactions';
  throw invalidArgument('lastResource', `"${lastResource.name}" with ${log.backend}`, remedy);
}

/** Waits for phase two in the background; what is in doubt is not waited for. */
async function drained({ active, clock }: CoordinatorHost, drainMs: number): Promise<void> {
  const ends = Array.from(active.values(), (each) =>
    each.isInDoubt() ? Promise.resolve() : each.ended,
  );
  await boundedCall(clock, { signals: [], timeoutMs: drainMs }, () => Promise.all(ends)).catch(
    () => {},
  );
}
