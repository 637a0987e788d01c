import type { AbortSource } from '../core/abort.js';
import { CoordinationError, isCoordinationError } from '../core/errors.js';

/** What was found of a setting, and what is needed. */
export interface SettingFacts {
  readonly setting: string;
  readonly found: string;
  readonly needed: string;
}

/** The errors of a database that a driver talks to over connections of a pool. */
export interface BackendErrors {
  /** Nothing was done, because the database could not be reached. */
  unavailable(
    backend: string,
    operation: string,
    cause: unknown,
  ): CoordinationError<'BACKEND_UNAVAILABLE'>;
  /** The request was sent and nobody can tell whether it took effect. */
  resultUnknown(
    backend: string,
    operation: string,
    cause: unknown,
  ): CoordinationError<'RESULT_UNKNOWN'>;
  /** The server, the account or the database that was given cannot do it. */
  unsupported(
    backend: string,
    facts: SettingFacts,
    remedy: string,
    cause?: unknown,
  ): CoordinationError<'BACKEND_UNSUPPORTED'>;
}

/** The errors of one kind of database; `messageOf` makes one line of what its client threw. */
export function backendErrors(messageOf: (error: unknown) => string): BackendErrors {
  return {
    unavailable: (backend, operation, cause) =>
      new CoordinationError(
        'BACKEND_UNAVAILABLE',
        `${backend} could not be reached to ${operation}: ${messageOf(cause)}; check that it runs ` +
          'and that the pool has a connection to spare',
        { backend, operation },
        { cause },
      ),
    resultUnknown: (backend, operation, cause) =>
      new CoordinationError(
        'RESULT_UNKNOWN',
        `${backend} did not tell whether it did ${operation}: ${messageOf(cause)}`,
        { backend, operation },
        { cause },
      ),
    unsupported(backend, facts, remedy, cause) {
      const { setting, found, needed } = facts;
      const message = `${backend} has ${setting} = ${found}, and needs ${needed}: ${remedy}`;
      return new CoordinationError(
        'BACKEND_UNSUPPORTED',
        message,
        { backend, ...facts },
        { cause },
      );
    },
  };
}

/**
 * Whether a failure is an answer of tricord's own: a coded error that came from what was found. The
 * reason of a signal may be a coded error too, and only says that nobody waits any longer, maybe in
 * the middle of a statement.
 */
export function isOwnAnswer(error: unknown, signal: AbortSource): boolean {
  return isCoordinationError(error) && !(signal.aborted && error === signal.reason);
}
