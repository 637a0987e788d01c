import type { AbortSource } from '../core/abort.js';

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
  resolve(answer: StepAnswer): void;
  reject(error: unknown): void;
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
      batch.forEach((one, index) => {
        const answer = answers[index] ?? new Error('the reply lacks an answer');
        if (answer instanceof Error) one.reject(answer);
        else one.resolve(answer);
      });
    } catch (error) {
      for (const one of batch) one.reject(error);
    } finally {
      inFlight -= 1;
      flush();
    }
  };
  const flush = (): void => {
    if (waiting.some(({ isAbandoned }) => isAbandoned)) {
      waiting = waiting.filter(({ isAbandoned }) => !isAbandoned);
    }
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
  return (incarnation, values, signal) =>
    new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const abandon = (): void => {
        mine.isAbandoned = true;
        reject(signal.reason);
      };
      const over = (): void => {
        mine.isAbandoned = true;
        signal.removeEventListener('abort', abandon);
      };
      const mine: Waiting<Values> = {
        incarnation,
        values,
        resolve(answer) {
          over();
          resolve(answer);
        },
        reject(error) {
          over();
          reject(error);
        },
        isAbandoned: false,
      };
      signal.addEventListener('abort', abandon);
      waiting.push(mine);
      if (waiting.length === 1) queueMicrotask(flush);
    });
}
