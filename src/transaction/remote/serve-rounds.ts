import { sleep } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { deferred } from '../../core/deferred.js';
import { FewMap } from '../../core/few-map.js';
import type { Guarantees } from '../../core/guarantees.js';
import { ATTEMPTS_MAX, parseBranchId } from '../branch-id.js';
import { transactionChannels } from '../diagnostics.js';
import { functionParticipant } from '../function-participant.js';
import { boundedCall } from '../host.js';
import { readiness } from '../readiness.js';
import { recoveryOf } from '../recover.js';
import { transactionRecorder } from '../statistics.js';
import { startSweep } from '../sweep.js';
import { siteDeskOf } from '../three-phase/site-desk.js';
import { callDesk, changeCall } from './call-desk.js';
import type { CallRecord } from './call-record.js';
import type { GuardedWork, ServeHost } from './serve-host.js';
import type { CheckedServeOptions } from './serve-options.js';
import { type ServeStats, serveRecorder } from './serve-statistics.js';
import { servedOwner, sweepCalls } from './serve-sweep.js';
import { serveCall } from './served-call.js';
import { servedParticipant } from './served-participant.js';

/** The work of one serving node: taking calls, and sweeping. */
export interface ServeRounds {
  readonly ready: Promise<void>;
  stats(this: void): ServeStats;
  recover(this: void, signal: AbortSignal): Promise<void>;
  guarantees(this: void, signal: AbortSignal): Promise<readonly Guarantees[]>;
  /** Takes no further call. */
  withdraw(): Promise<void>;
  /** Waits until every call under way has come to its end. */
  drained(drainMs: number): Promise<void>;
  /** Gives back calls that have not voted. */
  giveBack(waitMs: number): Promise<void>;
  close(): Promise<void>;
}

const RETRY = { baseMs: 50, maxMs: 2_000 };

