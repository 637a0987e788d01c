import { type AbortSource, abortScope, throwIfAborted } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { isCoordinationError } from '../core/errors.js';
import type { CommitRecord } from './decision-log.js';
import { decisionBatches, type SendDecisions, type StepAnswer } from './log-batches.js';
import { logFullError } from './log-errors.js';

/** Makes decisions, and finds out what became of those whose reply was lost. */
export interface LogDecider {
  decide(
    incarnation: string,
    record: CommitRecord,
    signal: AbortSource | undefined,
  ): Promise<'committed' | 'fenced'>;
}

/** What the deciding loop needs of a store. */
export interface LogDeciderOptions<Values> {
  readonly clock: Clock;
  /** For so long a step is sent again, in milliseconds. */
  readonly timeoutMs: number;
  readonly unacknowledgedMax: number;
  /** So many messages may be under way; what is decided meanwhile gathers for the next. */
  readonly inFlightMax: number;
  /** A record as the store takes it. */
  readonly encode: (record: CommitRecord) => Values;
  /** The store's single step. RESULT_UNKNOWN where nobody knows; any other error did nothing. */
  readonly send: SendDecisions<Values>;
  /** Who has not acknowledged decisions of an incarnation. */
  readonly blockers: (incarnation: string, signal: AbortSource) => Promise<readonly string[]>;
  /** Writes acknowledgements that still wait, which may make room. */
  readonly flushAcknowledgements: () => Promise<void>;
  /** Waits between two tries. */
  readonly pause: (attempt: number, signal: AbortSource) => Promise<void>;
  /** Whether the store undid a step because others were in its way. */
  readonly isTransient?: ((error: unknown) => boolean) | undefined;
  /** The RESULT_UNKNOWN of this backend. */
  readonly unknown: (why: string, cause: unknown) => Error;
  /** An error of a step that did nothing as the coordinator is to see it. */
  readonly refusal: (error: unknown) => unknown;
}

/**
 * The deciding loop of a log whose store makes a decision in one step that may be sent twice.
 *
 * Only while no earlier step is unanswered does a refusal mean that nothing is recorded. 'fenced'
 * after a lost reply is not believed: what the lost step recorded may have been finished by whoever
 * fenced us, and forgotten since; the coordinator has to hear that there was one, and asks the
 * branches for evidence.
 */
export function logDecider<Values>(options: LogDeciderOptions<Values>): LogDecider {
  const { clock, timeoutMs, encode, pause, unknown, refusal, flushAcknowledgements } = options;
  const { isTransient = () => false } = options;
  const attempt = decisionBatches(options);
  return {
    async decide(incarnation, record, signal) {
      throwIfAborted(signal);
      using scope = abortScope({ clock, parents: [signal], timeoutMs });
      const values = encode(record);
      let lost: unknown;
      for (let count = 0; ; count += 1) {
        let answer: StepAnswer | undefined;
        let error: unknown;
        try {
          answer = await attempt(incarnation, values, scope);
        } catch (cause) {
          error = cause;
        }
        if (answer === 'committed') return answer;
        if (answer === 'fenced') {
          if (lost === undefined) return answer;
          throw unknown('an earlier message was not answered', lost);
        }
        if (error !== undefined) {
          if (scope.aborted) throw unknown('its time was up', lost ?? error);
          if (isCoordinationError(error, 'RESULT_UNKNOWN')) lost ??= error;
          else if (lost === undefined && !isTransient(error)) throw refusal(error);
        } else if (lost === undefined && count > 0) {
          // The first time there may be acknowledgements that only wait to be written.
          throw await full(options, incarnation, scope);
        }
        if (lost === undefined) await flushAcknowledgements();
        await pause(count, scope).catch(() => {});
      }
    },
  };
}

async function full<Values>(
  { unacknowledgedMax, blockers }: LogDeciderOptions<Values>,
  incarnation: string,
  signal: AbortSource,
): Promise<Error> {
  const names = await blockers(incarnation, signal).catch(() => []);
  return logFullError(incarnation, unacknowledgedMax, names);
}
