import { type Clock, elapsedMs, type Instant, instantOf } from '../core/clock.js';

/** When a tier is given up for a while; see `CacheOptions.breaker`. Times are in milliseconds. */
export interface CacheBreakerOptions {
  /**
   * Opens when so large a part of the calls failed or were not answered in time, counted from the
   * first failure of the last `windowMs`: above 0 to 1, default 0.5.
   */
  readonly failureRatio?: number | undefined;
  /** Never opens on fewer calls than this: 1 to 1,000, default 5. */
  readonly callsMin?: number | undefined;
  /** Failures older than this are forgotten; at least 1, default 10,000. */
  readonly windowMs?: number | undefined;
  /**
   * After so long one read is let through: its success closes the breaker, its failure keeps it open
   * for as long again. At least 1, default 1,000.
   */
  readonly openMs?: number | undefined;
}

/** {@link CacheBreakerOptions}, complete. */
export type BreakerPolicy = Required<{
  [Name in keyof CacheBreakerOptions]: NonNullable<CacheBreakerOptions[Name]>;
}>;

/**
 * How a tier stands: `closed` as it should be; `open`, reads go by without asking it; `half-open`, one
 * read asks it, and the others go by.
 */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Which calls a tier that fails is spared (Nygard, Release It!, 2007). */
export interface Breaker {
  readonly state: BreakerState;
  /** Whether a call may go: its number, for {@link Breaker.leave}; undefined when it is to go by. */
  enter(): number | undefined;
  /** How the call ended. A call that was let through before the last change of state says nothing. */
  leave(entered: number, ending: 'answered' | 'failed'): void;
}

/** What a breaker is made of. */
export interface BreakerParts {
  readonly clock: Clock;
  readonly policy: BreakerPolicy;
  /** Whether an open breaker may try whether the tier is back. */
  readonly mayProbe: () => boolean;
  readonly onChange: (state: BreakerState) => void;
}

/** Failures that are remembered; a ratio of more says nothing new. */
const FAILURES_MAX = 1_000;

interface Failure {
  readonly at: Instant;
  /** How many calls had ended before it. */
  readonly endedBefore: number;
}

interface Self extends BreakerParts {
  state: BreakerState;
  /** Grows with each change, so that calls of before are known. */
  era: number;
  since: Instant;
  endedCount: number;
  failures: Failure[];
}

/** A closed breaker. Where nothing fails it reads no clock: an answered call costs one addition. */
export function breaker(parts: BreakerParts): Breaker {
  const since = instantOf(parts.clock);
  const self: Self = { ...parts, state: 'closed', era: 1, since, endedCount: 0, failures: [] };
  return {
    get state() {
      return self.state;
    },
    enter() {
      if (self.state === 'closed') return self.era;
      if (self.state === 'half-open' || !isProbeDue(self)) return undefined;
      change(self, 'half-open');
      return self.era;
    },
    leave(entered, ending) {
      if (entered !== self.era) return;
      if (self.state === 'half-open') {
        change(self, ending === 'answered' ? 'closed' : 'open');
        return;
      }
      if (ending === 'failed') noteFailure(self);
      self.endedCount += 1;
      if (ending === 'failed' && isTooBad(self)) change(self, 'open');
    },
  };
}

function isProbeDue({ clock, since, policy, mayProbe }: Self): boolean {
  return elapsedMs(clock, since) >= policy.openMs && mayProbe();
}

function change(self: Self, state: BreakerState): void {
  const since = instantOf(self.clock);
  Object.assign(self, { state, era: self.era + 1, since, endedCount: 0, failures: [] });
  self.onChange(state);
}

function noteFailure(self: Self): void {
  const { clock, failures, policy, endedCount } = self;
  failures.push({ at: instantOf(clock), endedBefore: endedCount });
  const isForgotten = ({ at }: Failure): boolean => elapsedMs(clock, at) > policy.windowMs;
  const first = failures.findIndex((failure) => !isForgotten(failure));
  failures.splice(0, Math.max(first, failures.length - FAILURES_MAX));
}

function isTooBad({ failures, endedCount, policy }: Self): boolean {
  const [first] = failures;
  if (first === undefined) return false;
  const callCount = endedCount - first.endedBefore;
  return callCount >= policy.callsMin && failures.length / callCount >= policy.failureRatio;
}
