import { CoordinationError } from '../core/errors.js';

/** The error of whoever decides in the name of a fenced incarnation. */
export function incarnationFencedError(
  incarnation: string,
): CoordinationError<'INCARNATION_FENCED'> {
  return new CoordinationError(
    'INCARNATION_FENCED',
    `incarnation ${incarnation} was fenced by another node, which took it for dead; its undecided ` +
      'transactions are aborted',
    { incarnation },
  );
}

/** The error of a log that takes no decision more, with who keeps it full. */
export function logFullError(
  incarnation: string,
  limit: number,
  blocking: Iterable<string>,
): CoordinationError<'LOG_FULL'> {
  const participants = Array.from(new Set(blocking)).sort();
  return new CoordinationError(
    'LOG_FULL',
    `the log holds ${limit} decisions of incarnation ${incarnation} that are not ` +
      `acknowledged by ${participants.join(', ') || 'their participants'}; bring these back, or ` +
      'raise unacknowledgedMax',
    { limit, participants },
  );
}
