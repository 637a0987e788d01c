/** What every event of a history tells. Made by `recordHistory`, judged by `checkHistory`. */
export interface HistoryStamp {
  /**
   * When, in milliseconds with fractions, on an axis that all processes of one machine share and
   * that never goes back.
   */
  readonly at: number;
  /** Which life of which process. A process that is started again has another name here. */
  readonly process: string;
}

/** Somebody begins to ask for a resource. */
export interface AcquireEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'acquire';
  /** Unique within the process; the lease, if there will be one, goes by the same name. */
  readonly operation: string;
  /** The lock's node, which stands in line. */
  readonly node: string;
  /** The resource id. */
  readonly resource: string;
  /** How it would share the resource. */
  readonly mode: 'exclusive' | 'shared' | 'counting';
  /** How much of the capacity it takes; only when counting. */
  readonly permits?: number | undefined;
  /** What all permits together may not exceed; only when counting. */
  readonly capacity?: number | undefined;
  /** The TTL that was asked for, in milliseconds, where one was named. */
  readonly ttlMs?: number | undefined;
  /** The longest hold that was asked for, in milliseconds, where one was named. */
  readonly maxHoldMs?: number | undefined;
  /** Whether the lease is renewed in the background. */
  readonly renew: boolean;
  /** False for `tryAcquire`: it stands in no line. */
  readonly waits: boolean;
  /** A task that holds the resource may take it again, and then shares the hold. */
  readonly isReentrant?: boolean | undefined;
  /** One of several resources that are asked for together, which have an order of their own. */
  readonly isOneOfSeveral: boolean;
}

/** How asking for a resource ended. */
export type AcquireOutcome =
  /** There is a lease. */
  | 'granted'
  /** `tryAcquire` found it taken. */
  | 'taken'
  /** Nobody got it, for sure: LOCK_TIMEOUT, the caller's signal, or any error. */
  | 'refused';

/** Asking for a resource has ended. */
export interface AcquiredEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'acquired';
  /** As in its `acquire`. */
  readonly operation: string;
  /** How it ended. */
  readonly outcome: AcquireOutcome;
  /** The fencing token, or of a shared lease the epoch, as a decimal. */
  readonly token?: string | undefined;
  /** Whether the lease was held when it arrived, sampled after `at`. */
  readonly isHeld?: boolean | undefined;
  /** The code or name of the error. */
  readonly error?: string | undefined;
}

/** Somebody looked whether a lease is held; sampled after `at`. */
export interface CheckEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'check';
  /** Whose lease. */
  readonly operation: string;
  /** What the lease said. */
  readonly isHeld: boolean;
}

/** A lease is about to be renewed by hand, for so long from now on. */
export interface ExtendEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'extend';
  /** Whose lease. */
  readonly operation: string;
  /** The TTL that was asked for, in milliseconds, where one was named. */
  readonly ttlMs?: number | undefined;
}

/** A lease's signal aborted. */
export interface LostEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'lost';
  /** Whose lease. */
  readonly operation: string;
  /** The code or name of the reason. */
  readonly reason: string;
}

/** A release begins, or a downgrade, which ends the exclusive part of a lease. */
export interface ReleaseEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'release' | 'downgrade';
  /** Whose lease. */
  readonly operation: string;
  /** Whether it was still held, sampled after `at`. */
  readonly isHeld: boolean;
}

/** A release, or a downgrade, has ended. */
export interface ReleasedEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'released' | 'downgraded';
  /** Whose lease. */
  readonly operation: string;
  /** What it answered; `failed` where it rejected, or told nothing. */
  readonly outcome: 'released' | 'lost' | 'downgraded' | 'failed';
}

/** Somebody broke something on purpose, from `at` until `untilMs`. */
export interface FaultEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'fault';
  /** What was done: `kill`, `freeze`, `cut`. */
  readonly fault: string;
  /** The process that it was done to, or `backend`. */
  readonly target: string;
  /**
   * When its effects are over, on the same axis: leases of what was killed have ended, connections
   * are open again. Order and wake-ups are not judged meanwhile.
   */
  readonly untilMs: number;
  /**
   * While it lasted the backend answered nobody, from `at` until this moment: nobody can have renewed.
   */
  readonly silentUntilMs?: number | undefined;
  /**
   * It took leases away from holders that could not know yet (a session ended by an administrator, a
   * forced release), until they had heard or their deadline came. What they claim up to this moment
   * may overlap with what came next, if that has the higher token.
   */
  readonly revokedUntilMs?: number | undefined;
}

/** Nobody asks for anything any more, and this is what the backend still shows. */
export interface QuiesceEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'quiesce';
  /** The resource that was inspected. */
  readonly resource: string;
  /** The owners that still hold it. */
  readonly holders: readonly string[];
  /** The owners that still wait for it. */
  readonly waiters: readonly string[];
}

/** The recorder had no room left: what follows is missing. */
export interface OverflowEvent extends HistoryStamp {
  /** Tells the events apart. */
  readonly event: 'overflow';
}

/** One line of a history. */
export type HistoryEvent =
  | AcquireEvent
  | AcquiredEvent
  | CheckEvent
  | ExtendEvent
  | LostEvent
  | ReleaseEvent
  | ReleasedEvent
  | FaultEvent
  | QuiesceEvent
  | OverflowEvent;

/** The sentences that `checkHistory` knows. */
export type HistoryRule =
  /** Certain holds of one resource fit together: one writer, or readers, or permits up to capacity. */
  | 'mutual-exclusion'
  /** Tokens of exclusive leases increase strictly; a reader's lies between its writers'. */
  | 'fence-monotone'
  /** Who asked later is not served first, beyond the bound for hand-over inside a node. */
  | 'first-come-first-served'
  /** Nobody waits for a resource that nobody holds. */
  | 'no-lost-wake-up'
  /** After the end nobody holds or waits, and every call has ended. */
  | 'no-orphan'
  /** No lease is held after its deadline, or after it was lost. */
  | 'held-past-deadline'
  /** A release tells `released` only of a lease that nobody had followed. */
  | 'false-release'
  /** The history itself is whole: nothing ends that did not begin, and nothing is missing. */
  | 'well-formed';

/** A sentence that a history breaks. */
export interface HistoryViolation {
  /** Which sentence. */
  readonly rule: HistoryRule;
  /** What happened, with names and numbers. */
  readonly message: string;
  /** The events that show it. */
  readonly events: readonly HistoryEvent[];
}
