import { abortScope } from '../../core/abort.js';
import { type Deferred, deferred } from '../../core/deferred.js';
import { CoordinationError } from '../../core/errors.js';
import type { DecidedBranch } from '../decision-log.js';
import { finishBranch } from '../finish-branch.js';
import { boundedCall, type CoordinatorHost, type EnlistedBranch, reasonOf } from '../host.js';
import type { Vote } from '../participant.js';
import type { Protocol, ProtocolSubject } from '../protocol.js';
import type { AbortCause, ResourceManager, TwoPhasePhase, TwoPhaseState } from '../two-phase.js';
import { siteDeskOf } from './site-desk.js';
import type { SiteSeat, SiteVote, SiteWork } from './site-work.js';

/** What is known of one transaction that its sites decide. */
interface Sited {
  readonly host: CoordinatorHost;
  readonly subject: ProtocolSubject;
  readonly branches: EnlistedBranch[];
  /** By the index of the branch. */
  readonly votes: Map<number, Vote | undefined>;
  readonly finished: Set<number>;
  phase: TwoPhasePhase;
  isInDoubt: boolean;
  cause: AbortCause | undefined;
  seat: SiteSeat | undefined;
  /** Whether this site's own yes may be known to others. */
  hasVoted: boolean;
  readonly answer: Deferred<'committed' | 'aborted' | 'in-doubt'>;
  readonly conclusion: Deferred<'committed' | 'aborted'>;
  readonly told: Deferred<void>;
  readonly ended: Deferred<void>;
}

const SITES_MIN = 3;
/** A committed transaction is answered after so long, although a site has not carried it out yet. */
const TOLD_MS = 1_000;
/** The sites' word is waited for so long when time is up, in milliseconds. */
const GRACE_MS = 100;

/**
 * Three-phase commit in the place of the log: the coordinator's process votes as a site for its local
 * branches, and leads the first ballot; whatever becomes of it, the sites decide.
 */
export function sitesProtocol(host: CoordinatorHost, subject: ProtocolSubject): Protocol {
  const sited: Sited = {
    host,
    subject,
    branches: [],
    votes: new Map(),
    finished: new Set(),
    phase: 'working',
    isInDoubt: false,
    cause: undefined,
    seat: undefined,
    hasVoted: false,
    answer: deferred(),
    conclusion: deferred(),
    told: deferred(),
    ended: deferred(),
  };
  const { branches, answer, conclusion, told, ended } = sited;
  let isTold = false;
  void told.promise.then(() => {
    isTold = true;
  });
  void ended.promise.then(subject.onEnded);
  return {
    state: () => stateOf(sited),
    branches,
    enlisted(branch) {
      branches.push(branch);
      // It came after the end: nothing was done in it, and it is let go.
      if (sited.phase !== 'working') void branch.branch.abort().catch(() => {});
    },
    workDone: () => workDone(sited),
    giveUp: (cause) => giveUp(sited, cause),
    answer: answer.promise,
    conclusion: conclusion.promise,
    told: told.promise,
    get isTold() {
      return isTold;
    },
    ended: ended.promise,
  };
}

/** The error of a transaction whose sites are too few, or that asks for what needs the log. */
export function protocolUnsupported(
  needed: string,
  found: string,
): CoordinationError<'PROTOCOL_UNSUPPORTED'> {
  const protocol = 'three-phase';
  return new CoordinationError(
    'PROTOCOL_UNSUPPORTED',
    `protocol "${protocol}" needs ${needed}, and there is ${found}; nothing took effect`,
    { protocol, needed, found },
  );
}

function isLocal({ site }: EnlistedBranch): boolean {
  return site === undefined;
}

/** In the words of two-phase commit, for those who only look. */
function stateOf(sited: Sited): TwoPhaseState {
  const { phase, isInDoubt, cause, branches, seat } = sited;
  const missing = new Set(seat?.pending());
  const managers = branches.map((each, index): ResourceManager => {
    const isDone = isLocal(each) ? sited.finished.has(index) : !missing.has(each.site?.() ?? '');
    const ended = phase === 'committed' || phase === 'aborted' ? phase : 'prepared';
    return { state: isDone && ended !== 'prepared' ? ended : 'prepared', evidence: '' };
  });
  return { phase, branches: managers, isUncertain: false, isInDoubt, cause };
}

