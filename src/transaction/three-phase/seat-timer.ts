import { type CancelTimer, elapsedMs, instantOf } from '../../core/clock.js';
import type { SiteHost } from './site-host.js';
import { isDecided, type Lead, leaderOf, type SiteState } from './site-state.js';
import type { SiteEvent } from './three-phase.js';

/** What a seat waits for, in time. */
export interface SeatTimer {
  /** Waits anew for whatever is missing now. */
  arm(): void;
  stop(): void;
}

/** Doublings of a wait that was in vain again and again. */
const DOUBLINGS_MAX = 4;
/** A decision that some site does not acknowledge is told again once a minute in the end. */
const TELL_MS_MAX = 60_000;
/** Who knows a decision and hears nothing for so many election times asks whether all others do. */
const QUIET_ELECTIONS = 15;
/** The longest time that a transaction may take: nobody asks for an abort of its own after that. */
const ALONE_MS = 86_400_000;

/** The timer of one seat. Every delay is spread, so that sites do not wait in step. */
export function seatTimer(
  host: SiteHost,
  seat: {
    readonly state: () => SiteState;
    readonly hasSites: () => boolean;
    /** When the record was written first, on the wall clock. */
    readonly sinceMs: number;
    /** How long it may stay without a vote. */
    readonly freeMs: number | undefined;
    readonly happen: (event: SiteEvent) => void;
    /** It aborted by itself, and nobody has asked. */
    readonly onLeft: () => void;
  },
): SeatTimer {
  const { clock, random, electionMs, isSynchronous } = host;
  const since = instantOf(clock);
  let cancel: CancelTimer = () => {};
  let isStopped = false;
  let vainCount = 0;
  let led = '';
  let askedCount = 0;

  const spread = (delayMs: number): number => delayMs * (1 + random.fraction());
  const doubled = (delayMs: number, count: number): number =>
    delayMs * 2 ** Math.min(count, DOUBLINGS_MAX);
  const after = (delayMs: number, then: () => void): void => {
    cancel = clock.schedule(delayMs, then, { keepAlive: false });
  };
  const leading = (state: SiteState, lead: Lead): void => {
    const now = `${lead.phase} ${lead.ballot}`;
    if (now !== led) askedCount = 0;
    led = now;
    if (lead.phase === 'telling') {
      const delayMs = Math.min(electionMs * 2 ** Math.min(askedCount, 10), TELL_MS_MAX);
      after(spread(delayMs / 2), ask);
      return;
    }
    after(spread(electionMs / 2), () => {
      // Votes are waited for until the coordinator gives up; answers in a ballot, twice.
      if (lead.phase === 'votes' || askedCount < 1) ask();
      else if (!isSynchronous) waitedInVain();
      else for (const site of silentOf(state, lead)) seat.happen({ type: 'crashed', site });
    });
  };
  const ask = (): void => {
    askedCount += 1;
    seat.happen({ type: 'resend' });
  };
  const waitedInVain = (): void => {
    vainCount += 1;
    const state = seat.state();
    const awaited = leaderOf(state.lastElected, state.siteCount);
    if (isSynchronous && awaited !== state.self) {
      seat.happen({ type: 'crashed', site: awaited });
    }
    seat.happen({ type: 'silence' });
  };
  const free = (): void => {
    if (seat.freeMs === undefined) return;
    const leftMs = Math.max(seat.freeMs - elapsedMs(clock, since), 0);
    after(leftMs, () => seat.happen({ type: 'give-up' }));
  };
  const ended = (state: SiteState): void => {
    const { lead } = state;
    if (!seat.hasSites()) {
      const aloneMs = clock.wallMs() - seat.sinceMs;
      after(Math.max(ALONE_MS - aloneMs, 0), seat.onLeft);
    } else if (state.done.length < state.siteCount) {
      if (lead !== undefined) leading(state, lead);
      else after(spread(QUIET_ELECTIONS * electionMs), () => seat.happen({ type: 'silence' }));
    }
  };
  return {
    arm() {
      cancel();
      if (isStopped) return;
      const state = seat.state();
      const { lead } = state;
      if (isDecided(state.state)) ended(state);
      else if (lead !== undefined) leading(state, lead);
      else if (state.state === 'Q') free();
      else after(spread(doubled(electionMs, vainCount)), waitedInVain);
    },
    stop() {
      isStopped = true;
      cancel();
    },
  };
}

/** Whom a leader has asked in vain. */
function silentOf({ self, siteCount, crashed }: SiteState, lead: Lead): readonly number[] {
  const heard =
    lead.phase === 'reports'
      ? lead.reports.map(({ site }) => site)
      : lead.phase === 'attempt'
        ? lead.acks
        : [];
  return Array.from({ length: siteCount }, (_, site) => site).filter(
    (site) => site !== self && !heard.includes(site) && !crashed.includes(site),
  );
}
