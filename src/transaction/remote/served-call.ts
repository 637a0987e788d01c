import { abortable } from '../../core/abort.js';
import { elapsedMs, instantOf } from '../../core/clock.js';
import { deferred } from '../../core/deferred.js';
import { isCoordinationError } from '../../core/errors.js';
import type { TransactionId } from '../../core/ids.js';
import { parseBranchId, remoteBranchId } from '../branch-id.js';
import { isConflict } from '../conflict.js';
import type { DecidedBranch } from '../decision-log.js';
import { enlistment } from '../enlistment.js';
import { finishBranch } from '../finish-branch.js';
import { boundedCall, type EnlistedBranch, reasonOf, sharedController } from '../host.js';
import type { Vote } from '../participant.js';
import { changeCall, isTransient } from './call-desk.js';
import type { CallNo, CallRecord, CallVote } from './call-record.js';
import { encoded, fitted } from './call-schema.js';
import type { StandingCall } from './call-session.js';
import { type CallWatch, watchCall } from './call-watch.js';
import { decisionFor } from './serve-decision.js';
import type { ServedCall, ServeHost } from './serve-host.js';
import {
  SERVED_START,
  type ServedEffect,
  type ServedEvent,
  type ServedState,
  served,
} from './serve-machine.js';
import { type SiteCall, siteCall } from './site-call.js';

interface Serving {
  readonly host: ServeHost;
  readonly record: CallRecord;
  readonly transactionId: TransactionId;
  readonly remainingMs: () => number;
  /** Hears of it from the start, so that nothing that follows the vote is missed. */
  readonly watch: CallWatch;
  readonly work: AbortController;
  readonly branches: EnlistedBranch[];
  /** Branches that were asked for their vote, by id; undefined until they have given it. */
  readonly votes: Map<string, Vote | undefined>;
  /** Of a three-phase transaction: set before the handler works. */
  site: SiteCall | undefined;
  state: ServedState;
  /** The last version that is known, once there is a vote. */
  stands: CallRecord | undefined;
  result: string;
  no: CallNo | undefined;
  happen(event: ServedEvent): void;
}

/** Takes a call in hand: the machine {@link served} with its effects performed. */
export function serveCall(host: ServeHost, record: CallRecord, timeoutMs: number): ServedCall {
  const { clock } = host;
  const since = instantOf(clock);
  const work = sharedController();
  const ended = deferred<void>();
  const serving: Serving = {
    host,
    record,
    transactionId: parseBranchId(record.callId)?.transactionId as TransactionId,
    remainingMs: () => Math.max(timeoutMs - elapsedMs(clock, since), 0),
    watch: watchCall(host.desk, record),
    work,
    branches: [],
    votes: new Map(),
    site: undefined,
    state: SERVED_START,
    stands: undefined,
    result: '',
    no: undefined,
    happen: (event) => happen(serving, event, over),
  };
  const late = { type: 'failed', reason: 'its time was up' } as const;
  const stops = [
    clock.schedule(timeoutMs, () => serving.happen(late)),
    host.desk.hear(record.callId, (now) => void look(serving, now)),
    () => serving.watch[Symbol.dispose](),
  ];
  const over = (): void => {
    for (const stop of stops.splice(0)) stop();
    ended.resolve();
  };
  host.counts.taken(record.attempt);
  start(serving, () => perform(serving), over);
  return {
    key: record,
    attempt: record.attempt,
    isRunning: () => !['prepared', 'applying', 'over'].includes(serving.state.phase),
    isPrepared: () => serving.state.phase === 'prepared',
    look: () => void look(serving),
    decided: (outcome) => serving.happen({ type: 'decided', outcome }),
    orphaned: () => serving.site?.giveUp(),
    giveBack: () => serving.happen({ type: 'dropped' }),
    ended: ended.promise,
  };
}

