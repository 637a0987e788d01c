import { CoordinationError } from '../core/errors.js';

/** The error of a handle that is used after its transaction. */
export function branchEndedError(participant: string): CoordinationError<'BRANCH_ENDED'> {
  const message =
    `the branch of participant "${participant}" has ended with its transaction; ` +
    'finish all work on it before the body returns';
  return new CoordinationError('BRANCH_ENDED', message, { participant });
}

/**
 * What `Participant.commit` rejects with when the evidence says that the branch was rolled back.
 */
export function branchAbortedError(
  participant: string,
  branchId: string,
): CoordinationError<'OUTCOME_CONTRADICTED'> {
  return new CoordinationError(
    'OUTCOME_CONTRADICTED',
    `participant "${participant}" cannot commit branch ${branchId}: it was rolled back before`,
    { participant, branchId, wanted: 'committed', found: 'aborted' },
  );
}