function workDone(sited: Sited): void {
  if (sited.phase !== 'working') return;
  const { host, subject, branches } = sited;
  if (host.site === undefined) return;
  const desk = siteDeskOf(host.site);
  const remote = branches.filter((each) => !isLocal(each));
  const names = remote.map((each) => each.site?.());
  const others = new Set(names.filter((name) => name !== undefined));
  others.delete(desk.site);
  const found = `${others.size + 1} of ${new Set(names).size + 1} participants`;
  if (others.size + 1 < SITES_MIN || names.includes(undefined)) {
    const cause = protocolUnsupported(`${SITES_MIN} voting sites, one in each`, found);
    giveUp(sited, { by: 'body', reason: cause.message, cause });
    return;
  }
  sited.phase = 'preparing';
  desk.lead(subject.transactionId, Array.from(others), workOf(sited)).then(
    (seat) => seated(sited, seat),
    // The record was not written, so that nobody was asked for a vote.
    (cause: unknown) => {
      sited.cause ??= { by: 'log', reason: reasonOf(cause), cause };
      if (sited.phase === 'preparing') abortHere(sited);
    },
  );
}

function seated(sited: Sited, seat: SiteSeat): void {
  sited.seat = seat;
  if (sited.cause !== undefined) seat.giveUp();
  if (sited.phase === 'aborted') return;
  void seat.decided.then((outcome) => concluded(sited, outcome));
  void seat.ended.then(() => sited.told.resolve());
}

/** What the site votes for, and ends: the local branches. */
function workOf(sited: Sited): SiteWork {
  const { branches, subject } = sited;
  const named = branches.filter(isLocal).map(({ participant, branchId }) => {
    return { participant: participant.name, branchId, evidence: '' };
  });
  return {
    branches: named,
    timeoutMs: Math.max(subject.remainingMs(), 1),
    vote: () => voteHere(sited),
    finish: (outcome) => finishHere(sited, outcome),
  };
}

async function voteHere(sited: Sited): Promise<SiteVote> {
  const { branches } = sited;
  const answers = branches.map(async (each, index) => {
    if (isLocal(each)) await voteOf(sited, each, index);
  });
  await Promise.all(answers);
  // From here on others may know of the yes; before, this process aborts freely.
  if (sited.cause !== undefined) return { vote: 'no', reason: sited.cause.reason };
  sited.hasVoted = true;
  return { vote: 'yes', branches: preparedOf(sited) };
}

function preparedOf({ branches, votes }: Sited): readonly DecidedBranch[] {
  return branches.flatMap(({ participant, branchId }, index) => {
    const answer = votes.get(index);
    if (answer?.vote !== 'yes') return [];
    return [{ participant: participant.name, branchId, evidence: answer.evidence }];
  });
}

async function voteOf(sited: Sited, enlisted: EnlistedBranch, index: number): Promise<void> {
  const { host, subject, votes } = sited;
  const { name: participant } = enlisted.participant;
  votes.set(index, undefined);
  try {
    const signals = [subject.work];
    const timeoutMs = Math.max(subject.remainingMs(), 1);
    const answer = await boundedCall(host.clock, { signals, timeoutMs }, (signal) =>
      enlisted.branch.prepare({ signal }),
    );
    votes.set(index, answer);
    if (answer.vote !== 'no') return;
    const { reason, cause } = answer;
    sited.cause ??= { by: 'participant', participant, reason, cause };
  } catch (cause) {
    // Whatever it is, it is not a vote: the branch may be prepared, or become so.
    const reason = `no vote: ${reasonOf(cause)}`;
    sited.cause ??= { by: 'participant', participant, reason, cause };
  }
}

