import { CoordinationError } from '../../core/errors.js';

/** The error of a condition that the resource does not meet. */
export function conditionFailed(
  participant: string,
  key: string,
  reason: string,
): CoordinationError<'CONDITION_FAILED'> {
  const message = `participant "${participant}" refused "${key}": ${reason}`;
  return new CoordinationError('CONDITION_FAILED', message, { participant, key, reason });
}

/** The error of a branch that cannot end, because something else wrote to a number that it holds. */
export function spoiltError(
  participant: string,
  branchId: string,
  key: string,
): CoordinationError<'DATA_CORRUPT'> {
  const message =
    `participant "${participant}" cannot finish branch ${branchId}: "${key}" was overwritten by ` +
    'something else and is no whole number any more; put one there, and recovery goes on';
  const details = { where: key, found: 'not a whole number' };
  return new CoordinationError('DATA_CORRUPT', message, details);
}

/** The error of a commit for a branch of which nothing is known: missing is never a success. */
export function branchUnknownError(
  participant: string,
  branchId: string,
): CoordinationError<'RESULT_UNKNOWN'> {
  const message =
    `participant "${participant}" knows nothing of branch ${branchId}: it was never prepared here, ` +
    'or its evidence is gone (evidenceRetainMs, evidenceMax, or a Redis that lost its data)';
  const details = { backend: 'redis', operation: 'participant.commit' };
  return new CoordinationError('RESULT_UNKNOWN', message, details);
}

/** The reason of a branch that found no room among the prepared ones. */
export function participantFull(
  participant: string,
  slotsMax: number,
): CoordinationError<'PARTICIPANT_FULL'> {
  const message =
    `participant "${participant}" holds ${slotsMax} prepared branches, its preparedMax; try again ` +
    'when recovery has finished some';
  return new CoordinationError('PARTICIPANT_FULL', message, { participant, slotsMax });
}
