import { type AbortSource, abortable } from '../core/abort.js';
import { type Deferred, deferred } from '../core/deferred.js';

/** What a store answers to one decision. */
export type StepAnswer = 'committed' | 'fenced' | 'full';

/**
 * Sends decisions of one incarnation in one message. Answers each of them, in order; an Error in
 * place of an answer rejects that one.
 */
export type SendDecisions<Values> = (
  incarnation: string,
  batch: readonly Values[],
) => Promise<readonly (StepAnswer | Error)[]>;

interface Waiting<Values> {
  readonly incarnation: string;
  readonly values: Values;
  readonly answer: Deferred<StepAnswer>;
  /** Nobody waits for it any more; if it was not sent yet, it never will be. */
  isAbandoned: boolean;
}

/** So many decisions travel in one message at most. */
const BATCH_MAX = 100;

/** One try at a decision: those of one tick travel together, and those that had to wait. */
export function decisionBatches<Values>(options: {
  readonly send: SendDecisions<Values>;
  readonly inFlightMax: number;
}): (incarnation: string, values: Values, signal: AbortSource) => Promise<StepAnswer> {
  const { send, inFlightMax } = options;
  let waiting: Waiting<Values>[] = [];
  let inFlight = 0;

  const dispatch = async (
    incarnation: string,
    batch: readonly Waiting<Values>[],
  ): Promise<void> => {
    inFlight += 1;
    try {
      const answers = await send(
        incarnation,
        batch.map(({ values }) => values),
      );
      batch.forEach(({ answer }, index) => {
        const each = answers[index] ?? new Error('the reply lacks an answer');
        if (each instanceof Error) answer.reject(each);
        else answer.resolve(each);
      });
    } catch (error) {
      for (const { answer } of batch) answer.reject(error);
    } finally {
      inFlight -= 1;
      flush();
    }
  };
  const flush = (): void => {
    waiting = waiting.filter(({ isAbandoned }) => !isAbandoned);
    while (inFlight < inFlightMax) {
      const [first] = waiting;
      if (first === undefined) return;
      const { incarnation } = first;
      const batch = waiting.filter((each) => each.incarnation === incarnation).slice(0, BATCH_MAX);
      const leaving = new Set(batch);
      waiting = waiting.filter((each) => !leaving.has(each));
      void dispatch(incarnation, batch);
    }
  };
  return async (incarnation, values, signal) => {
    const mine = { incarnation, values, answer: deferred<StepAnswer>(), isAbandoned: false };
    waiting.push(mine);
    if (waiting.length === 1) queueMicrotask(flush);
    try {
      return await abortable(mine.answer.promise, signal);
    } finally {
      mine.isAbandoned = true;
    }
  };
}
