import { setMaxListeners } from 'node:events';
import { sleep } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { CoordinationError, closedError } from '../../core/errors.js';
import { boundedCall } from '../host.js';
import type { Participant } from '../participant.js';
import { declareGone } from './declare-gone.js';
import { type Seat, seatAt } from './seat.js';
import { siteChannels } from './site-diagnostics.js';
import { type SiteHost, siteFailed } from './site-host.js';
import { decodeFrame, type SiteLetter } from './site-letters.js';
import { answerOfAbsent } from './site-message.js';
import { type CheckedSiteOptions, checkSiteOptions } from './site-options.js';
import { sitePost } from './site-post.js';
import { decodeSiteRecord, type SiteRecord } from './site-record.js';
import { FIRST_BALLOT, isDecided } from './site-state.js';
import { siteStatistics } from './site-statistics.js';
import type { StoredSite } from './site-storage.js';
import type { SiteSeat, SiteWork } from './site-work.js';
import { backupTermination, quorumTermination } from './termination.js';
import { threePhase } from './three-phase.js';
import {
  SITE,
  type SiteDesk,
  type SiteDeskRecord,
  type TransactionSite,
  type TransactionSiteOptions,
} from './transaction-site.js';

const WHAT = 'the transaction site';
const PAGE = 500;
const READ_BACKOFF = { baseMs: 50, maxMs: 2_000 };
/** So many letters about transactions that are not known may be looked up at a time. */
const LOOKUPS_MAX = 256;

/** What one site holds. */
interface Sited {
  readonly host: SiteHost;
  readonly settings: CheckedSiteOptions;
  readonly participants: Map<string, Participant>;
  readonly seats: Map<string, Seat>;
  readonly lookups: Set<string>;
  /** Sites for whose signs of life somebody listens, with what was heard. */
  readonly awaited: Map<string, { isHeard: boolean }>;
  readonly isReady: () => boolean;
}

/**
 * A voting site of three-phase commit for this process: pass it to `createTransactionCoordinator` and
 * to `serveParticipant`.
 *
 * It listens at once, and answers as soon as its storage has been read. Its name and its storage are
 * its identity: start it under the same name with the same storage, and it takes up what it left.
 *
 * @throws TypeError (INVALID_ARGUMENT) for ill-formed options.
 */
export function createTransactionSite(options: TransactionSiteOptions): TransactionSite {
  const settings = checkSiteOptions(options);
  const { name, namespace, storage, transport, clock, random } = settings;
  const stopping = new AbortController();
  setMaxListeners(0, stopping.signal);
  const node = { site: name, namespace, clock, random };
  const counts = siteStatistics();
  const participants = new Map<string, Participant>();
  let isReady = false;
  const line = transport.open(node, (text) => hear(sited, text));
  const store = storage.open(node);
  const channels = siteChannels();
  const isSynchronous = settings.termination === 'elected-backup';
  const host: SiteHost = {
    site: name,
    clock,
    random,
    machine: threePhase(isSynchronous ? backupTermination : quorumTermination),
    isSynchronous,
    electionMs: settings.electionMs,
    store,
    post: sitePost({
      site: name,
      line,
      clock,
      counts,
      onLost: (to, error) => siteFailed(host, `send to ${to}`, error),
    }),
    counts,
    channels,
    participants,
    stopped: stopping.signal,
  };
  const sited: Sited = {
    host,
    settings,
    participants,
    seats: new Map(),
    lookups: new Set(),
    awaited: new Map(),
    isReady: () => isReady,
  };
  const ready = restore(sited).then(() => {
    isReady = true;
  });
  ready.catch(() => {});
  const close = async (): Promise<void> => {
    if (stopping.signal.aborted) return;
    for (const seat of sited.seats.values()) seat.stop();
    host.post.close();
    stopping.abort(closedError(WHAT));
    await Promise.all([line.close(), store.close()]);
  };
  return {
    name,
    namespace,
    ready,
    transactions: () =>
      Array.from(sited.seats.values(), (seat) => ({
        transactionId: seat.transactionId,
        sites: seat.sites(),
        state: seat.state().state,
        pending: seat.pending(),
      })),
    stats: () => counts.stats(countsOf(sited)),
    declareGone: (gone, call) => declareGone(goneFacts(sited), gone, call),
    guarantees: ({ signal } = {}) => store.guarantees({ signal }),
    close,
    [Symbol.asyncDispose]: close,
    [SITE]: deskOf(sited, ready),
  };
}

