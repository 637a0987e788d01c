import { type Deferred, deferred } from '../../core/deferred.js';
import type { DecidedBranch } from '../decision-log.js';
import { boundedCall } from '../host.js';
import { finishSeat } from './finish-seat.js';
import { type SeatTimer, seatTimer } from './seat-timer.js';
import { voteOf } from './seat-vote.js';
import { pause, written } from './seat-write.js';
import { type SiteHost, siteFailed } from './site-host.js';
import type { SiteMessage } from './site-message.js';
import {
  decodeSiteRecord,
  encodeSiteRecord,
  type GoneSite,
  type SiteRecord,
  stateAfterCrash,
} from './site-record.js';
import { type Decided, isDecided, type SiteState } from './site-state.js';
import type { SiteSeat, SiteVote, SiteWork } from './site-work.js';
import type { SiteEffect, SiteEvent } from './three-phase.js';

/** One transaction at one site: the machine with its effects performed, one event at a time. */
export interface Seat extends SiteSeat {
  readonly transactionId: string;
  readonly state: () => SiteState;
  readonly sites: () => readonly string[];
  readonly record: () => SiteRecord;
  /** The first write, with which the transaction is known here. Rejects when it cannot be. */
  open(): Promise<void>;
  /** More work of the same transaction at this site; `sites`: and this site coordinates it. */
  add(work: SiteWork, sites: readonly string[]): Promise<void>;
  /** Goes on with what an earlier life of this site has written. */
  resume(): void;
  /** Feeds the machine, after what is under way. */
  happen(event: SiteEvent): void;
  /** A message of another site, with the list of sites as that one knows it. */
  hear(from: string, sites: readonly string[], message: SiteMessage): void;
  /** After the decision: that site is not waited for any more. Resolves when it is written. */
  without(gone: GoneSite): Promise<void>;
  /** Stops its timers. */
  stop(): void;
}

/** Events that wait; more are dropped, as messages may be. */
const QUEUE_MAX = 1_024;

/** Where a seat begins. */
export interface SeatStart {
  readonly transactionId: string;
  readonly record: SiteRecord;
  /** 0 when nothing is written yet. */
  readonly version: number;
  readonly work?: SiteWork | undefined;
  /** Called when the record may go. */
  readonly onForgotten: (seat: Seat, version: number) => void;
}

/** What one seat holds. */
interface Seated {
  readonly host: SiteHost;
  readonly start: SeatStart;
  readonly queue: Arrival[];
  readonly decided: Deferred<'committed' | 'aborted'>;
  readonly ended: Deferred<void>;
  state: SiteState;
  record: SiteRecord;
  version: number;
  isBusy: boolean;
  isApplied: boolean;
  /** Whoever did work here, in this life. */
  works: readonly SiteWork[];
  voting: Promise<SiteVote> | undefined;
  refusal: SiteSeat['refusal'];
  refusedBy: string | undefined;
  happen(arrival: Arrival): void;
}

/** An event, or a message before its sender's place is known; with what belongs to it. */
type Arrival =
  | { readonly more: Pick<SiteRecord, 'sites' | 'branches'>; readonly answer: Deferred<void> }
  | {
      readonly event: SiteEvent;
      readonly branches?: readonly DecidedBranch[] | undefined;
      readonly gone?: GoneSite | undefined;
      readonly handled?: Deferred<void>;
    }
  | {
      readonly from: string;
      readonly sites: readonly string[];
      readonly message: SiteMessage;
    };