function happen(serving: Serving, event: ServedEvent, over: () => void): void {
  const [state, effects] = served(serving.state, event);
  const before = serving.state.phase;
  const wasFree = !serving.work.signal.aborted;
  serving.state = state;
  const isEnding = state.phase === 'refusing' || state.phase === 'applying';
  if (isEnding && wasFree) serving.work.abort(new DOMException('the call has ended', 'AbortError'));
  for (const effect of effects) start(serving, () => enact(serving, effect), over);
  if (state.phase !== before) serving.host.onRoom();
  if (state.phase === 'over' && effects.length === 0) over();
}

/** Runs in the background; whatever is thrown in spite of all is told, and ends the call here. */
function start(serving: Serving, task: () => Promise<void>, over: () => void): void {
  const { host, transactionId } = serving;
  task()
    .catch((error: unknown) => {
      if (host.stopped.aborted) over();
      else host.channels.failed.publish(() => ({ operation: 'serve', transactionId, error }));
    })
    .finally(() => {
      if (serving.state.phase === 'over') over();
    });
}

async function enact(serving: Serving, effect: ServedEffect): Promise<void> {
  switch (effect.type) {
    case 'prepare':
      return prepareAll(serving);
    case 'vote-yes': {
      const { result, site } = serving;
      const yes = { vote: 'yes', result, branches: decidedOf(serving) } as const;
      return vote(serving, site === undefined ? yes : { ...yes, site: site.site });
    }
    case 'vote-no':
      return vote(serving, serving.no ?? { vote: 'no', reason: effect.reason });
    case 'await':
      return awaitDecision(serving);
    case 'commit':
    case 'abort':
      return endAll(serving, effect.type);
    case 'let-go':
      return letGo(serving);
  }
}

/** The handler's work, and what comes of it. */
async function perform(serving: Serving): Promise<void> {
  const { host, record, transactionId } = serving;
  const { callId, attempt, traceparent } = record;
  const { service, nodeId } = host;
  const about = { transactionId, callId, service, nodeId, attempt, traceparent };
  try {
    await host.channels.serve.trace(
      () => about,
      () => worked(serving),
    );
    serving.happen({ type: 'worked' });
  } catch (error) {
    refuse(serving, error);
  }
}

/** The handler's work; behind a barrier, its first phase. */
async function worked(serving: Serving): Promise<void> {
  const { host, record, work } = serving;
  const { service, guarded } = host;
  serving.site = siteOf(serving);
  const payload = await fitted(host.schema?.payload, JSON.parse(record.payload), {
    service,
    part: 'payload',
  });
  const enlisting = enlistmentOf(serving);
  const run = async (client: unknown): Promise<void> => {
    const context = contextOf(serving, enlisting.enlist, client);
    const value = await abortable((async () => host.work(payload, context))(), work.signal);
    const part = { service, part: 'result' } as const;
    const result = await fitted(host.schema?.result, value, part);
    serving.result = encoded(result, part, host.desk.session.bytesMax);
  };
  try {
    if (guarded === undefined) await run(undefined);
    else await behindBarrier(serving, enlisting.enlist, payload, run);
    await abortable(enlisting.settled(), work.signal);
  } finally {
    enlisting.close();
  }
}

async function behindBarrier(
  serving: Serving,
  enlist: ReturnType<typeof enlistment>['enlist'],
  payload: unknown,
  run: (client: unknown) => Promise<void>,
): Promise<void> {
  const { guarded } = serving.host;
  if (guarded === undefined) return;
  const handle = await enlist(guarded.participant);
  const enlisted = serving.branches.find((each) => each.participant === guarded.participant);
  if (enlisted === undefined) return;
  const { branchId } = enlisted;
  guarded.pending.set(branchId, run);
  try {
    await handle.request(payload);
    const answer = await voteOf(serving, enlisted);
    if (answer.vote === 'no') throw answer.cause ?? new Error(answer.reason);
  } finally {
    guarded.pending.delete(branchId);
  }
}

