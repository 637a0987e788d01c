import { CoordinationError } from '../../core/errors.js';
import { type BackendErrors, backendErrors } from '../../transaction/backend-errors.js';

/** Errors of the server that tricord tells apart, by number. Messages are in the server's language. */
export const ERRNO = {
  duplicateEntry: 1062,
  noSuchThread: 1094,
  killDenied: 1095,
  noSuchTable: 1146,
  lockWaitTimeout: 1205,
  accessDenied: 1227,
  xaUnknown: 1397,
  /** The command cannot be executed in this state of the branch. */
  xaWrongState: 1399,
  /** Work was done outside of any branch: a transaction is open on the connection. */
  xaOutside: 1400,
  xaResourceManager: 1401,
  xaRolledBack: 1402,
  xaTimedOut: 1613,
  xaDeadlock: 1614,
} as const;

/** The branch was rolled back by the server itself. */
const ROLLED_BACK: ReadonlySet<number | undefined> = new Set([
  ERRNO.xaRolledBack,
  ERRNO.xaTimedOut,
  ERRNO.xaDeadlock,
]);

/** The server's own error number, if the error came from the server in answer to a statement. */
export function errnoOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { errno, sqlState, fatal } = error as Readonly<Record<string, unknown>>;
  // Errors of a socket have an errno too, below zero and without an SQLSTATE.
  const isAnswer = typeof errno === 'number' && typeof sqlState === 'string' && fatal !== true;
  return isAnswer ? errno : undefined;
}

/** Whether the server says that it has rolled the branch back. */
export function isRolledBack(error: unknown): boolean {
  return ROLLED_BACK.has(errnoOf(error));
}

/** One line of what went wrong, for a reason or a message. */
export function messageOf(error: unknown): string {
  const errno = errnoOf(error);
  const text = error instanceof Error ? error.message : String(error);
  return errno === undefined ? text : `${text} (error ${errno})`;
}

const errors: BackendErrors = backendErrors(messageOf);
/** Nothing was done, because the database could not be reached. */
export const unavailable: BackendErrors['unavailable'] = errors.unavailable;
/** The request was sent and nobody can tell whether it took effect. */
export const resultUnknown: BackendErrors['resultUnknown'] = errors.resultUnknown;
/** The server, the account or the database that was given cannot do it. */
export const unsupported: BackendErrors['unsupported'] = errors.unsupported;

/** No place for another branch now. */
export function participantFull(
  participant: string,
  slotsMax: number,
  why: string,
): CoordinationError<'PARTICIPANT_FULL'> {
  const message = `mysql ${participant} takes no further branch: ${why}`;
  return new CoordinationError('PARTICIPANT_FULL', message, { participant, slotsMax });
}
