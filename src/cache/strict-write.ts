/**
 * How a write of a `strict` cache goes, step by step: the leases of Gray and Cheriton (SOSP 1989),
 * with nobody to ask for their return. A copy in a process's memory lives `leaseMs` at most from before
 * its request. So a writer first reserves the key, after which nothing new is copied; waits until the
 * last copy has ended; and only then changes anything. Changing first would show the new value to one
 * reader and the old one, from its copy, to the next.
 *
 * Pure: what happens outside comes in as events, and the step says what is to be done next. The times
 * of events are of a clock of the writer that is never slow.
 */
export interface StrictWrite {
  readonly step: /** Reserve the key, for `holdMs`. */
    | 'reserve'
    /** Wait for {@link strictWaitMs}, by the monotonic clock alone. */
    | 'wait'
    /** Remove the entry and stay: the source is about to change. */
    | 'clear'
    /** Change the source. */
    | 'commit'
    /** Store the new entry, or remove the old one, and let go. */
    | 'conclude'
    | 'done';
  /**
   * Until then the key has been reserved without a gap, by this writer or by one that came later and
   * took over: nobody has copied an old value.
   */
  readonly coveredUntilMs: number;
  /** The source was changed. */
  readonly isCommitted: boolean;
  /**
   * The source was changed under this very reservation: only while it stood until the end it is known
   * that nobody has copied what was there before.
   */
  readonly mustOwn: boolean;
}

/** What has happened. */
export type StrictEvent =
  /** The reservation was acknowledged. */
  | { readonly type: 'reserved'; readonly sentMs: number }
  /** It was prolonged. */
  | { readonly type: 'renewed'; readonly sentMs: number }
  /** The last copy has ended. */
  | { readonly type: 'waited' }
  /** The source was changed, or may have been. */
  | { readonly type: 'committed' }
  /** The entry is removed, or stored; `isOwn`: under this writer's own reservation. */
  | {
      readonly type: 'settled';
      readonly isOwn: boolean;
      readonly atMs: number;
    };

/** How long things last, in milliseconds. */
export interface StrictPolicy {
  /** A copy lives so long by its owner's clock. */
  readonly leaseMs: number;
  /** A reservation lasts so long at the server. */
  readonly holdMs: number;
  /** By which part the clocks of two machines may differ in speed. */
  readonly drift: number;
  /** Whether the writer has a source to change. */
  readonly commits: boolean;
}

/** What clocks of computers differ by at most: far more than NTP corrects, 0.05 %. */
export const CLOCK_DRIFT = 0.01;
/** What timers and clocks of whole milliseconds may be off by. */
const COARSE_MS = 2;

/** How long a writer waits: for a copy of the slowest clock, by the fastest. */
export function strictWaitMs({ leaseMs, drift }: Pick<StrictPolicy, 'leaseMs' | 'drift'>): number {
  return leaseMs * (1 + drift) ** 2 + COARSE_MS;
}

/**
 * The end of a write whose source was changed, perhaps by another process: nobody knows how long ago its
 * key was reserved.
 */
export function changedSource(): StrictWrite {
  return {
    step: 'conclude',
    coveredUntilMs: 0,
    isCommitted: true,
    mustOwn: true,
  };
}

/** A write that has not begun. */
export function newStrictWrite(): StrictWrite {
  return {
    step: 'reserve',
    coveredUntilMs: 0,
    isCommitted: false,
    mustOwn: false,
  };
}

/** The next step. */
export function nextStep(
  policy: StrictPolicy,
  state: StrictWrite,
  event: StrictEvent,
): StrictWrite {
  const coverFrom = (sentMs: number): number => sentMs + policy.holdMs / (1 + policy.drift) ** 2;
  switch (event.type) {
    case 'reserved':
      return {
        ...state,
        step: 'wait',
        coveredUntilMs: coverFrom(event.sentMs),
        mustOwn: false,
      };
    case 'renewed': {
      const coveredUntilMs = Math.max(state.coveredUntilMs, coverFrom(event.sentMs));
      return { ...state, coveredUntilMs };
    }
    case 'waited':
      return {
        ...state,
        step: policy.commits && !state.isCommitted ? 'clear' : 'conclude',
      };
    case 'committed':
      return { ...state, step: 'conclude', isCommitted: true, mustOwn: true };
    case 'settled': {
      const isCovered = event.atMs < state.coveredUntilMs;
      // Also what is its own must last until the source changes.
      if (state.step === 'clear') return { ...state, step: isCovered ? 'commit' : 'reserve' };
      // Another writer's reservation took over: it waits too, and what it then writes is newer.
      const isSafe = event.isOwn || (isCovered && !state.mustOwn);
      return { ...state, step: isSafe ? 'done' : 'reserve' };
    }
  }
}
