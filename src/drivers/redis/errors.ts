import { CoordinationError, isCoordinationError } from '../../core/errors.js';

/** What is known about a request that failed. */
export interface FailedRequest {
  readonly operation: string;
  /**
   * False when the client never wrote it. True when it did or may have: then only an answer of the
   * server tells anything, and only if the client cannot have sent it twice.
   */
  readonly sent: boolean;
  /** The connection closed in between, so that an answer may belong to a second send. */
  readonly maybeResent: boolean;
}

/**
 * The server refused before changing anything, and will not for ever. Redis 6.2 puts the words
 * `Error running script` before what a command of a script answered.
 */
const REFUSED_FOR_NOW =
  /(^|[-\s:])(LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|READONLY|NOREPLICAS|MISCONF) /;
/** The server refused before running anything, until somebody changes a setting. */
const REFUSED_FOR_GOOD: readonly (readonly [RegExp, setting: string, needed: string])[] = [
  [/^NOAUTH|^WRONGPASS/, 'password', 'a client with the right credentials'],
  [
    /^NOPERM|\bNOPERM\b|can't run this command|no permissions/i,
    'ACL',
    'the permissions in the docs',
  ],
  [/^OOM\b|\bOOM command not allowed/, 'maxmemory', 'more memory, or fewer keys'],
  [/^ERR unknown command/i, 'redis_version', 'Redis 6.2 or newer'],
];
/** The client says that it did not write the command this time. */
const NEVER_WRITTEN = /enableOfflineQueue options is false|in subscriber mode/;

/**
 * The one place where errors of ioredis and of the server become tricord's.
 *
 * | what happened | code |
 * |---|---|
 * | never written; refused while loading, failing over, read-only, busy | BACKEND_UNAVAILABLE |
 * | written and cut, timed out, flushed, or answered after a possible re-send | RESULT_UNKNOWN |
 * | no permission, wrong password, out of memory, unknown command | BACKEND_UNSUPPORTED |
 * | WRONGTYPE | DATA_CORRUPT |
 *
 * Any other error that the server answers is returned as it is: it is a defect, not a condition.
 */
export function redisError(error: unknown, request: FailedRequest): unknown {
  if (isCoordinationError(error)) return error;
  const { operation, sent, maybeResent } = request;
  const message = error instanceof Error ? error.message : String(error);
  if (!sent) return unavailable(operation, message, error);
  // An earlier copy may have run: of a script, whose second send after NOSCRIPT is refused here.
  if (NEVER_WRITTEN.test(message) && !maybeResent) {
    return unavailable(operation, message, error);
  }
  if (!isReply(error) || maybeResent) return unknown(operation, message, error);
  if (REFUSED_FOR_NOW.test(message)) return unavailable(operation, message, error);
  if (/WRONGTYPE/.test(message)) return corrupt(operation, message, error);
  for (const [pattern, setting, needed] of REFUSED_FOR_GOOD) {
    if (pattern.test(message)) return unsupported(operation, { setting, needed, message }, error);
  }
  return error;
}

/** An error that the server answered, as redis-parser marks it; two copies of it may be installed. */
function isReply(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError';
}

/** The error for a request that certainly was not run. */
export function unavailable(
  operation: string,
  why: string,
  cause?: unknown,
): CoordinationError<'BACKEND_UNAVAILABLE'> {
  const message = `redis could not run ${operation}: ${why}; nothing was changed, try again`;
  const details = { backend: 'redis', operation };
  return new CoordinationError('BACKEND_UNAVAILABLE', message, details, { cause });
}

/** The error for a request that was run, or not, or will be. */
export function unknown(
  operation: string,
  why: string,
  cause?: unknown,
): CoordinationError<'RESULT_UNKNOWN'> {
  const message = `redis did not answer ${operation}: ${why}; it may have taken effect or not`;
  return new CoordinationError(
    'RESULT_UNKNOWN',
    message,
    { backend: 'redis', operation },
    { cause },
  );
}

function corrupt(operation: string, found: string, cause: unknown): unknown {
  const message = `${operation} met a key of another type; something else writes to tricord's keys`;
  return new CoordinationError('DATA_CORRUPT', message, { where: operation, found }, { cause });
}

function unsupported(
  operation: string,
  { setting, needed, message: found }: { setting: string; needed: string; message: string },
  cause: unknown,
): unknown {
  const message = `redis refused ${operation}: ${found}; needed is ${needed}`;
  const details = { backend: 'redis', setting, found, needed };
  return new CoordinationError('BACKEND_UNSUPPORTED', message, details, { cause });
}

/** The error for stored data whose format version is not ours: newer, or no version at all. */
export function formatError(where: string, found: string, supported: number): unknown {
  const version = /^(\d{1,9})(?!\d)/.exec(found)?.[1];
  if (version !== undefined && Number(version) > supported) {
    const message = `${where} was written in format ${version}; this release reads up to ${supported}, so upgrade it`;
    const details = { where, found: version, supported: String(supported) };
    return new CoordinationError('UPGRADE_NEEDED', message, details);
  }
  const shown = found.slice(0, 80);
  const message = `${where} holds ${JSON.stringify(shown)}, which tricord does not write there`;
  return new CoordinationError('DATA_CORRUPT', message, { where, found: shown });
}