/** Announces the service, and begins to take calls and to sweep. */
export function serveRounds(settings: CheckedServeOptions, stopped: AbortSignal): ServeRounds {
  const { clock, random } = settings;
  const withdrawn = new AbortController();
  const ready = deferred<void>();
  let isAnnounced = false;
  let isPumping = false;
  let isHinted = false;
  const pump = (): void => {
    if (isPumping || withdrawn.signal.aborted || !isAnnounced) return;
    isPumping = true;
    void taking().finally(() => {
      isPumping = false;
      // A hint that came while the last answer was on its way.
      if (isHinted && hasRoom()) pump();
    });
  };
  const hinted = (): void => {
    isHinted = true;
    pump();
  };
  const onRoom = (): void => {
    // Without a hint there is nothing to take: what was left for lack of room has one.
    if (isHinted) pump();
  };
  const host = serveHost(settings, stopped, { hinted, onRoom });
  const hasRoom = (): boolean => {
    const calls = Array.from(host.serving.values());
    const runningCount = calls.filter((each) => each.isRunning()).length;
    return (
      runningCount < settings.concurrency && calls.length - runningCount < settings.preparedMax
    );
  };
  const begin = (record: CallRecord, remainingMs: number): void => {
    const call = serveCall(host, record, remainingMs);
    host.serving.set(record.callId, call);
    occupy(host, record, call.ended);
    void call.ended.then(() => {
      if (host.serving.get(record.callId) === call) host.serving.delete(record.callId);
      onRoom();
    });
  };
  const taking = async (): Promise<void> => {
    for (let failures = 0; isHinted && hasRoom() && !withdrawn.signal.aborted; ) {
      isHinted = false;
      try {
        const taken = await boundedCall(clock, { signals: [stopped] }, (signal) =>
          host.desk.session.take(host.service, { signal }),
        );
        failures = 0;
        if (taken === undefined) continue;
        begin(taken.record, taken.remainingMs);
        isHinted ||= taken.isLast !== true;
      } catch (error) {
        if (stopped.aborted) return;
        host.channels.failed.publish(() => ({ operation: 'take', error }));
        failures += 1;
        await sleep(clock, backoffMs(failures, RETRY, random), { signal: stopped }).catch(() => {});
        isHinted = true;
      }
    }
  };
  const takeOver = async (record: CallRecord): Promise<void> => {
    if (!hasRoom() || withdrawn.signal.aborted || record.attempt >= ATTEMPTS_MAX) return;
    const { address } = host.desk.session;
    const claim = { type: 'claim', server: address, from: record.server } as const;
    const { isMade, record: claimed } = await changeCall(host.desk, record, claim, stopped);
    if (!isMade || claimed === undefined) return;
    if (claimed.attempt > settings.attemptsMax) return refuseFor(host, claimed, stopped);
    await abortEarlier(host, claimed, stopped);
    const nowMs = await host.desk.session.nowMs({ signal: stopped });
    begin(claimed, Math.max(claimed.deadlineMs - nowMs, 1));
  };
  const recovery = recoveryOf(host);
  const sweepOnce = async (signal: AbortSignal | undefined, isPatient: boolean) => {
    const report = await recovery.recover(signal, isPatient);
    const isComplete = report.failed.length === 0;
    await sweepCalls(host, { takeOver, isComplete }, signal ?? stopped);
    hinted();
    return report;
  };
  const sweep = startSweep(host, { ...recovery, recover: sweepOnce }, settings.sweepMs);
  void announced(host, withdrawn.signal).then(
    () => {
      isAnnounced = true;
      ready.resolve();
      hinted();
    },
    (error: unknown) => ready.reject(error),
  );

  const ended = (): Promise<unknown> =>
    Promise.all(Array.from(host.serving.values(), (each) => each.ended));
  const within = (waitMs: number, work: () => Promise<unknown>): Promise<void> =>
    boundedCall(clock, { signals: [stopped], timeoutMs: waitMs }, work).then(
      () => {},
      () => {},
    );
  return {
    ready: ready.promise,
    stats() {
      const calls = Array.from(host.serving.values());
      const runningCount = calls.filter((each) => each.isRunning()).length;
      const preparedCount = calls.filter((each) => each.isPrepared()).length;
      return host.counts.stats({ runningCount, preparedCount });
    },
    async recover(signal) {
      await sweepOnce(signal, false);
    },
    guarantees: (signal) =>
      Promise.all([
        host.session.guarantees({ signal }),
        ...Array.from(host.locals.values(), (each) => each.guarantees({ signal })),
      ]),
    async withdraw() {
      withdrawn.abort();
      sweep.stop();
      await within(1_000, () => host.desk.session.withdraw(host.service));
    },
    drained: (drainMs) => within(drainMs, ended),
    async giveBack(waitMs) {
      const running = Array.from(host.serving.values()).filter((each) => each.isRunning());
      for (const call of running) call.giveBack();
      await within(waitMs, () => Promise.all(running.map((each) => each.ended)));
    },
    async close() {
      await Promise.allSettled([host.desk.close(), host.session.close()]);
      await host.guarded?.participant.close().catch(() => {});
    },
  };
}

/** Recovery leaves a transaction alone while this node has a call of it in hand. */
function occupy(host: ServeHost, { callId }: CallRecord, ended: Promise<void>): void {
  const transactionId = parseBranchId(callId)?.transactionId;
  if (transactionId === undefined) return;
  const entry = { incarnation: '', isInDoubt: () => false, ended, branches: [] };
  host.active.set(transactionId, entry);
  void ended.then(() => {
    if (host.active.get(transactionId) === entry) host.active.delete(transactionId);
  });
}

/** Until the store takes it: from then on others may count on this node. */
async function announced(host: ServeHost, signal: AbortSignal): Promise<void> {
  const { clock, random, desk, service } = host;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await boundedCall(clock, { signals: [signal] }, (bounded) =>
        desk.session.announce(service, { signal: bounded }),
      );
    } catch (error) {
      if (signal.aborted) throw error;
      host.channels.failed.publish(() => ({ operation: 'announce', error }));
    }
    await sleep(clock, backoffMs(attempt, RETRY, random), { signal, keepAlive: false });
  }
}