function goneFacts({ host, seats, awaited }: Sited): Parameters<typeof declareGone>[0] {
  return {
    host,
    seats: () => Array.from(seats.values()),
    watch(site) {
      const life = { isHeard: false };
      awaited.set(site, life);
      return {
        isHeard: () => life.isHeard,
        [Symbol.dispose]() {
          if (awaited.get(site) === life) awaited.delete(site);
        },
      };
    },
  };
}

function countsOf({ seats }: Sited): { undecidedCount: number; recordCount: number } {
  let undecidedCount = 0;
  for (const seat of seats.values()) {
    const { state } = seat.state();
    if (state !== 'Q' && !isDecided(state)) undecidedCount += 1;
  }
  return { undecidedCount, recordCount: seats.size };
}

function deskOf(sited: Sited, ready: Promise<void>): SiteDesk {
  const { participants, host } = sited;
  return {
    attach(added) {
      for (const [name, participant] of added) participants.set(name, participant);
    },
    site: host.site,
    records: () => recordsOf(sited),
    async join(transactionId, work) {
      await ready;
      return seated(sited, transactionId, [], work);
    },
    async lead(transactionId, others, work) {
      await ready;
      const seat = await seated(sited, transactionId, [host.site, ...others], work);
      seat.happen({ type: 'lead' });
      return seat;
    },
  };
}

function recordsOf({ seats, host }: Sited): readonly SiteDeskRecord[] {
  return Array.from(seats.values()).flatMap((seat) => {
    const { state, done, self } = seat.state();
    if (state === 'Q' || done.includes(self)) return [];
    const decision = state === 'C' ? 'commit' : state === 'A' ? 'none' : 'unknown';
    const { branches, sinceMs } = seat.record();
    const ageMs = Math.max(host.clock.wallMs() - sinceMs, 0);
    return [{ transactionId: seat.transactionId, decision, branches, ageMs } as const];
  });
}

async function seated(
  sited: Sited,
  transactionId: string,
  sites: readonly string[],
  work: SiteWork,
): Promise<Seat & SiteSeat> {
  const { host, seats, settings } = sited;
  host.stopped.throwIfAborted();
  const known = seats.get(transactionId);
  if (known !== undefined) {
    await known.add(work, sites);
    return known;
  }
  if (seats.size >= settings.recordsMax) throw fullError(sited);
  const { branches } = work;
  const sinceMs = host.clock.wallMs();
  const record: SiteRecord = {
    sites,
    state: 'Q',
    lastElected: FIRST_BALLOT,
    lastAttempt: 0,
    branches,
    sinceMs,
  };
  const onForgotten = (which: Seat, version: number): void => forgotten(sited, which, version);
  const seat = seatAt(host, { transactionId, record, version: 0, work, onForgotten });
  seats.set(transactionId, seat);
  try {
    await seat.open();
  } catch (error) {
    seats.delete(transactionId);
    throw error;
  }
  return seat;
}

function fullError({ settings, seats }: Sited): CoordinationError<'LOG_FULL'> {
  const waiting = Array.from(seats.values()).flatMap((seat) => seat.pending());
  const participants = Array.from(new Set(waiting)).slice(0, 100);
  const { name, recordsMax: limit } = settings;
  return new CoordinationError(
    'LOG_FULL',
    `site "${name}" has ${limit} records of transactions that not every site has ended; ` +
      `bring back ${participants.join(', ')} before beginning more`,
    { limit, participants },
  );
}

