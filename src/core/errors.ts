import type { GuaranteeLevel } from './guarantees.js';

/** What each error code carries in `details`. One row a code; the code is the key. */
export interface ErrorDetails {
  /** The lock could not be had within `waitMs`. Retryable. */
  LOCK_TIMEOUT: {
    /** The resource id. */
    readonly resource: string;
    /** How long it waited, in milliseconds. */
    readonly waitedMs: number;
    /** The owner that was seen holding it last, where the backend told. */
    readonly holder?: string | undefined;
  };
  /** A lease ended before its work did; the work may have raced with the next holder. */
  LOCK_LOST: {
    /** The resource id. */
    readonly resource: string;
    /** The token of the lease that ended. */
    readonly fencingToken?: bigint | undefined;
  };
  /** A task asked for a lock that it already holds, and would have waited for itself. */
  LOCK_REENTRY: {
    /** The resource id. */
    readonly resource: string;
  };
  /** A resource was asked for with another capacity, or in another way, than those use who are there. */
  LOCK_CAPACITY_MISMATCH: {
    /** The resource id. */
    readonly resource: string;
    /** The capacity that was asked for; 1 as a whole. */
    readonly requested: number;
    /** The capacity that its holders and waiters use; 1 as a whole. */
    readonly current: number;
  };
  /** A write carried an older fencing token than one that the resource has already seen. */
  FENCE_STALE: {
    /** The resource that refused. */
    readonly resource: string;
    /** The token that the write carried. */
    readonly token: bigint;
    /** The highest token that the resource has seen. */
    readonly newest: bigint;
  };
  /** The object was closed, or is closing, and takes no new work. */
  CLOSED: {
    /** Which object. */
    readonly what: string;
  };
  /** The backend cannot be reached, or the client that was passed in is not connected. Retryable. */
  BACKEND_UNAVAILABLE: {
    /** The backend's name. */
    readonly backend: string;
    /** What was tried. */
    readonly operation: string;
  };
  /** The request was sent and its reply was lost: it may or may not have taken effect. */
  RESULT_UNKNOWN: {
    /** The backend's name. */
    readonly backend: string;
    /** What was sent. */
    readonly operation: string;
  };
  /** The backend, or a setting of it, cannot do what was asked, with the setting to change. */
  BACKEND_UNSUPPORTED: {
    /** The backend's name. */
    readonly backend: string;
    /** The setting, or what stands for it. */
    readonly setting: string;
    /** What the backend has. */
    readonly found: string;
    /** What it has to have. */
    readonly needed: string;
  };
  /** The backend's configuration cannot keep the promise that was asked for. */
  GUARANTEE_REFUSED: {
    /** The backend's name. */
    readonly backend: string;
    /** The level that was asked for. */
    readonly required: GuaranteeLevel;
    /** The level that the backend keeps. */
    readonly given: GuaranteeLevel;
    /** Why it keeps no more, one sentence each. */
    readonly reasons: readonly string[];
  };
  /** Stored data was written by a newer release in a format that this one must not guess at. */
  UPGRADE_NEEDED: {
    /** Where the data is stored. */
    readonly where: string;
    /** The format that was found. */
    readonly found: string;
    /** The newest format that this release reads. */
    readonly supported: string;
  };
  /** Stored data is not what tricord writes there. */
  DATA_CORRUPT: {
    /** Where the data is stored. */
    readonly where: string;
    /** The beginning of what was found. */
    readonly found: string;
  };
  /** The optional package `zookeeper` is not installed. */
  ZOOKEEPER_MISSING: {
    /** The command that installs it. */
    readonly install: string;
  };
  /** The package `zookeeper` is installed, but its native part was not built. */
  ZOOKEEPER_NOT_BUILT: {
    /** The command that builds it. */
    readonly rebuild: string;
  };
  /** The ZooKeeper session ended; everything ephemeral that it owned is gone. Retryable. */
  SESSION_EXPIRED: {
    /** The session that ended. */
    readonly sessionId: string;
  };
  /** `commit` or `unwrap` met an aborted transaction. */
  TRANSACTION_ABORTED: {
    /** The global id. */
    readonly transactionId: string;
    /** Who aborted it. */
    readonly by: string;
    /** Why, in a sentence. */
    readonly reason: string;
  };
  /** The transaction's outcome is not known here yet; recovery will finish it. */
  TRANSACTION_IN_DOUBT: {
    /** The global id. */
    readonly transactionId: string;
    /** The participants that wait for the decision. */
    readonly pending: readonly string[];
  };
  /** A transaction was started inside the body of another one of the same coordinator. */
  TRANSACTION_NESTED: {
    /** The outer transaction. */
    readonly transactionId: string;
  };
  /** Another transaction with the same key is under way, or was decided meanwhile. Retryable. */
  TRANSACTION_KEY_BUSY: {
    /** The key. */
    readonly key: string;
    /** The transaction that has it, where it has begun to be decided. */
    readonly transactionId: string | undefined;
  };
  /** The commit protocol that was asked for cannot be run here. Nothing of the transaction took effect. */
  PROTOCOL_UNSUPPORTED: {
    /** The protocol. */
    readonly protocol: string;
    /** What it needs. */
    readonly needed: string;
    /** What there is. */
    readonly found: string;
  };
  /** A participant was enlisted that was not registered with the coordinator. */
  PARTICIPANT_UNKNOWN: {
    /** The name of the one that was enlisted. */
    readonly participant: string;
    /** The names that the coordinator knows. */
    readonly registered: readonly string[];
  };
  /** The user's own COMMIT, ROLLBACK or release ended a branch from inside. */
  BRANCH_TAMPERED: {
    /** The participant's name. */
    readonly participant: string;
    /** The kind of statement, without its values. */
    readonly statement: string;
  };
  /** A branch was used after its transaction ended. */
  BRANCH_ENDED: {
    /** The participant's name. */
    readonly participant: string;
  };
  /** A branch ended against the decision: finished by hand, or lost by a restore or a fail-over. */
  OUTCOME_CONTRADICTED: {
    /** The participant's name. */
    readonly participant: string;
    /** The branch. */
    readonly branchId: string;
    /** What was decided. */
    readonly wanted: 'committed' | 'aborted';
    /** What the resource's evidence says. */
    readonly found: string;
  };
  /** A resource has no place for another prepared branch. Retryable. */
  PARTICIPANT_FULL: {
    /** The participant's name. */
    readonly participant: string;
    /** How many prepared branches it has place for. */
    readonly slotsMax: number;
  };
  /** A resource could not do what its operation asked: not enough stock, a condition not met. */
  CONDITION_FAILED: {
    /** The participant's name. */
    readonly participant: string;
    /** What the operation was about. */
    readonly key: string;
    /** Which condition was not met. */
    readonly reason: string;
  };
  /** No node serves what was called. Retryable. */
  CALL_UNSERVED: {
    /** The name that was called. */
    readonly service: string;
    /** How long the call waited, in milliseconds. */
    readonly waitedMs: number;
  };
  /** A site was to be declared gone, and answers. */
  SITE_NOT_GONE: {
    /** The site. */
    readonly site: string;
  };
  /** A remote participant did not answer in time. Retryable. */
  CALL_TIMEOUT: {
    /** The name that was called. */
    readonly service: string;
    /** How long the call waited, in milliseconds. */
    readonly waitedMs: number;
    /** Whether a node had taken the call. */
    readonly state: 'queued' | 'running';
  };
  /** A remote participant answered no: its handler threw, or a resource of it could not prepare. */
  CALL_REFUSED: {
    /** The name that was called. */
    readonly service: string;
    /** What the handler's error said. */
    readonly reason: string;
    /** The `code` of the handler's error, where it had one. */
    readonly code: string | undefined;
    /** Whether it came of a race with others, so that another try may succeed: see `retry`. */
    readonly isConflict: boolean;
  };
  /** Too many calls wait for a service. Retryable. */
  CALL_QUEUE_FULL: {
    /** The name that was called. */
    readonly service: string;
    /** How many calls may wait. */
    readonly queuedMax: number;
  };
  /** A payload or result is larger than the store of calls takes. */
  CALL_TOO_LARGE: {
    /** The name that was called. */
    readonly service: string;
    /** Which of the two. */
    readonly part: 'payload' | 'result';
    /** How large it is, in bytes of JSON. */
    readonly bytes: number;
    /** How large it may be. */
    readonly bytesMax: number;
  };
  /** A payload or result does not fit its schema. */
  CALL_INVALID: {
    /** The name that was called. */
    readonly service: string;
    /** Which of the two. */
    readonly part: 'payload' | 'result';
    /** What the schema found, without the values. */
    readonly issues: readonly string[];
  };
  /** Too many unacknowledged decisions: a participant that cannot be reached blocks the log. */
  LOG_FULL: {
    /** How many unacknowledged decisions there may be. */
    readonly limit: number;
    /** The participants that have not acknowledged. */
    readonly participants: readonly string[];
  };
  /** This coordinator's incarnation was fenced by a recoverer; the transaction was not committed. */
  INCARNATION_FENCED: {
    /** The life of the coordinator that was fenced. */
    readonly incarnation: string;
  };
  /** A shared tier could not be told of a write or an invalidation, which may not have happened. */
  CACHE_TIER_UNREACHABLE: {
    /** The tier's backend. */
    readonly tier: string;
    /** The keys for which nothing was acknowledged; empty for `clear`. */
    readonly keys: readonly string[];
    /** Of `update`: whether the write to the source had been committed; else undefined. */
    readonly isCommitted?: boolean | undefined;
  };
  /** A call's budget ended and there was no value to answer with. Retryable. */
  CACHE_TIMEOUT: {
    /** The key that was asked for. */
    readonly key: string;
    /** How long the call waited, in milliseconds. */
    readonly waitedMs: number;
  };
  /** Too many writes wait for their source; nothing was queued or cached. Retryable. */
  CACHE_QUEUE_FULL: {
    /** The cache's name. */
    readonly cache: string;
    /** How many keys may wait. */
    readonly pendingMax: number;
    /** How long the call waited for room, in milliseconds. */
    readonly waitedMs: number;
  };
  /** A value cannot be stored without losing something; the path says where. */
  CACHE_VALUE_UNSUPPORTED: {
    /** The key that it was to be stored under. */
    readonly key: string;
    /** The way from the value's root to the part. */
    readonly path: string;
    /** What stands there. */
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
  'TRANSACTION_KEY_BUSY',
  'PARTICIPANT_FULL',
  'CALL_UNSERVED',
  'CALL_TIMEOUT',
  'CALL_QUEUE_FULL',
  'CACHE_QUEUE_FULL',
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
  /** Always `CoordinationError`, as in stack traces. */
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
