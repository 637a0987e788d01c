import { CoordinationError } from './errors.js';
import { invalidArgument } from './validate.js';

/** Digits of the longest token: wider than every backend's counter. */
export const FENCING_TOKEN_DIGITS = 40;

const DECIMAL = /^\d{1,40}$/;

/**
 * Reads a fencing token as the user passed it on: the bigint of a lease, or its decimal text after a
 * journey through JSON.
 *
 * @throws TypeError (INVALID_ARGUMENT) for anything else; a number has too few digits.
 */
export function parseFencingToken(value: unknown, argument = 'token'): bigint {
  if (typeof value === 'bigint' || typeof value === 'string') {
    const text = String(value);
    if (DECIMAL.test(text)) return BigInt(text);
  }
  const remedy = `the lease's fencingToken: a bigint or its decimal text, of at most ${FENCING_TOKEN_DIGITS} digits`;
  throw invalidArgument(argument, value, remedy);
}

/** A token with leading zeros, so that texts compare as the numbers do. */
export function paddedFencingToken(token: bigint): string {
  return token.toString().padStart(FENCING_TOKEN_DIGITS, '0');
}

/** The error of a write whose holder was overtaken: somebody was granted the lock after it. */
export function fenceStaleError(
  resource: string,
  token: bigint,
  newest: bigint,
): CoordinationError<'FENCE_STALE'> {
  return new CoordinationError(
    'FENCE_STALE',
    `refused to write ${JSON.stringify(resource)} with fencing token ${token}: ${newest} was seen ` +
      'already, so another holder came after; give up this work and acquire the lock again',
    { resource, token, newest },
  );
}