/**
 * What an earlier attempt left prepared in resources that this node has, too: when this attempt has
 * ended, nothing would tell any more that it is nobody's.
 */
async function abortEarlier(host: ServeHost, claimed: CallRecord, stopped: AbortSignal) {
  const { callId, attempt } = claimed;
  await Promise.all(
    Array.from(host.locals.values(), async (participant) => {
      try {
        await boundedCall(host.clock, { signals: [stopped] }, async (signal) => {
          for (const { branchId } of await participant.recover({ signal })) {
            const place = parseBranchId(branchId)?.remote;
            if (place?.callId !== callId || place.attempt >= attempt) continue;
            await participant.abort({ branchId, evidence: '' }, { signal });
          }
        });
      } catch (error) {
        const { name } = participant;
        host.channels.failed.publish(() => ({ operation: 'abort', participant: name, error }));
      }
    }),
  );
}

/** A call that nodes died with again and again is answered with a no. */
async function refuseFor(host: ServeHost, record: CallRecord, signal: AbortSignal): Promise<void> {
  const { server, attempt } = record;
  const reason = `it was handed out ${attempt - 1} times, and each time its node was lost`;
  const vote = { vote: 'no', reason } as const;
  await changeCall(host.desk, record, { type: 'vote', server, attempt, vote }, signal);
}

function serveHost(
  settings: CheckedServeOptions,
  stopped: AbortSignal,
  { hinted, onRoom }: { readonly hinted: () => void; readonly onRoom: () => void },
): ServeHost {
  const { store, name: service, clock, random, nodeId, namespace, handlers, schema } = settings;
  const node = { nodeId, namespace, clock, random };
  const desk = callDesk(store, node, {
    services: [service],
    heard: (hint) => {
      if (hint.type !== 'changed') hinted();
    },
  });
  const guarded = guardedWork(settings);
  const locals = [
    ...settings.participants,
    ...(guarded === undefined ? [] : [guarded.participant]),
  ];
  const served = locals.map((each) => servedParticipant(service, each));
  const participants = new Map(served.map((each) => [each.name, each]));
  const site = settings.site === undefined ? undefined : siteDeskOf(settings.site);
  site?.attach(participants);
  const session = store.open(node);
  const host: ServeHost = {
    ...node,
    authority: store.authority,
    backend: store.backend,
    session,
    participants,
    site,
    recorder: transactionRecorder(),
    channels: transactionChannels(),
    active: new FewMap(),
    stopped,
    lives: { incarnation: undefined },
    servedOwner: (branch, signal) => owner(branch, signal),
    service,
    desk,
    locals: new Map(locals.map((each) => [each.name, each])),
    readiness: readiness(session, locals, { requireGuarantee: undefined, acceptRisk: false }),
    schema,
    work: (payload, context) => handlers.prepare(payload, context),
    guarded,
    counts: serveRecorder(),
    serving: new Map(),
    strays: new Set(),
    onRoom,
  };
  const owner = servedOwner(host);
  return host;
}

/** Prepare, commit and abort behind a barrier, as one more resource of the service. */
function guardedWork({
  name,
  barrier,
  handlers,
  clock,
}: CheckedServeOptions): GuardedWork | undefined {
  const { commit, abort } = handlers;
  if (barrier === undefined || commit === undefined || abort === undefined) return undefined;
  const pending: GuardedWork['pending'] = new Map();
  const participant = functionParticipant<unknown, unknown>({
    name,
    barrier,
    clock,
    async prepare(client, { branchId }) {
      const work = pending.get(branchId);
      if (work === undefined) throw new Error('the call has ended');
      await work(client);
    },
    commit: (client, { request, ...call }) => commit(request, { ...call, client }),
    abort: (client, { request, ...call }) => abort(request, { ...call, client }),
  });
  return { barrier, participant, pending };
}
