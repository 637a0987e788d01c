import {
  type CancelTimer,
  type Clock,
  type Instant,
  instantOf,
  remainingMs,
  type Validity,
} from '../core/clock.js';
import type { Grant, LockBackend, RenewReply } from './driver.js';

/** A grant that is renewed in time, or noticed to have ended. */
export interface KeptGrant {
  readonly grant: Grant;
  /** Until when it may be relied on: the backend's validity less the drift margin. */
  validity: Validity;
  /** What the next renewal asks for. */
  ttlMs: number;
  /** `once`: one renewal, to bring a grant that another task had to this one's TTL. */
  renewal: 'always' | 'once' | 'never';
  /** When the next renewal is due, in monotonic milliseconds. */
  dueMs: number;
  /** Ends it earlier than its validity does: `maxHoldMs`. */
  cap: Validity | undefined;
  /** The renewal under way. */
  renewing: Promise<RenewReply> | undefined;
  /** A renewal told how many wait elsewhere. */
  onRenewed(waiters: number): void;
  /** It ended; it is no longer kept. Called once. `isGone` when the backend itself said so. */
  onLost(isGone: boolean): void;
}

/** Renews all grants of one lock: one timer, and renewals that are due together in one batch. */
export interface LeaseKeeper {
  /** Begins to keep a grant, or notices that its times were changed. */
  keep(kept: KeptGrant): void;
  /** Lets it go: released, or handed back. */
  drop(kept: KeptGrant): void;
  /** Compares the clock now, before any timer did: false when it has ended, which is then acted on. */
  check(kept: KeptGrant): boolean;
  /** Renews it now, after a renewal that is under way. */
  renewNow(kept: KeptGrant): Promise<RenewReply>;
  /** Cancels the timer; nothing is kept any more. */
  close(): void;
}

/** Renewals begin at this part of the validity, so that two may fail before it ends. */
const RENEW_PART = 1 / 3;
/** What is due within this part of its validity goes along with a batch. */
const BATCH_PART = 1 / 12;
/** After a reply that did not come: again after this part of what is left, but no sooner than … */
const RETRY_PART = 1 / 4;
const RETRY_MS_MIN = 5;
/** Clocks of two machines drift apart by less than this, and timers are coarse: Redlock's margin. */
const DRIFT_PART = 0.01;
const DRIFT_MS = 2;

/** The part of a validity that may be relied on: less 1 % and 2 ms for drift. */
export function dependableValidity({ since, forMs }: Validity): Validity {
  // A TTL of a few milliseconds keeps at least something of itself.
  const margin = forMs * DRIFT_PART + Math.min(DRIFT_MS, forMs / 4);
  return { since, forMs: forMs - margin };
}

/** When the first renewal of a validity is due, in monotonic milliseconds. */
export function renewalDueMs({ since, forMs }: Validity): number {
  return since.monotonicMs + forMs * RENEW_PART;
}

/** How long a kept grant may still be relied on; zero or less when it has ended. */
export function keptForMs(clock: Clock, { validity, cap }: KeptGrant): number {
  const left = remainingMs(clock, validity);
  return cap === undefined ? left : Math.min(left, remainingMs(clock, cap));
}

/** A keeper with nothing to keep yet. */
export function leaseKeeper(backend: LockBackend, clock: Clock): LeaseKeeper {
  const all = new Set<KeptGrant>();
  const alarm = earliestAlarm(clock, () => look());

  const watch = (kept: KeptGrant): void => {
    const endMs = clock.monotonicMs() + keptForMs(clock, kept);
    const renews = kept.renewal !== 'never' && kept.renewing === undefined;
    alarm.at(renews ? Math.min(endMs, kept.dueMs) : endMs);
  };
  const look = (): void => {
    for (const kept of Array.from(all)) {
      if (keptForMs(clock, kept) <= 0) lose(kept, false);
    }
    const nowMs = clock.monotonicMs();
    const due = Array.from(all).filter((kept) => isDue(kept, nowMs));
    if (due.length > 0) renew(due);
    for (const kept of all) watch(kept);
  };
  const lose = (kept: KeptGrant, isGone: boolean): void => {
    if (all.delete(kept)) kept.onLost(isGone);
  };
  const renew = (batch: readonly KeptGrant[]): void => {
    const replies = askToRenew(backend, batch);
    batch.forEach((kept, index) => {
      kept.renewing = replies.then((all) => settle(kept, all[index]));
    });
  };
  const settle = (kept: KeptGrant, reply: RenewReply = NO_REPLY): RenewReply => {
    kept.renewing = undefined;
    if (!all.has(kept)) return { state: 'lost' };
    // A reply after the deadline changes nothing: somebody else may hold it since.
    if (keptForMs(clock, kept) <= 0) {
      lose(kept, false);
      return { state: 'lost' };
    }
    accept(kept, reply);
    return reply;
  };
  const accept = (kept: KeptGrant, reply: RenewReply): void => {
    switch (reply.state) {
      case 'lost':
        lose(kept, true);
        return;
      case 'held':
        kept.validity = dependableValidity(reply.validity);
        kept.dueMs = renewalDueMs(reply.validity);
        if (kept.renewal === 'once') kept.renewal = 'never';
        break;
      case 'unknown':
        kept.dueMs = retryAtMs(instantOf(clock), keptForMs(clock, kept));
    }
    watch(kept);
    if (reply.state === 'held') kept.onRenewed(reply.waiters);
  };

  return {
    keep(kept) {
      all.add(kept);
      watch(kept);
    },
    drop: (kept) => void all.delete(kept),
    check(kept) {
      if (!all.has(kept)) return false;
      if (keptForMs(clock, kept) > 0) return true;
      lose(kept, false);
      return false;
    },
    async renewNow(kept) {
      while (kept.renewing !== undefined) await kept.renewing;
      if (!all.has(kept)) return { state: 'lost' };
      renew([kept]);
      return kept.renewing ?? NO_REPLY;
    },
    close() {
      all.clear();
      alarm.cancel();
    },
  };
}

/** One timer, at the earliest of the times that were asked for since it last rang. */
function earliestAlarm(clock: Clock, ring: () => void) {
  let cancel: CancelTimer = () => {};
  let nextMs = Number.POSITIVE_INFINITY;
  return {
    at(atMs: number): void {
      if (atMs >= nextMs) return;
      cancel();
      nextMs = atMs;
      const rings = (): void => {
        nextMs = Number.POSITIVE_INFINITY;
        ring();
      };
      // Leases alone do not keep a process running; who works under one does.
      cancel = clock.schedule(atMs - clock.monotonicMs(), rings, { keepAlive: false });
    },
    cancel: () => cancel(),
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

function isDue({ renewal, renewing, dueMs, validity }: KeptGrant, nowMs: number): boolean {
  if (renewal === 'never' || renewing !== undefined) return false;
  return dueMs - validity.forMs * BATCH_PART <= nowMs;
}

function retryAtMs(now: Instant, leftMs: number): number {
  return now.monotonicMs + Math.max(leftMs * RETRY_PART, RETRY_MS_MIN);
}