/** A seat over a record. */
export function seatAt(host: SiteHost, start: SeatStart): Seat {
  const { transactionId, record, version, work } = start;
  const seated: Seated = {
    host,
    start,
    queue: [],
    decided: deferred(),
    ended: deferred(),
    state: stateAfterCrash(record, host.site),
    record,
    version,
    isBusy: false,
    isApplied: false,
    works: work === undefined ? [] : [work],
    voting: undefined,
    refusal: undefined,
    refusedBy: undefined,
    happen(arrival) {
      if (seated.queue.length >= QUEUE_MAX) return;
      seated.queue.push(arrival);
      if (!seated.isBusy) void drain(seated, seat, timer);
    },
  };
  const happen = (event: SiteEvent): void => seated.happen({ event });
  const timer = seatTimer(host, {
    state: () => seated.state,
    hasSites: () => seated.record.sites.length > 0,
    sinceMs: record.sinceMs,
    freeMs: work?.timeoutMs,
    happen,
    onLeft: () => start.onForgotten(seat, seated.version),
  });
  const seat: Seat = {
    transactionId,
    state: () => seated.state,
    sites: () => seated.record.sites,
    record: () => seated.record,
    async open() {
      const text = encodeSiteRecord(seated.record);
      const answer = await written(host, { transactionId, version: 1, text });
      if (answer === 'conflict') throw new Error('this site has a record of the transaction');
      seated.version = 1;
      timer.arm();
    },
    add: (more, sites) => add(seated, more, sites),
    resume() {
      const { state } = seated.state;
      if (isDecided(state)) carryOut(seated, state);
      // Its work went with the process that did it.
      else if (state === 'Q') happen({ type: 'give-up' });
      timer.arm();
    },
    happen,
    hear: (from, sites, message) => seated.happen({ from, sites, message }),
    async without(gone) {
      const handled = deferred<void>();
      const site = seated.record.sites.indexOf(gone.site);
      seated.happen({ event: { type: 'gone', site }, gone, handled });
      return handled.promise;
    },
    stop: () => timer.stop(),
    giveUp: () => happen({ type: 'give-up' }),
    get isBound() {
      const { state, lead } = seated.state;
      return !isDecided(state) && state !== 'Q' && lead?.phase !== 'votes';
    },
    decided: seated.decided.promise,
    ended: seated.ended.promise,
    pending: () => seated.record.sites.filter((_, index) => !seated.state.done.includes(index)),
    get refusal() {
      return seated.refusal;
    },
    get refusedBy() {
      return seated.refusedBy;
    },
  };
  return seat;
}

async function drain(seated: Seated, seat: Seat, timer: SeatTimer): Promise<void> {
  const { host, queue, start } = seated;
  seated.isBusy = true;
  try {
    for (let arrival = queue.shift(); arrival !== undefined; arrival = queue.shift()) {
      if (host.stopped.aborted) return;
      if ('more' in arrival) {
        await enlarge(seated, arrival);
        continue;
      }
      const isAlone = seated.record.sites.length === 0;
      const events = eventsOf(seated, arrival);
      // Whoever aborted alone now knows whom to ask for leave to forget, and must not lose it.
      const isFound = isAlone && isDecided(seated.state.state) && seated.record.sites.length > 0;
      if (isFound && !(await save(seated, seated.state))) continue;
      for (const event of events) await step(seated, seat, event, arrival);
      if ('event' in arrival) arrival.handled?.resolve();
    }
  } catch (error) {
    if (!host.stopped.aborted) siteFailed(host, 'step', error, start.transactionId);
  } finally {
    seated.isBusy = false;
  }
  if (!host.stopped.aborted) timer.arm();
}

/** Before anybody has asked for its vote, a site may take part with more branches. */
async function add(seated: Seated, work: SiteWork, sites: readonly string[]): Promise<void> {
  const answer = deferred<void>();
  seated.works = [...seated.works, work];
  seated.happen({ more: { sites, branches: work.branches }, answer });
  return answer.promise;
}

async function enlarge(
  seated: Seated,
  { more, answer }: Extract<Arrival, { readonly answer: Deferred<void> }>,
): Promise<void> {
  const { state, record, host, start } = seated;
  const isFree = state.state === 'Q' && record.sites.length === 0 && seated.voting === undefined;
  if (isFree) {
    const { sites, branches } = more;
    seated.record = { ...record, sites, branches: [...record.branches, ...branches] };
    if (await save(seated, state)) {
      if (sites.length > 0) seated.state = stateAfterCrash(seated.record, host.site);
      return answer.resolve();
    }
  }
  answer.reject(new Error(`site "${host.site}" has voted in ${start.transactionId} already`));
}

/** The events that an arrival makes; a message may first tell who takes part. */
function eventsOf(
  seated: Seated,
  arrival: Exclude<Arrival, { readonly answer: Deferred<void> }>,
): readonly SiteEvent[] {
  if ('event' in arrival) return [arrival.event];
  const { from, sites, message } = arrival;
  const events: SiteEvent[] = [];
  if (seated.record.sites.length === 0) {
    const self = sites.indexOf(seated.host.site);
    if (self < 0) return [];
    seated.record = { ...seated.record, sites };
    seated.state = { ...seated.state, self, siteCount: sites.length, done: [] };
    if (seated.isApplied) events.push({ type: 'applied' });
  } else if (seated.record.sites.join() !== sites.join()) {
    contradicted(seated, from);
    return [];
  }
  const sender = sites.indexOf(from);
  if (sender < 0 || sender === seated.state.self) return events;
  if (message.type === 'vote' && !message.isYes) seated.refusedBy ??= from;
  return [...events, { type: 'message', from: sender, message }];
}