function enlistmentOf(serving: Serving): ReturnType<typeof enlistment> {
  const { host, record, transactionId, work, remainingMs } = serving;
  const { clock, readiness, locals } = host;
  return enlistment(
    { clock, readiness, participants: locals },
    {
      transactionId,
      source: work.signal,
      remainingMs,
      registry: 'serveParticipant',
      branchIdOf: (count) => remoteBranchId(record.callId, record.attempt, count - 1),
      onBranch(enlisted) {
        serving.branches.push(enlisted);
        // It came after the end: nothing was done in it, and it is let go.
        if (work.signal.aborted) void enlisted.branch.abort().catch(() => {});
      },
    },
  );
}

function contextOf(
  { transactionId, record, remainingMs, work }: Serving,
  enlist: ReturnType<typeof enlistment>['enlist'],
  client: unknown,
): Parameters<ServeHost['work']>[1] {
  const { attempt, traceparent } = record;
  const { signal } = work;
  return { transactionId, attempt, traceparent, remainingMs, signal, client, enlist };
}

function siteOf(serving: Serving): SiteCall | undefined {
  const { host, record, transactionId, remainingMs } = serving;
  return siteCall({
    host,
    record,
    transactionId,
    remainingMs,
    prepared: () => {
      const { phase } = serving.state;
      return phase === 'voting' || phase === 'prepared' ? decidedOf(serving) : undefined;
    },
    end(outcome) {
      serving.happen({ type: 'dropped' });
      serving.happen({ type: 'decided', outcome });
    },
  });
}

/** Before any branch is prepared, the site writes that it may become so. */
async function joinSite({ site, host, branches }: Serving): Promise<void> {
  const all = branches.map(({ participant, branchId }) => {
    return { participant: `${host.service}/${participant.name}`, branchId, evidence: '' };
  });
  await site?.join(all);
}

async function voteOf(serving: Serving, { branch, branchId }: EnlistedBranch): Promise<Vote> {
  const { host, work, votes, remainingMs } = serving;
  const known = votes.get(branchId);
  if (known !== undefined) return known;
  const limits = { signals: [work.signal], timeoutMs: Math.max(remainingMs(), 1) };
  const { site } = serving;
  if (site !== undefined) await abortable(joinSite(serving), work.signal);
  votes.set(branchId, undefined);
  const answer = await boundedCall(host.clock, limits, (signal) => branch.prepare({ signal }));
  votes.set(branchId, answer);
  return answer;
}

async function prepareAll(serving: Serving): Promise<void> {
  try {
    if (serving.site !== undefined) await abortable(joinSite(serving), serving.work.signal);
    const answers = await Promise.all(serving.branches.map((each) => voteOf(serving, each)));
    for (const answer of answers) {
      if (answer.vote === 'no') throw answer.cause ?? new Error(answer.reason);
    }
    serving.happen({ type: 'ready' });
  } catch (error) {
    refuse(serving, error);
  }
}

const REASON_CHARACTERS_MAX = 500;
/** What stands between `//` and `@` in an address. */
const CREDENTIALS = /\/\/[^/@\s]+@/g;

function refuse(serving: Serving, error: unknown): void {
  const { host } = serving;
  const reason = reasonOf(error).replace(CREDENTIALS, '//…@').slice(0, REASON_CHARACTERS_MAX);
  const code = (error as { readonly code?: unknown } | null)?.code;
  const no: CallNo = { vote: 'no', reason, isConflict: isConflict(host.locals.values(), error) };
  serving.no ??= typeof code === 'string' ? { ...no, code } : no;
  serving.site?.giveUp();
  serving.happen({ type: 'failed', reason });
}

function decidedOf({ host, branches, votes }: Serving): readonly DecidedBranch[] {
  return branches.flatMap(({ participant, branchId }) => {
    const answer = votes.get(branchId);
    if (answer?.vote !== 'yes') return [];
    const name = `${host.service}/${participant.name}`;
    return [{ participant: name, branchId, evidence: answer.evidence }];
  });
}

