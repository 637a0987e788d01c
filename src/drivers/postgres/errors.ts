import { type BackendErrors, backendErrors } from '../../transaction/backend-errors.js';

/** Errors of PostgreSQL that tricord tells apart, by SQLSTATE. Messages are in the server's language. */
export const SQLSTATE = {
  featureNotSupported: '0A000',
  invalidParameterValue: '22023',
  insufficientPrivilege: '42501',
  undefinedObject: '42704',
  outOfMemory: '53200',
  objectNotInPrerequisiteState: '55000',
} as const;

/** The server's own error code, if this error came from the server. */
export function sqlState(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** One line of what went wrong, for a reason or a message. */
export function messageOf(error: unknown): string {
  const state = sqlState(error);
  const text = error instanceof Error ? error.message : String(error);
  return state === undefined ? text : `${text} (SQLSTATE ${state})`;
}

const errors: BackendErrors = backendErrors(messageOf);
/** Nothing was done, because the database could not be reached. */
export const unavailable: BackendErrors['unavailable'] = errors.unavailable;
/** The request was sent and nobody can tell whether it took effect. */
export const resultUnknown: BackendErrors['resultUnknown'] = errors.resultUnknown;
/** The server, the account or the database that was given cannot do it. */
export const unsupported: BackendErrors['unsupported'] = errors.unsupported;
