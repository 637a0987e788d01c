import { type Clock, type Instant, instantOf, leftAt, type Validity } from '../core/clock.js';
import type { Grant, RenewReply } from './driver.js';

/** A grant that is renewed in time, or noticed to have ended. */
export interface KeptGrant {
  grant: Grant;
  /** Until when it may be relied on: the backend's validity less the drift margin. */
  validity: Validity;
  /** What the next renewal asks for. */
  ttlMs: number;
  /** What the newest request that was sent asked for. */
  sentTtlMs: number;
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

/** Renewals begin at this part of the validity, so that two may fail before it ends. */
const RENEW_PART = 1 / 3;
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
export function keptForMs(clock: Clock, kept: KeptGrant): number {
  return keptAtMs(instantOf(clock), kept);
}

/** The same at an instant of this very turn. */
export function keptAtMs(now: Instant, { validity, cap }: KeptGrant): number {
  const left = leftAt(validity, now);
  return cap === undefined ? left : Math.min(left, leftAt(cap, now));
}
