import { CoordinationError } from '../core/errors.js';

/** The error of a handle that is used after its transaction. */
export function branchEndedError(participant: string): CoordinationError<'BRANCH_ENDED'> {
  const message =
    `the branch of participant "${participant}" has ended with its transaction; ` +
    'finish all work on it before the body returns';
  return new CoordinationError('BRANCH_ENDED', message, { participant });
}

/**
 * What `commit` and `abort` of a participant reject with when the evidence says the opposite: a
 * heuristic outcome, in X/Open's words.
 */
export function contradictedError(facts: {
  readonly participant: string;
  readonly branchId: string;
  readonly wanted: 'committed' | 'aborted';
  readonly found: 'committed' | 'aborted';
}): CoordinationError<'OUTCOME_CONTRADICTED'> {
  const { participant, branchId, wanted, found } = facts;
  return new CoordinationError(
    'OUTCOME_CONTRADICTED',
    `branch ${branchId} of participant "${participant}" should be ${wanted}, and was ${found}; ` +
      'somebody finished it by hand: compare the data of the participants of this transaction',
    facts,
  );
}

/** What `commit` of a participant rejects with when the branch was rolled back. */
export function branchAbortedError(
  participant: string,
  branchId: string,
): CoordinationError<'OUTCOME_CONTRADICTED'> {
  return contradictedError({ participant, branchId, wanted: 'committed', found: 'aborted' });
}