/** Until the store has answered: after a lost reply nobody knows whether the vote counts. */
async function vote(serving: Serving, answer: CallVote): Promise<void> {
  const { host, record } = serving;
  const { server, attempt } = record;
  const event = { type: 'vote', server, attempt, vote: answer } as const;
  const change = await changeCall(host.desk, record, event, host.stopped);
  const stands = change.record;
  serving.stands = stands;
  const isOurs = stands?.vote !== undefined && isOurClaim(serving, stands);
  const isRecorded = change.isMade || isOurs;
  if (isRecorded) host.counts.voted(answer.vote);
  serving.happen({ type: 'vote-answered', answer: isRecorded ? 'recorded' : 'refused' });
}

function isOurClaim({ record }: Serving, stands: CallRecord): boolean {
  return stands.server === record.server && stands.attempt === record.attempt;
}

async function awaitDecision(serving: Serving): Promise<void> {
  const { host, site } = serving;
  if (site !== undefined) {
    return serving.happen({ type: 'decided', outcome: await site.decided() });
  }
  // A handler that only read has prepared nothing, and is over.
  if (decidedOf(serving).length === 0)
    return serving.happen({ type: 'decided', outcome: 'committed' });
  const isOver = (now: CallRecord | undefined): boolean =>
    now?.state !== 'voted' || serving.state.phase !== 'prepared';
  const stands = await serving.watch.until(isOver, host.stopped, serving.stands);
  serving.stands = stands;
  if (serving.state.phase !== 'prepared') return;
  const branchIds = decidedOf(serving).map(({ branchId }) => branchId);
  const outcome = stands?.outcome ?? (await decisionFor(host, serving.transactionId, branchIds));
  serving.happen({ type: 'decided', outcome });
}

async function endAll(serving: Serving, verb: 'commit' | 'abort'): Promise<void> {
  const { host, transactionId, branches, votes } = serving;
  const endings = branches.map(async (enlisted) => {
    const answer = votes.get(enlisted.branchId);
    if (answer?.vote === 'read-only') return 'ended';
    if (verb === 'commit' && answer?.vote !== 'yes') return 'ended';
    const evidence = answer?.vote === 'yes' ? answer.evidence : '';
    const isLost = answer === undefined && votes.has(enlisted.branchId);
    return finishBranch(host, enlisted, { transactionId, verb, evidence, isLost }, () => {});
  });
  const isDone = (await Promise.all(endings)).every((each) => each === 'ended');
  host.counts.applied(verb === 'commit' ? 'committed' : 'aborted');
  serving.site?.ended(isDone ? 'done' : 'left');
  serving.happen({ type: 'applied', answer: isDone ? 'done' : 'left' });
}

/** Removes the record of an ended call, or gives the call back; whatever fails, the sweep does. */
async function letGo(serving: Serving): Promise<void> {
  const { host, record } = serving;
  const { session } = host.desk;
  const { server, attempt } = record;
  try {
    // What has ended does not change any more.
    const isKnown = serving.stands?.state === 'ended';
    const stands = isKnown ? serving.stands : await session.read(record, { signal: host.stopped });
    if (stands === undefined || !isOurClaim(serving, stands)) return;
    // Where the sites decide, a caller that is gone need not have said so in the store.
    const isOver = stands.state === 'ended' || (stands.state === 'voted' && serving.site);
    if (isOver) await session.remove(stands, { signal: host.stopped });
    if (stands.state !== 'claimed') return;
    const release = { type: 'release', server, attempt } as const;
    await changeCall(host.desk, stands, release, host.stopped);
  } catch (error) {
    if (!isTransient(error) && !isCoordinationError(error, 'CLOSED')) throw error;
  }
}

/** Before the vote: whether anybody still waits for it. */
async function look(serving: Serving, now?: StandingCall): Promise<void> {
  const { host, record, state } = serving;
  if (state.phase !== 'working' && state.phase !== 'preparing') return;
  try {
    const read = () => host.desk.session.read(record, { signal: host.stopped });
    const stands = now === undefined ? await read() : now.record;
    const isWanted = stands?.state === 'claimed' && isOurClaim(serving, stands);
    if (!isWanted) serving.happen({ type: 'dropped' });
  } catch {
    // It is looked again at the next hint, and the vote tells in the end.
  }
}
