import { abortable, abortScope, throwIfAborted } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { type Deferred, deferred } from '../../core/deferred.js';
import { CoordinationError, isCoordinationError } from '../../core/errors.js';
import type { CommitRecord } from '../../transaction/decision-log.js';
import { type DecisionValues, encodeDecision } from './decision-log-record.js';
import { BACKEND, isTransient, type LogStore } from './decision-log-store.js';
import { resultUnknown, unavailable } from './errors.js';

/** Makes decisions, all of one tick in one message, and finds out what became of a lost reply. */
export interface Decider {
  decide(
    incarnation: string,
    record: CommitRecord,
    signal: AbortSignal | undefined,
  ): Promise<'committed' | 'fenced'>;
}

interface DeciderOptions {
  readonly store: LogStore;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly unacknowledgedMax: number;
  /** Writes acknowledgements that still wait, which may make room. */
  readonly flushAcknowledgements: () => Promise<void>;
}

type Answer = 'committed' | 'fenced' | 'full';

interface Waiting {
  readonly incarnation: string;
  readonly values: DecisionValues;
  readonly answer: Deferred<Answer>;
  /** Nobody waits for it any more; if it was not sent yet, it never will be. */
  isAbandoned: boolean;
}

/** So many decisions travel in one message at most. */
const BATCH_MAX = 100;
/**
 * While so many messages are under way, decisions gather for the next one: one is on its way or in
 * work while the server's disk is busy with the other.
 */
const IN_FLIGHT_MAX = 2;

/** The decider of one session. */
export function decider(options: DeciderOptions): Decider {
  const { store, clock, timeoutMs, unacknowledgedMax, flushAcknowledgements } = options;
  const attempt = batching(store, unacknowledgedMax);

  const logFull = async (
    incarnation: string,
    signal: AbortSignal,
  ): Promise<CoordinationError<'LOG_FULL'>> => {
    const asked = store.once(store.statements.blockers(incarnation), signal);
    const [result] = await asked.catch(() => []);
    const participants = (result?.rows ?? []).map((row) => String(row.participant));
    return new CoordinationError(
      'LOG_FULL',
      `the log holds ${unacknowledgedMax} decisions of incarnation ${incarnation} that are not ` +
        `acknowledged by ${participants.join(', ') || 'their participants'}; bring these back, or ` +
        'raise unacknowledgedMax',
      { limit: unacknowledgedMax, participants },
    );
  };
  return {
    async decide(incarnation, record, signal) {
      throwIfAborted(signal);
      using scope = abortScope({ clock, parents: [signal], timeoutMs });
      const values = encodeDecision(record);
      let lost: unknown;
      for (let count = 0; ; count += 1) {
        let answer: Answer | undefined;
        try {
          answer = await attempt(incarnation, values, scope.signal);
          if (answer === 'full' && lost === undefined && count > 0) {
            throw await logFull(incarnation, scope.signal);
          }
        } catch (error) {
          if (scope.signal.aborted) throw resultUnknown(BACKEND, 'decide', lost ?? error);
          if (isCoordinationError(error, 'RESULT_UNKNOWN')) lost ??= error;
          // Only while no earlier message is under way does a refusal mean that nothing is recorded.
          else if (lost === undefined && !isTransient(error)) throw refusal(error);
        }
        if (answer === 'committed') return answer;
        if (answer === 'fenced') {
          if (lost === undefined) return answer;
          // What the lost message recorded may have been finished and forgotten since: the
          // coordinator has to hear that there was one, and asks the branches for evidence.
          throw resultUnknown(BACKEND, 'decide', lost);
        }
        if (lost === undefined) await flushAcknowledgements();
        await store.pause(count, scope.signal).catch(() => {});
      }
    },
  };
}

function batching(
  store: LogStore,
  limit: number,
): (incarnation: string, values: DecisionValues, signal: AbortSignal) => Promise<Answer> {
  let waiting: Waiting[] = [];
  let inFlight = 0;

  const send = async (incarnation: string, batch: readonly Waiting[]): Promise<void> => {
    try {
      const values = batch.map((each) => each.values);
      const message = store.statements.decide(incarnation, limit, values);
      const rows = (await store.once(message)).at(-1)?.rows ?? [];
      const answers = new Map(rows.map((row) => [row.id, row.answer as Answer]));
      for (const each of batch) settle(each, answers.get(each.values.transactionId));
    } catch (error) {
      for (const { answer } of batch) answer.reject(error);
    } finally {
      inFlight -= 1;
      flush();
    }
  };
  const flush = (): void => {
    waiting = waiting.filter(({ isAbandoned }) => !isAbandoned);
    while (inFlight < IN_FLIGHT_MAX) {
      const [first] = waiting;
      if (first === undefined) return;
      const { incarnation } = first;
      const batch = waiting.filter((each) => each.incarnation === incarnation).slice(0, BATCH_MAX);
      const leaving = new Set(batch);
      waiting = waiting.filter((each) => !leaving.has(each));
      inFlight += 1;
      void send(incarnation, batch);
    }
  };
  return async (incarnation, values, signal) => {
    const mine = { incarnation, values, answer: deferred<Answer>(), isAbandoned: false };
    waiting.push(mine);
    if (waiting.length === 1) queueMicrotask(flush);
    try {
      return await abortable(mine.answer.promise, signal);
    } finally {
      mine.isAbandoned = true;
    }
  };
}

function settle({ answer }: Waiting, found: Answer | undefined): void {
  if (found !== undefined) answer.resolve(found);
  else answer.reject(resultUnknown(BACKEND, 'decide', new Error('the reply lacks an answer')));
}

/** The server refused before it wrote anything: for the coordinator that is not available. */
function refusal(error: unknown): unknown {
  if (!isCoordinationError(error)) return error;
  if (error.code === 'LOG_FULL' || error.code === 'BACKEND_UNAVAILABLE') return error;
  return unavailable(BACKEND, 'decide', error);
}
