import type { WithinAnswer } from '../../transaction/decision-log.js';
import type { LastResourceOutcome } from '../../transaction/participant.js';
import { messageOf, sqlState, unsupported } from './errors.js';

/** The steps of a branch that commits with the decision inside. */
export interface LastResourceSteps {
  readonly participant: string;
  /** What makes a commit impossible from the start. */
  readonly obstacle: unknown;
  readonly decide: () => Promise<WithinAnswer>;
  /** Answers the command tag. */
  readonly commit: () => Promise<string | undefined>;
  /** Ends the branch; false when its connection had to be closed. */
  readonly rollBack: () => Promise<boolean>;
  /** What the work failed with first, where it did. */
  readonly failure: (error: unknown) => unknown;
}

/**
 * Writes the decision into the local transaction and commits it (rule L1). Until COMMIT was sent
 * everything that goes wrong is an abort for certain: the server undoes an open transaction.
 */
export async function commitLast(steps: LastResourceSteps): Promise<LastResourceOutcome> {
  const { obstacle, decide, commit, rollBack, failure } = steps;
  const aborted = async (cause: unknown, answer?: 'fenced' | 'full' | 'elsewhere') => {
    await rollBack();
    const state = 'aborted' as const;
    return { state, reason: messageOf(cause), cause, ...(answer !== undefined && { answer }) };
  };
  if (obstacle !== undefined) return aborted(obstacle);
  let answer: WithinAnswer;
  try {
    answer = await decide();
  } catch (error) {
    const isMissing = ['42P01', '3F000', '42703'].includes(sqlState(error) ?? '');
    return isMissing ? aborted(notHere(steps, error), 'elsewhere') : aborted(failure(error));
  }
  if (answer === 'elsewhere') return aborted(notHere(steps), answer);
  if (answer === 'fenced') return aborted(new Error('the coordinator was fenced'), answer);
  if (answer === 'full') return aborted(new Error('the decision log is full'), answer);
  try {
    const command = await commit();
    if (command === 'COMMIT') return { state: 'committed' };
    return await aborted(failure(new Error('the transaction had failed before its end')));
  } catch (error) {
    // Only a server that goes on talking has really refused; an error may also be its last word.
    if (sqlState(error) !== undefined && (await rollBack())) {
      return { state: 'aborted', reason: messageOf(error), cause: error };
    }
    return { state: 'unknown', evidence: '', cause: error };
  }
}

function notHere({ participant }: LastResourceSteps, cause?: unknown): Error {
  const found = `no incarnation of this coordinator in the database of "${participant}"`;
  const needed = 'the tables of postgresTransactions in the same database and schema';
  const facts = { setting: 'lastResource', found, needed };
  return unsupported(
    'postgres',
    facts,
    'point the log and the last resource at one database',
    cause,
  );
}
