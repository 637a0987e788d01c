import { CoordinationError } from '../../core/errors.js';

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

/** Nothing was done, because the database could not be reached. */
export function unavailable(
  backend: string,
  operation: string,
  cause: unknown,
): CoordinationError<'BACKEND_UNAVAILABLE'> {
  return new CoordinationError(
    'BACKEND_UNAVAILABLE',
    `${backend} could not be reached to ${operation}: ${messageOf(cause)}; check that it runs and ` +
      'that the pool has a connection to spare',
    { backend, operation },
    { cause },
  );
}

/** The request was sent and nobody can tell whether it took effect. */
export function resultUnknown(
  backend: string,
  operation: string,
  cause: unknown,
): CoordinationError<'RESULT_UNKNOWN'> {
  return new CoordinationError(
    'RESULT_UNKNOWN',
    `${backend} did not tell whether it did ${operation}: ${messageOf(cause)}`,
    { backend, operation },
    { cause },
  );
}

/** The server, the role or the database that was given cannot do it. */
export function unsupported(
  backend: string,
  facts: { readonly setting: string; readonly found: string; readonly needed: string },
  remedy: string,
  cause?: unknown,
): CoordinationError<'BACKEND_UNSUPPORTED'> {
  const message = `${backend} has ${facts.setting} = ${facts.found}, and needs ${facts.needed}: ${remedy}`;
  return new CoordinationError('BACKEND_UNSUPPORTED', message, { backend, ...facts }, { cause });
}
