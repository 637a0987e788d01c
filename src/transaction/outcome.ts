import { CoordinationError } from '../core/errors.js';
import type { TransactionId } from '../core/ids.js';
import type { AbortCause, AbortedBy } from './two-phase.js';

/**
 * How a transaction ended: a value to look at, because an abort is an answer and not an accident.
 * `unwrap` turns it into the value or an error.
 */
export type Outcome<Value> = CommittedOutcome<Value> | AbortedOutcome | InDoubtOutcome;

/** Everything that the transaction wrote is there to stay. */
export interface CommittedOutcome<Value> {
  /** Tells the outcomes apart. */
  readonly state: 'committed';
  /** Which transaction. */
  readonly transactionId: TransactionId;
  /** What the body returned. */
  readonly value: Value;
  /**
   * Participants that have not applied it yet, by name: they will, and until then hold their locks.
   */
  readonly pending: readonly string[];
  /**
   * The transaction with this `key` had been committed before, and the body did not run now: `value`
   * is undefined, because it was not stored, and `transactionId` is the first one's.
   */
  readonly isRepeated?: true | undefined;
  /** Answers the value. */
  unwrap(): Value;
}

/** Nothing of the transaction took effect. */
export interface AbortedOutcome {
  /** Tells the outcomes apart. */
  readonly state: 'aborted';
  /** Which transaction. */
  readonly transactionId: TransactionId;
  /** Who aborted it. */
  readonly by: AbortedBy;
  /** Why, in a sentence. */
  readonly reason: string;
  /** The participant's name, when `by` is 'participant'. */
  readonly participant?: string | undefined;
  /** The error behind it: what the body threw, what the participant met, the signal's reason. */
  readonly cause?: unknown;
  /** Throws the body's own error as it is, else TRANSACTION_ABORTED. */
  unwrap(): never;
}

/**
 * Whether it was committed is not known here yet: the reply of the deciding step was lost. It is
 * neither; recovery finishes it, the same way in every participant. Ask the participants' data, or
 * `inDoubt()`, before doing it again.
 */
export interface InDoubtOutcome {
  /** Tells the outcomes apart. */
  readonly state: 'in-doubt';
  /** Which transaction: recovery and `inDoubt()` know it by this id. */
  readonly transactionId: TransactionId;
  /** Participants whose branches wait for the decision, by name. */
  readonly pending: readonly string[];
  /** Throws TRANSACTION_IN_DOUBT. */
  unwrap(): never;
}

/** The outcome of a commit. */
export function committedOutcome<Value>(
  transactionId: TransactionId,
  value: Value,
  pending: readonly string[],
): CommittedOutcome<Value> {
  return withUnwrap({ state: 'committed', transactionId, value, pending }, () => value);
}

/** The outcome of a transaction whose key had been committed before. */
export function repeatedOutcome(transactionId: TransactionId): CommittedOutcome<undefined> {
  const facts = { state: 'committed', transactionId, value: undefined, pending: [] } as const;
  return withUnwrap({ ...facts, isRepeated: true as const }, () => undefined);
}

/** The outcome of an abort. */
export function abortedOutcome(
  transactionId: TransactionId,
  { by, reason, participant, cause }: AbortCause,
): AbortedOutcome {
  const facts = {
    state: 'aborted' as const,
    transactionId,
    by,
    reason,
    ...(participant !== undefined && { participant }),
    ...(cause !== undefined && { cause }),
  };
  return withUnwrap(facts, () => {
    throw by === 'body' ? cause : abortedError(transactionId, { by, reason, participant, cause });
  });
}

/** The outcome that is not known. */
export function inDoubtOutcome(
  transactionId: TransactionId,
  pending: readonly string[],
): InDoubtOutcome {
  return withUnwrap({ state: 'in-doubt', transactionId, pending }, () => {
    throw new CoordinationError(
      'TRANSACTION_IN_DOUBT',
      `the outcome of transaction ${transactionId} is not known yet at ${pending.join(', ')}; ` +
        'recovery will finish it, so look before doing it again',
      { transactionId, pending },
    );
  });
}

/** The error of an aborted transaction. */
export function abortedError(
  transactionId: TransactionId,
  { by, reason, participant, cause }: AbortCause,
): CoordinationError<'TRANSACTION_ABORTED'> {
  const who = participant === undefined ? by : `participant "${participant}"`;
  return new CoordinationError(
    'TRANSACTION_ABORTED',
    `transaction ${transactionId} was aborted by ${who}: ${reason}; nothing of it took effect`,
    { transactionId, by: participant ?? by, reason },
    { cause },
  );
}

/** Not enumerable, so that an outcome prints, compares and serializes as the facts it carries. */
function withUnwrap<Facts extends object, Unwrap>(
  facts: Facts,
  unwrap: Unwrap,
): Facts & { unwrap: Unwrap } {
  const outcome = Object.defineProperty(facts, 'unwrap', { value: unwrap });
  return Object.freeze(outcome) as Facts & { unwrap: Unwrap };
}
