import { CoordinationError } from '../../core/errors.js';

/**
 * What a failed request means to its caller. `unknown`: it was sent and may have taken effect.
 * `unsent`: it certainly was not. The others are the server's answer.
 */
export type FailureKind =
  | 'unknown'
  | 'unsent'
  | 'no-node'
  | 'exists'
  | 'bad-version'
  | 'not-empty'
  | 'refused';

/** A request that did not succeed, with the client's code. */
export interface Failure {
  readonly ok: false;
  readonly kind: FailureKind;
  readonly rc: number;
}

/** The outcome of one request. Requests never reject: their callers must decide. */
export type Reply<T> = { readonly ok: true; readonly value: T } | Failure;

/** Codes of the C client, `zookeeper.h`. */
const RC = {
  ok: 0,
  connectionLoss: -4,
  operationTimeout: -7,
  badArguments: -8,
  invalidState: -9,
  noNode: -101,
  noAuth: -102,
  badVersion: -103,
  nodeExists: -110,
  notEmpty: -111,
  sessionExpired: -112,
  invalidAcl: -114,
  authFailed: -115,
  closing: -116,
  sessionMoved: -118,
} as const;

/** Event `close` carries one of these, or 0 after our own close. */
export const CLOSED_BY = { expiry: -112, authentication: -113 } as const;

const KINDS: ReadonlyMap<number, FailureKind> = new Map([
  [RC.noNode, 'no-node'],
  [RC.nodeExists, 'exists'],
  [RC.badVersion, 'bad-version'],
  [RC.notEmpty, 'not-empty'],
  // The request left, or waits in the client's queue, and no answer came.
  [RC.connectionLoss, 'unknown'],
  [RC.operationTimeout, 'unknown'],
  [RC.closing, 'unknown'],
  [RC.sessionExpired, 'unknown'],
  [RC.sessionMoved, 'unknown'],
]);

/** What a completion's code means. Not for 0. */
export function failureOf(rc: number): Failure {
  return { ok: false, kind: KINDS.get(rc) ?? 'refused', rc };
}

/** What it means that a request returned a code instead of being queued. */
export function unsentOf(rc: number): Failure {
  return { ok: false, kind: rc === RC.badArguments ? 'refused' : 'unsent', rc };
}

/** The failure of a request whose session ended before its answer. */
export const ANSWER_LOST: Failure = { ok: false, kind: 'unknown', rc: RC.closing };

/** The failure of a request that found no session to be sent in. */
export const NOT_SENT: Failure = { ok: false, kind: 'unsent', rc: RC.invalidState };

/** Whether a code came from the server that leads, and so proves that the session was alive. */
export function isServerAnswer(rc: number): boolean {
  return rc === RC.ok || (rc <= RC.noNode && KINDS.get(rc) !== 'unknown');
}

const BACKEND = 'zookeeper';

/** The error that a user sees for a failed request. */
export function errorOf(
  failure: Failure,
  operation: string,
  options?: { readonly cause?: unknown },
): CoordinationError {
  const code = `(code ${failure.rc})`;
  switch (failure.kind) {
    case 'unknown':
      return new CoordinationError(
        'RESULT_UNKNOWN',
        `could not ${operation}: ZooKeeper's answer was lost ${code}; it may have taken effect`,
        { backend: BACKEND, operation },
        options,
      );
    case 'unsent':
      return new CoordinationError(
        'BACKEND_UNAVAILABLE',
        `could not ${operation}: there is no connection to ZooKeeper ${code}; nothing was sent`,
        { backend: BACKEND, operation },
        options,
      );
    case 'no-node':
    case 'exists':
    case 'bad-version':
    case 'not-empty':
      return new CoordinationError(
        'DATA_CORRUPT',
        `could not ${operation}: ZooKeeper answered ${failure.kind} ${code}; another program ` +
          'changes tricord’s znodes: give it another chroot',
        { where: operation, found: failure.kind },
        options,
      );
    case 'refused':
      return refusedError(failure.rc, operation, options);
  }
}

function refusedError(
  rc: number,
  operation: string,
  options?: { readonly cause?: unknown },
): CoordinationError {
  const isAccess = rc === RC.noAuth || rc === RC.authFailed || rc === RC.invalidAcl;
  const setting = isAccess ? 'access rights (ACL)' : 'server';
  const needed = isAccess
    ? 'read, write, create and delete below the chroot: pass `auth` or change the ACL'
    : 'ZooKeeper 3.5.3 or newer';
  return new CoordinationError(
    'BACKEND_UNSUPPORTED',
    `could not ${operation}: ZooKeeper refused it (code ${rc}); needed: ${needed}`,
    { backend: BACKEND, setting, found: `code ${rc}`, needed },
    options,
  );
}

/** The value of a reply, or the error that a user sees. */
export function expectOk<T>(reply: Reply<T>, operation: string): T {
  if (reply.ok) return reply.value;
  throw errorOf(reply, operation);
}

/** The error for a server that could not be reached in time. */
export function unavailableError(
  operation: string,
  servers: string,
  waitedMs: number,
  cause?: unknown,
): CoordinationError<'BACKEND_UNAVAILABLE'> {
  return new CoordinationError(
    'BACKEND_UNAVAILABLE',
    `could not ${operation}: no ZooKeeper session at ${servers} within ${Math.round(waitedMs)} ms`,
    { backend: BACKEND, operation },
    { cause },
  );
}

/** The error for everything that a session owned when it ended. */
export function sessionExpiredError(
  sessionId: string,
  why: string,
): CoordinationError<'SESSION_EXPIRED'> {
  return new CoordinationError('SESSION_EXPIRED', `ZooKeeper session 0x${sessionId} ${why}`, {
    sessionId,
  });
}