/** Everybody has ended: the record goes. A removal that fails is made up for after a restart. */
function forgotten({ host, seats }: Sited, seat: Seat, version: number): void {
  const { transactionId } = seat;
  seat.stop();
  seats.delete(transactionId);
  boundedCall(host.clock, { signals: [host.stopped] }, (signal) =>
    host.store.remove(transactionId, version, { signal }),
  ).catch((error: unknown) => {
    if (!host.stopped.aborted) siteFailed(host, 'remove', error, transactionId);
  });
}

function hear(sited: Sited, text: string): void {
  const { host, seats } = sited;
  const frame = decodeFrame(text);
  // What comes before the records have been read is as good as lost: it is sent again.
  if (frame === undefined || host.stopped.aborted || !sited.isReady()) return;
  host.counts.received(frame.letters.length);
  const awaited = sited.awaited.get(frame.from);
  if (awaited !== undefined) awaited.isHeard = true;
  for (const letter of frame.letters) {
    const seat = seats.get(letter.transactionId);
    if (seat !== undefined) seat.hear(frame.from, letter.sites, letter.message);
    else void lookUp(sited, frame.from, letter);
  }
}

/** A transaction that is not known here: it is over, or strange; or another process wrote it. */
async function lookUp(sited: Sited, from: string, letter: SiteLetter): Promise<void> {
  const { host, lookups } = sited;
  const { transactionId, sites, message } = letter;
  const answer = answerOfAbsent(message);
  const isOurs = sites.includes(host.site) && sites.includes(from) && from !== host.site;
  if (answer === undefined || !isOurs || lookups.size >= LOOKUPS_MAX) return;
  const key = `${transactionId} ${from} ${message.type}`;
  if (lookups.has(key)) return;
  lookups.add(key);
  try {
    const found = await boundedCall(host.clock, { signals: [host.stopped] }, (signal) =>
      host.store.read(transactionId, { signal }),
    );
    if (found === undefined) host.post.send(from, { transactionId, sites, message: answer });
    else takeUp(sited, found)?.hear(from, sites, message);
  } catch (error) {
    if (!host.stopped.aborted) siteFailed(host, 'read', error, transactionId);
  } finally {
    lookups.delete(key);
  }
}

/** Reads what an earlier life left; until then the site answers nobody. */
async function restore(sited: Sited): Promise<void> {
  const { host } = sited;
  const { clock, random, stopped, store } = host;
  let after = '';
  for (let attempt = 0; ; ) {
    try {
      const page = await boundedCall(clock, { signals: [stopped] }, (signal) =>
        store.list(after, PAGE, { signal }),
      );
      for (const stored of page) takeUp(sited, stored);
      after = page.at(-1)?.transactionId ?? after;
      if (page.length < PAGE) return;
    } catch (error) {
      stopped.throwIfAborted();
      siteFailed(host, 'read', error);
      await sleep(clock, backoffMs(attempt, READ_BACKOFF, random), { signal: stopped });
      attempt += 1;
    }
  }
}

function takeUp(sited: Sited, stored: StoredSite): Seat | undefined {
  const { host, seats } = sited;
  const { transactionId, version, text } = stored;
  const known = seats.get(transactionId);
  if (known !== undefined) return known;
  let record: SiteRecord;
  try {
    record = decodeSiteRecord(text, `record of ${transactionId} at site "${host.site}"`);
  } catch (error) {
    // One record that cannot be read stops no other; nobody answers for it.
    siteFailed(host, 'read', error, transactionId);
    return undefined;
  }
  const onForgotten = (seat: Seat, at: number): void => forgotten(sited, seat, at);
  const seat = seatAt(host, { transactionId, record, version, onForgotten });
  seats.set(transactionId, seat);
  seat.resume();
  return seat;
}
