import { type Clock, type Instant, instantOf, remainingMs } from '../core/clock.js';
import type { LockBackend, RenewReply } from './driver.js';
import {
  dependableValidity,
  type KeptGrant,
  keptAtMs,
  keptForMs,
  renewalDueMs,
} from './kept-grant.js';
import { leaseSchedule } from './lease-schedule.js';

/** Renews all grants of one lock: one timer, and renewals that are due together in one batch. */
export interface LeaseKeeper {
  /** Begins to keep a grant, or notices that its times were changed. */
  keep(kept: KeptGrant): void;
  /** Lets it go: released, or handed back. */
  drop(kept: KeptGrant): void;
  /** Compares the clock, read in this very turn, before any timer did: false when it has ended, which is then acted on. */
  check(kept: KeptGrant, now: Instant): boolean;
  /** Renews it now, after a renewal that is under way. */
  renewNow(kept: KeptGrant): Promise<RenewReply>;
  /**
   * The longest validity that this backend gives to grants which ask for more, in milliseconds:
   * infinity until one was given less. A session backend gives its own time-out.
   */
  readonly validityMsMax: number;
  /** Cancels the timer; nothing is kept any more. */
  close(): void;
}

/** A renewal that gives less than this part of what was asked was cut to what the backend has. */
const WHOLE_PART = 2 / 3;
/** After a reply that did not come: again after this part of what is left, but no sooner than … */
const RETRY_PART = 1 / 4;
const RETRY_MS_MIN = 5;

/** A keeper with nothing to keep yet. */
export function leaseKeeper(backend: LockBackend, clock: Clock): LeaseKeeper {
  const schedule = leaseSchedule(clock, {
    onDue: (batch) => renew(batch),
    onEnded: (kept) => kept.onLost(false),
  });
  let validityMsMax = Number.POSITIVE_INFINITY;
  const noteValidity = (askedMs: number, givenMs: number): void => {
    const isCut = givenMs < askedMs * WHOLE_PART;
    if (isCut)
      validityMsMax = Math.max(givenMs, Number.isFinite(validityMsMax) ? validityMsMax : 0);
    else if (givenMs > validityMsMax) validityMsMax = Number.POSITIVE_INFINITY;
  };
  const lose = (kept: KeptGrant, isGone: boolean): void => {
    if (schedule.remove(kept)) kept.onLost(isGone);
  };
  const renew = (batch: readonly KeptGrant[]): void => {
    for (const kept of batch) shorten(kept, clock);
    const replies = askToRenew(backend, batch);
    batch.forEach((kept, index) => {
      const { ttlMs } = kept;
      kept.renewing = replies.then((all) => settle(kept, all[index], ttlMs));
      schedule.put(kept);
    });
  };
  const settle = (
    kept: KeptGrant,
    reply: RenewReply = NO_REPLY,
    askedTtlMs: number,
  ): RenewReply => {
    kept.renewing = undefined;
    if (!schedule.has(kept)) return { state: 'lost' };
    // A reply after the deadline changes nothing: somebody else may hold it since.
    if (reply.state === 'lost' || keptForMs(clock, kept) <= 0) {
      lose(kept, reply.state === 'lost');
      return { state: 'lost' };
    }
    accept(kept, reply, askedTtlMs, clock);
    schedule.put(kept);
    if (reply.state === 'held') {
      noteValidity(askedTtlMs, reply.validity.forMs);
      kept.onRenewed(reply.waiters);
    }
    return reply;
  };

  return {
    keep: (kept) => schedule.put(kept),
    drop: (kept) => void schedule.remove(kept),
    check(kept, now) {
      if (!schedule.has(kept)) return false;
      if (keptAtMs(now, kept) > 0) return true;
      lose(kept, false);
      return false;
    },
    async renewNow(kept) {
      while (kept.renewing !== undefined) await kept.renewing;
      if (!schedule.has(kept)) return { state: 'lost' };
      renew([kept]);
      return kept.renewing ?? NO_REPLY;
    },
    get validityMsMax() {
      return validityMsMax;
    },
    close: () => schedule.close(),
  };
}

const NO_REPLY: RenewReply = { state: 'unknown', cause: new Error('the driver gave no reply') };

/** Drivers never reject; one that does is told from one that lost the grant. */
async function askToRenew(
  backend: LockBackend,
  batch: readonly KeptGrant[],
): Promise<readonly RenewReply[]> {
  const grants = batch.map((kept) => kept.grant);
  const ttls = batch.map((kept) => kept.ttlMs);
  try {
    return await backend.renew(grants, ttls);
  } catch (cause) {
    return batch.map(() => ({ state: 'unknown', cause }));
  }
}

/**
 * Before a renewal that asks for less than the one before: from its sending on the shorter time may
 * be in force there, whether or when the reply arrives.
 */
function shorten(kept: KeptGrant, clock: Clock): void {
  const asked = dependableValidity({ since: instantOf(clock), forMs: kept.ttlMs });
  const isLess = kept.ttlMs < kept.sentTtlMs && asked.forMs < remainingMs(clock, kept.validity);
  if (isLess) kept.validity = asked;
  kept.sentTtlMs = kept.ttlMs;
}

/** Takes in a reply to a renewal that asked for `askedTtlMs`, which may be outdated by now. */
function accept(
  kept: KeptGrant,
  reply: Exclude<RenewReply, { state: 'lost' }>,
  askedTtlMs: number,
  clock: Clock,
): void {
  if (reply.state === 'unknown') {
    const delayMs = Math.max(keptForMs(clock, kept) * RETRY_PART, RETRY_MS_MIN);
    kept.dueMs = clock.monotonicMs() + delayMs;
    return;
  }
  kept.validity = dependableValidity(reply.validity);
  // The next task may have got it meanwhile, with a TTL of its own that is yet to be asked for.
  const isAsWanted = askedTtlMs === kept.ttlMs;
  kept.dueMs = isAsWanted ? renewalDueMs(reply.validity) : clock.monotonicMs();
  if (isAsWanted && kept.renewal === 'once') kept.renewal = 'never';
}
