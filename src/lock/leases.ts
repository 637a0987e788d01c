import type { LockId } from '../core/ids.js';
import type { LockMode } from './driver.js';

/**
 * The right to a resource, for as long as it is renewed: what leases of every mode have.
 *
 * A lease can be lost: the process was stopped too long, or the backend could not be reached. Then
 * `signal` aborts, no later than the moment from which somebody else may hold the resource. What the
 * signal comes too late for is the fencing token's to stop: pass it to the resource and let that
 * refuse a lower token than one it has seen.
 */
export interface AnyLease extends AsyncDisposable {
  /** The resource id that was asked for. */
  readonly resource: string;
  /** What stands in the backend: `lockId(resource, nodeId)`. */
  readonly owner: LockId;
  /** How the resource is shared with others. */
  readonly mode: LockMode;
  /**
   * Aborts when the lease is lost, at its local deadline at the latest, whatever the backend says;
   * the reason is a LOCK_LOST, or a CLOSED when the lock was closed. Not aborted by `release`.
   */
  readonly signal: AbortSignal;
  /** Whether it is held at this very moment, by the clock; false after `release` and after a loss. */
  readonly isHeld: boolean;
  /** How long it would still last without another renewal, in milliseconds; 0 when it is not held. */
  readonly remainingMs: number;
  /**
   * Throws LOCK_LOST (or CLOSED) unless it is held. Compares the clock first, so that code which was
   * suspended or stalled learns of the loss before any timer could run.
   */
  assertHeld(): void;
  /**
   * Renews it now, for `ttlMs` from now on (default: the TTL it has). Readers of this process that
   * share a grant last as long as the one of them that asked for most.
   *
   * @throws LOCK_LOST when it is not held any more; RESULT_UNKNOWN when no reply came: then it lasts
   * as long as before, or for `ttlMs` from the call on where that is shorter.
   */
  extend(ttlMs?: number): Promise<void>;
  /**
   * Ends it and hands the resource to the next in line. Harmless when repeated. Never rejects:
   * `lost` tells that it had ended before, so that the guarded work may have raced with another's.
   */
  release(): Promise<'released' | 'lost'>;
}

/** An exclusive lease: nobody else holds the resource. */
export interface Lease extends AnyLease {
  readonly mode: 'exclusive';
  /** Strictly greater than the token of every lease of this resource that was held before. */
  readonly fencingToken: bigint;
  /**
   * Makes the writer a reader without letting go in between: other readers may come in, and nobody
   * wrote since. From the call on this lease is not held any more; releasing it releases the reader.
   *
   * @throws LOCK_LOST when it is not held any more; BACKEND_UNAVAILABLE: it is held as before;
   * RESULT_UNKNOWN when no reply came: it may be a reader's by now; call again, or release it;
   * LOCK_REENTRY while a `reentrant` lease of the same task is open.
   */
  downgrade(): Promise<SharedLease>;
}

/** A reader's lease: others may read too, and nobody writes. */
export interface SharedLease extends AnyLease {
  readonly mode: 'shared';
  /**
   * The epoch: the same for all readers between two writers, not below the token of any writer
   * before, and below every writer's after. It orders a reader's work among the writers'.
   */
  readonly fencingToken: bigint;
}

/** Some permits of a counted resource. It has no fencing token: its holders come in no order. */
export interface CountingLease extends AnyLease {
  readonly mode: 'counting';
  /** How many permits it holds. */
  readonly permits: number;
  /** How many there are. */
  readonly capacity: number;
}

/** Leases of several resources that were taken together. */
export interface LeaseSet<EachLease extends AnyLease = Lease> extends AsyncDisposable {
  /** The resource ids, each once, in the order in which they were taken. */
  readonly resources: readonly string[];
  /** Aborts when any of the leases is lost, with the reason of that loss. */
  readonly signal: AbortSignal;
  /** Whether all are held at this very moment. */
  readonly isHeld: boolean;
  /** How long all of them would still last without another renewal; 0 when one is not held. */
  readonly remainingMs: number;
  /**
   * The lease of one of the resources.
   *
   * @throws TypeError (INVALID_ARGUMENT) for a resource that is not among them.
   */
  get(resourceId: string): EachLease;
  /** Throws what the first lease that is not held throws. */
  assertHeld(): void;
  /** Extends every lease; rejects as the first of them that fails. */
  extend(ttlMs?: number): Promise<void>;
  /** Releases every lease: `lost` when any of them had ended before. Never rejects. */
  release(): Promise<'released' | 'lost'>;
}
