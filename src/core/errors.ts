import type { GuaranteeLevel } from './guarantees.js';

/** What each error code carries in `details`. One row a code; the code is the key. */
export interface ErrorDetails {
  /** The lock could not be had within `waitMs`. Retryable. */
  LOCK_TIMEOUT: {
    readonly resource: string;
    readonly waitedMs: number;
    /** The owner that was seen holding it last, where the backend told. */
    readonly holder?: string | undefined;
  };
  /** A lease ended before its work did; the work may have raced with the next holder. */
  LOCK_LOST: {
    readonly resource: string;
    readonly fencingToken?: bigint | undefined;
  };
  /** A task asked for a lock that it already holds, and would have waited for itself. */
  LOCK_REENTRY: { readonly resource: string };
  /** A live resource was asked for with another capacity than its holders use. */
  LOCK_CAPACITY_MISMATCH: {
    readonly resource: string;
    readonly requested: number;
    readonly current: number;
  };
  /** A write carried an older fencing token than one that the resource has already seen. */
  FENCE_STALE: {
    readonly resource: string;
    readonly token: bigint;
    readonly newest: bigint;
  };
  /** The object was closed, or is closing, and takes no new work. */
  CLOSED: { readonly what: string };
  /** The backend cannot be reached, or the client that was passed in is not connected. Retryable. */
  BACKEND_UNAVAILABLE: { readonly backend: string; readonly operation: string };
  /** The request was sent and its reply was lost: it may or may not have taken effect. */
  RESULT_UNKNOWN: { readonly backend: string; readonly operation: string };
  /** The backend, or a setting of it, cannot do what was asked, with the setting to change. */
  BACKEND_UNSUPPORTED: {
    readonly backend: string;
    readonly setting: string;
    readonly found: string;
    readonly needed: string;
  };
  /** The backend's configuration cannot keep the promise that was asked for. */
  GUARANTEE_REFUSED: {
    readonly backend: string;
    readonly required: GuaranteeLevel;
    readonly given: GuaranteeLevel;
    readonly reasons: readonly string[];
  };
  /** Stored data was written by a newer release in a format that this one must not guess at. */
  UPGRADE_NEEDED: {
    readonly where: string;
    readonly found: string;
    readonly supported: string;
  };
  /** Stored data is not what tricord writes there. */
  DATA_CORRUPT: { readonly where: string; readonly found: string };
  /** The optional package `zookeeper` is not installed. */
  ZOOKEEPER_MISSING: { readonly install: string };
  /** The package `zookeeper` is installed, but its native part was not built. */
  ZOOKEEPER_NOT_BUILT: { readonly rebuild: string };
  /** The ZooKeeper session ended; everything ephemeral that it owned is gone. Retryable. */
  SESSION_EXPIRED: { readonly sessionId: string };
  /** `commit` or `unwrap` met an aborted transaction. */
  TRANSACTION_ABORTED: {
    readonly transactionId: string;
    readonly by: string;
    readonly reason: string;
  };
  /** The transaction's outcome is not known here yet; recovery will finish it. */
  TRANSACTION_IN_DOUBT: {
    readonly transactionId: string;
    readonly pending: readonly string[];
  };
  /** A transaction was started inside the body of another one of the same coordinator. */
  TRANSACTION_NESTED: { readonly transactionId: string };
  /** A participant was enlisted that was not registered with the coordinator. */
  PARTICIPANT_UNKNOWN: {
    readonly participant: string;
    readonly registered: readonly string[];
  };
  /** The user's own COMMIT, ROLLBACK or release ended a branch from inside. */
  BRANCH_TAMPERED: { readonly participant: string; readonly statement: string };
  /** A branch was used after its transaction ended. */
  BRANCH_ENDED: { readonly participant: string };
  /** A branch ended against the decision: finished by hand, or lost by a restore or a fail-over. */
  OUTCOME_CONTRADICTED: {
    readonly participant: string;
    readonly branchId: string;
    readonly wanted: 'committed' | 'aborted';
    readonly found: string;
  };
  /** A resource has no place for another prepared branch. Retryable. */
  PARTICIPANT_FULL: { readonly participant: string; readonly slotsMax: number };
  /** A resource could not do what its operation asked: not enough stock, a condition not met. */
  CONDITION_FAILED: {
    readonly participant: string;
    readonly key: string;
    readonly reason: string;
  };
  /** Too many unacknowledged decisions: a participant that cannot be reached blocks the log. */
  LOG_FULL: {
    readonly limit: number;
    readonly participants: readonly string[];
  };
  /** This coordinator's incarnation was fenced by a recoverer; the transaction was not committed. */
  INCARNATION_FENCED: { readonly incarnation: string };
  /** A shared tier could not be told of a write or an invalidation, which may not have happened. */
  CACHE_TIER_UNREACHABLE: {
    readonly tier: string;
    readonly keys: readonly string[];
    /** Of `update`: whether the write to the source had been committed; else undefined. */
    readonly isCommitted?: boolean | undefined;
  };
  /** A call's budget ended and there was no value to answer with. Retryable. */
  CACHE_TIMEOUT: { readonly key: string; readonly waitedMs: number };
  /** A value cannot be stored without losing something; the path says where. */
  CACHE_VALUE_UNSUPPORTED: {
    readonly key: string;
    readonly path: string;
    readonly type: string;
  };
}