async function step(seated: Seated, seat: Seat, event: SiteEvent, arrival: Arrival): Promise<void> {
  const { host } = seated;
  const branches = 'event' in arrival ? arrival.branches : undefined;
  if (branches !== undefined) seated.record = { ...seated.record, branches };
  const gone = 'event' in arrival ? arrival.gone : undefined;
  if (gone !== undefined) {
    seated.record = { ...seated.record, gone: [...(seated.record.gone ?? []), gone] };
  }
  const [next, effects] = host.machine(seated.state, event);
  if (effects.some(({ type }) => type === 'save') && !(await save(seated, next))) return;
  seated.state = next;
  if (event.type === 'silence' && next.lead?.phase === 'reports') elected(seated);
  for (const effect of effects) perform(seated, seat, effect);
}

/** Forces the record to disk. False: another process has this site, and what it wrote counts. */
async function save(seated: Seated, next: SiteState): Promise<boolean> {
  const { host, start } = seated;
  const { state, lastElected, lastAttempt } = next;
  const record = { ...seated.record, state, lastElected, lastAttempt };
  const version = seated.version + 1;
  const text = encodeSiteRecord(record);
  const { transactionId } = start;
  if ((await written(host, { transactionId, version, text })) === 'conflict') {
    await reload(seated);
    return false;
  }
  seated.record = record;
  seated.version = version;
  return true;
}

function perform(seated: Seated, seat: Seat, effect: SiteEffect): void {
  switch (effect.type) {
    case 'save':
      return;
    case 'send':
      send(seated, effect.to, effect.message);
      return;
    case 'vote':
      vote(seated);
      return;
    case 'decide':
      carryOut(seated, effect.decided);
      return;
    case 'forget':
      seated.ended.resolve();
      // While nobody else is known, a leader may still come to ask.
      if (seated.record.sites.length > 0) seated.start.onForgotten(seat, seated.version);
      return;
    case 'contradict':
      contradicted(seated, seated.record.sites[effect.from] ?? '');
  }
}

function elected({ host, start, state }: Seated): void {
  const { transactionId } = start;
  host.counts.elected();
  host.channels.elected.publish(() => ({
    site: host.site,
    transactionId,
    ballot: state.lastElected,
  }));
}

function contradicted({ host, start }: Seated, by: string): void {
  const { transactionId } = start;
  host.counts.contradicted();
  host.channels.contradicted.publish(() => ({ site: host.site, transactionId, by }));
}

function vote(seated: Seated): void {
  if (seated.voting !== undefined) return;
  const voting = voteOf(seated.works);
  seated.voting = voting;
  void voting.then((answer) => {
    const isYes = answer.vote === 'yes';
    if (!isYes) seated.refusal = answer;
    const branches = isYes ? answer.branches : undefined;
    seated.happen({ event: { type: 'voted', isYes }, branches });
  });
}

function carryOut(seated: Seated, decided: Decided): void {
  const { host, start } = seated;
  const { transactionId } = start;
  const outcome = decided === 'C' ? 'committed' : 'aborted';
  host.counts.decided(outcome);
  host.channels.decided.publish(() => ({ site: host.site, transactionId, outcome }));
  seated.decided.resolve(outcome);
  const finishing = async (): Promise<void> => {
    // What is being prepared must be so before it can be ended.
    await seated.voting;
    const { works, record } = seated;
    const { branches } = record;
    const onContradiction = (by: string): void => contradicted(seated, by);
    await finishSeat(host, { transactionId, outcome, branches, works, onContradiction });
    seated.isApplied = true;
    seated.happen({ event: { type: 'applied' } });
  };
  finishing().catch((error: unknown) => {
    if (!host.stopped.aborted) siteFailed(host, 'finish', error, transactionId);
  });
}

function send({ host, record, start }: Seated, to: number, message: SiteMessage): void {
  const name = record.sites[to];
  if (name === undefined) return;
  const letter = { transactionId: start.transactionId, sites: record.sites, message };
  if (message.type === 'forget') host.post.sendLater(name, letter);
  else host.post.send(name, letter);
}

/** After a conflict: the state that another process of this site has written. */
async function reload(seated: Seated): Promise<void> {
  const { host, start } = seated;
  const { transactionId } = start;
  for (let attempt = 0; !host.stopped.aborted; attempt += 1) {
    try {
      const found = await boundedCall(host.clock, { signals: [host.stopped] }, (signal) =>
        host.store.read(transactionId, { signal }),
      );
      if (found === undefined) return;
      const record = decodeSiteRecord(found.text, `record of ${transactionId}`);
      seated.record = record;
      seated.version = found.version;
      seated.state = stateAfterCrash(record, host.site);
      if (isDecided(record.state)) carryOut(seated, record.state);
      return;
    } catch (error) {
      siteFailed(host, 'read', error, transactionId);
    }
    await pause(host, attempt);
  }
}
