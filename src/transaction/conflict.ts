import { isCoordinationError } from '../core/errors.js';
import type { Participant } from './participant.js';

/** Serialization failure and deadlock of PostgreSQL, and of whoever uses SQLSTATE. */
const STATES: ReadonlySet<unknown> = new Set(['40001', '40P01']);
/**
 * MariaDB and MySQL: lock wait time-out, deadlock, and a record that changed since it was read under
 * `innodb_snapshot_isolation`.
 */
const ERRNOS: ReadonlySet<unknown> = new Set([1205, 1213, 1020]);
/** A chain of causes is looked at no deeper. */
const DEPTH_MAX = 8;

/**
 * Whether an abort came of a race with others, so that another try may succeed: as one of the
 * participants says of the error, or of what caused it, or by the codes of SQL databases.
 */
export function isConflict(participants: Iterable<Participant>, error: unknown): boolean {
  const all = Array.from(participants);
  let cause = error;
  for (let depth = 0; depth < DEPTH_MAX && cause instanceof Error; depth += 1) {
    const each: Error & { readonly code?: unknown; readonly errno?: unknown } = cause;
    if (STATES.has(each.code) || ERRNOS.has(each.errno)) return true;
    if (isCoordinationError(each, 'CALL_REFUSED') && each.details.isConflict) return true;
    if (all.some((participant) => participant.isConflict?.(each) === true)) return true;
    cause = each.cause;
  }
  return false;
}