/** A code of {@link CoordinationError}. */
export type ErrorCode = keyof ErrorDetails;

/** Codes after which the same call may succeed later without any change. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'LOCK_TIMEOUT',
  'BACKEND_UNAVAILABLE',
  'SESSION_EXPIRED',
  'PARTICIPANT_FULL',
  'CACHE_TIMEOUT',
]);

/** Shared by every copy of tricord in a process, so that errors of one are known to the other. */
const BRAND = Symbol.for('tricord.CoordinationError');

/**
 * Every error that tricord throws for a condition of the running system.
 *
 * `code` tells which, `details` carries the numbers and names of that code, `retryable` whether the
 * same call may succeed later, `cause` the backend's own error. Errors in the calling program (a
 * wrong type, an empty id) are `TypeError`s with `code: 'INVALID_ARGUMENT'` instead.
 */
export class CoordinationError<Code extends ErrorCode = ErrorCode> extends Error {
  override readonly name: string = 'CoordinationError';
  /** Which condition; the key of {@link ErrorDetails}. */
  readonly code: Code;
  /** The facts that belong to the code. */
  readonly details: ErrorDetails[Code];
  /** Whether the same call may succeed later without any change. */
  readonly retryable: boolean;

  constructor(
    code: Code,
    message: string,
    details: ErrorDetails[Code],
    options?: { readonly cause?: unknown },
  ) {
    super(message, options);
    this.code = code;
    this.details = details;
    this.retryable = RETRYABLE.has(code);
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Any coordination error, discriminated by `code`: a switch over it narrows `details`. */
export type AnyCoordinationError = {
  [Code in ErrorCode]: CoordinationError<Code> & { readonly code: Code };
}[ErrorCode];

/**
 * Whether a caught value is a {@link CoordinationError}, of this or of another installed copy of
 * tricord; with a `code`, whether it is that one.
 */
export function isCoordinationError(error: unknown): error is AnyCoordinationError;
export function isCoordinationError<Code extends ErrorCode>(
  error: unknown,
  code: Code,
): error is CoordinationError<Code>;
export function isCoordinationError(error: unknown, code?: ErrorCode): boolean {
  if (typeof error !== 'object' || error === null || !(BRAND in error)) return false;
  return code === undefined || (error as unknown as CoordinationError).code === code;
}

/** The error for an operation on something that was closed. */
export function closedError(what: string): CoordinationError<'CLOSED'> {
  return new CoordinationError('CLOSED', `${what} is closed and takes no new work`, { what });
}
