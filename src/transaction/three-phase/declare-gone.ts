import { sleep } from '../../core/abort.js';
import { CoordinationError } from '../../core/errors.js';
import { assertNumber, invalidArgument } from '../../core/validate.js';
import { boundedCall } from '../host.js';
import type { Seat } from './seat.js';
import type { SiteHost } from './site-host.js';
import { isSiteName } from './site-letters.js';
import { isDecided } from './site-state.js';

/** Options of `TransactionSite.declareGone`. */
export interface DeclareGoneOptions {
  /** Why, 1 to 256 characters, for the record and the diagnostic. */
  readonly reason: string;
  /** How long the site is asked for a sign of life before, in milliseconds. Default 5 `electionMs`. */
  readonly waitMs?: number | undefined;
  /** Ends the wait; nothing is changed then. */
  readonly signal?: AbortSignal | undefined;
}

/** What became of the transactions in which a site took part that is gone. */
export interface DeclaredGone {
  /** Decided ones that wait for it no longer. Whatever it holds prepared must end like this. */
  readonly ended: readonly GoneTransaction[];
  /** Those that the sites have not decided: they are left as they are. */
  readonly undecided: readonly string[];
}

/** A transaction whose outcome a lost site does not know any more. */
export interface GoneTransaction {
  /** Its id. */
  readonly transactionId: string;
  /** What was decided. */
  readonly outcome: 'committed' | 'aborted';
}

/** What it works on. */
interface Gone {
  readonly host: SiteHost;
  readonly seats: () => readonly Seat[];
  /** Listens for any sign of life of a site. */
  readonly watch: (site: string) => Disposable & { readonly isHeard: () => boolean };
}

const REASON_MAX = 256;
const WAIT_ELECTIONS = 5;

/** Counts a site as done that will never say so, unless it gives a sign of life. */
export async function declareGone(
  { host, seats, watch }: Gone,
  gone: string,
  options: DeclareGoneOptions,
): Promise<DeclaredGone> {
  const { reason, waitMs = WAIT_ELECTIONS * host.electionMs, signal } = options;
  if (!isSiteName(gone) || gone === host.site) {
    throw invalidArgument('site', gone, 'the name of another site');
  }
  if (typeof reason !== 'string' || reason.length < 1 || reason.length > REASON_MAX) {
    throw invalidArgument('reason', reason, `a text of 1 to ${REASON_MAX} characters`);
  }
  assertNumber('waitMs', waitMs, { min: host.electionMs, max: 3_600_000 });
  const waiting = (): readonly Seat[] => seats().filter((seat) => seat.pending().includes(gone));
  using life = watch(gone);
  // Whoever knows the decision asks all who have not acknowledged it.
  for (const seat of waiting()) if (isDecided(seat.state().state)) seat.happen({ type: 'silence' });
  await sleep(host.clock, waitMs, { signal, keepAlive: false });
  host.stopped.throwIfAborted();
  if (life.isHeard()) throw notGone(gone);
  const since = { site: gone, reason, atMs: host.clock.wallMs() };
  const ended: GoneTransaction[] = [];
  const undecided: string[] = [];
  for (const seat of waiting()) {
    const { state } = seat.state();
    const { transactionId } = seat;
    if (!isDecided(state)) {
      undecided.push(transactionId);
      continue;
    }
    ended.push({ transactionId, outcome: state === 'C' ? 'committed' : 'aborted' });
    await boundedCall(host.clock, { signals: [host.stopped] }, () => seat.without(since));
  }
  host.channels.declaredGone.publish(() => ({ site: host.site, gone, reason, ended, undecided }));
  return { ended, undecided };
}

function notGone(site: string): CoordinationError<'SITE_NOT_GONE'> {
  return new CoordinationError(
    'SITE_NOT_GONE',
    `site "${site}" answers, so that it is not gone; it ends what waits for it by itself`,
    { site },
  );
}
