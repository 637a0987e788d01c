import { CoordinationError } from '../core/errors.js';

/** The error of a lease that ended before its release. */
export function lockLostError(
  resource: string,
  fencingToken: bigint | undefined,
  why: string,
  cause?: unknown,
): CoordinationError<'LOCK_LOST'> {
  return new CoordinationError(
    'LOCK_LOST',
    `the lease of "${resource}" is lost: ${why}; whoever holds it next has a higher fencing token`,
    { resource, fencingToken },
    cause === undefined ? undefined : { cause },
  );
}

/** The error of a wait that was long enough. */
export function lockTimeoutError(
  resource: string,
  waitedMs: number,
  holder: string | undefined,
): CoordinationError<'LOCK_TIMEOUT'> {
  const by = holder === undefined ? 'held elsewhere, or the backend is slow' : `held by ${holder}`;
  return new CoordinationError(
    'LOCK_TIMEOUT',
    `could not lock "${resource}" within ${Math.round(waitedMs)} ms; it is ${by}`,
    { resource, waitedMs, holder },
  );
}

/** The error of a task that asks for what it holds. */
export function lockReentryError(
  resource: string,
  why = 'and would wait for itself; pass its lease on instead, or ask with reentrant: true',
): CoordinationError<'LOCK_REENTRY'> {
  const message = `this task already holds "${resource}" ${why}`;
  return new CoordinationError('LOCK_REENTRY', message, { resource });
}

/** The error of a request that would share a resource in another way than those who use it now. */
export function capacityMismatchError(
  resource: string,
  requested: number,
  current: number,
): CoordinationError<'LOCK_CAPACITY_MISMATCH'> {
  const way = (capacity: number): string =>
    capacity === 1 && requested !== current
      ? 'locked as a whole (exclusive or shared)'
      : `counted up to ${capacity}`;
  const other = requested === current ? 'locked as a whole (exclusive or shared)' : way(requested);
  return new CoordinationError(
    'LOCK_CAPACITY_MISMATCH',
    `"${resource}" is ${way(current)} by those who hold it or wait for it and cannot be ${other} meanwhile; use it in one way, with one capacity, everywhere`,
    { resource, requested, current },
  );
}