/** Rejects when a branch could not be reached: then the site goes on with its participant. */
async function finishHere(sited: Sited, outcome: 'committed' | 'aborted'): Promise<void> {
  const { host, subject, branches, votes, finished } = sited;
  const { transactionId } = subject;
  const verb = outcome === 'committed' ? 'commit' : 'abort';
  const endings = branches.map(async (each, index) => {
    if (!isLocal(each)) return;
    const answer = votes.get(index);
    const evidence = answer?.vote === 'yes' ? answer.evidence : '';
    const isLost = answer === undefined && votes.has(index) && verb === 'abort';
    const isOver = answer?.vote === 'read-only';
    const ending = { transactionId, verb, evidence, isLost } as const;
    const ended = isOver ? 'ended' : await finishBranch(host, each, ending, () => {});
    if (ended === 'left') throw new Error(`participant "${each.participant.name}" was not reached`);
    finished.add(index);
  });
  const ends = await Promise.allSettled(endings);
  const failed = ends.find((end) => end.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}

function concluded(sited: Sited, outcome: 'committed' | 'aborted'): void {
  const { host } = sited;
  sited.phase = outcome;
  if (outcome === 'aborted') sited.cause ??= causeOf(sited);
  else sited.cause = undefined;
  sited.answer.resolve(outcome);
  sited.conclusion.resolve(outcome);
  host.clock.schedule(TOLD_MS, () => sited.told.resolve(), { keepAlive: false });
  void tellStore(sited, outcome).finally(() => sited.ended.resolve());
}

/** Why the sites aborted, as far as this one knows. */
function causeOf({ seat, branches }: Sited): AbortCause {
  const by = seat?.refusedBy;
  const branch = branches.find(({ site }) => by !== undefined && site?.() === by);
  if (branch !== undefined) {
    const reason = `site "${by}" voted no`;
    return { by: 'participant', participant: branch.participant.name, reason };
  }
  return { by: 'fence', reason: 'the other sites took this one for dead, and aborted' };
}

/** The calls' records in the store are only messages by now; whatever fails, their servers sweep. */
async function tellStore(sited: Sited, outcome: 'committed' | 'aborted'): Promise<void> {
  const { host, branches } = sited;
  using scope = abortScope({ clock: host.clock, parents: [host.stopped] });
  const calls = branches.filter((each) => !isLocal(each));
  await Promise.allSettled(
    calls.map(({ branch }) =>
      boundedCall(host.clock, { signals: [scope.signal] }, (signal) =>
        outcome === 'committed' ? branch.commit({ signal }) : branch.abort({ signal }),
      ),
    ),
  );
}

function giveUp(sited: Sited, cause: AbortCause): void {
  const { phase, seat, host, answer } = sited;
  if (phase === 'working') {
    sited.cause = cause;
    abortHere(sited);
  }
  if (phase !== 'preparing') return;
  const isBound = seat?.isBound ?? false;
  if (!isBound) sited.cause ??= cause;
  seat?.giveUp();
  const isOver = cause.by === 'timeout' || cause.by === 'close';
  if (!isOver) return;
  const doubt = (): void => {
    if (sited.phase !== 'preparing') return;
    sited.isInDoubt = true;
    answer.resolve('in-doubt');
  };
  // Without this site's own yes nobody can commit: the sites' word need not be waited for.
  if (seat === undefined) abortHere(sited);
  else if (!sited.hasVoted) answer.resolve('aborted');
  else if (isBound) doubt();
  else host.clock.schedule(GRACE_MS, doubt);
}

/** Nobody was asked for a vote: each branch is aborted where it is. */
function abortHere(sited: Sited): void {
  const { host, subject, branches, votes } = sited;
  const { transactionId } = subject;
  sited.phase = 'aborted';
  sited.answer.resolve('aborted');
  sited.conclusion.resolve('aborted');
  const endings = branches.map((each, index) => {
    const isLost = votes.has(index);
    const ending = { transactionId, verb: 'abort', evidence: '', isLost } as const;
    return finishBranch(host, each, ending, () => {});
  });
  const over = (): void => {
    sited.told.resolve();
    sited.ended.resolve();
  };
  Promise.all(endings).then(over, over);
}
