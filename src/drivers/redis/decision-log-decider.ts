import { abortable, abortScope, throwIfAborted } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { type Deferred, deferred } from '../../core/deferred.js';
import { CoordinationError, isCoordinationError } from '../../core/errors.js';
import type { CommitRecord } from '../../transaction/decision-log.js';
import type { RedisCalls } from './calls.js';
import { encodeDecision } from './decision-log-record.js';
import { BLOCKERS, DECIDE } from './decision-log-scripts.js';
import type { LogStore } from './decision-log-store.js';
import { unavailable, unknown } from './errors.js';

/** Makes decisions, all of one tick in one command, and finds out what became of a lost reply. */
export interface Decider {
  decide(
    incarnation: string,
    record: CommitRecord,
    signal: AbortSignal | undefined,
  ): Promise<'committed' | 'fenced'>;
}

interface DeciderOptions {
  readonly calls: RedisCalls;
  readonly store: LogStore;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly unacknowledgedMax: number;
  /** Writes acknowledgements that still wait, which may make room. */
  readonly flushAcknowledgements: () => Promise<void>;
}

type Answer = 'committed' | 'fenced' | 'full';

interface Waiting {
  readonly values: readonly string[];
  readonly answer: Deferred<Answer>;
}

/** So many decisions travel in one command at most. */
const BATCH_MAX = 100;

/** The decider of one session. */
export function decider(options: DeciderOptions): Decider {
  const { calls, store, clock, timeoutMs, unacknowledgedMax, flushAcknowledgements } = options;
  const waiting = new Map<string, Waiting[]>();

  const send = async (incarnation: string, batch: readonly Waiting[]): Promise<void> => {
    const closesBefore = calls.closeCount();
    try {
      const values = [unacknowledgedMax, ...batch.flatMap((each) => each.values)];
      const reply = await store.once(DECIDE, incarnation, values);
      const isCertain = calls.closeCount() === closesBefore;
      batch.forEach(({ answer }, index) => {
        const each = reply.values[index] as Answer;
        // A refusal of a re-send proves nothing of the earlier copy: it may still arrive, and find
        // room; or it was recorded, finished by whoever fenced us, and forgotten since.
        if (each === 'committed' || isCertain) answer.resolve(each);
        else answer.reject(unknown(DECIDE.name, 'it was sent twice'));
      });
    } catch (error) {
      for (const { answer } of batch) answer.reject(error);
    }
  };
  const flush = (incarnation: string): void => {
    const all = waiting.get(incarnation) ?? [];
    waiting.delete(incarnation);
    for (let from = 0; from < all.length; from += BATCH_MAX) {
      void send(incarnation, all.slice(from, from + BATCH_MAX));
    }
  };
  const attempt = (incarnation: string, values: readonly string[]): Promise<Answer> => {
    const answer = deferred<Answer>();
    const batch = waiting.get(incarnation);
    if (batch === undefined) {
      waiting.set(incarnation, [{ values, answer }]);
      queueMicrotask(() => flush(incarnation));
    } else {
      batch.push({ values, answer });
    }
    return answer.promise;
  };
  const logFull = async (incarnation: string): Promise<CoordinationError<'LOG_FULL'>> => {
    const blockers = await store.ask(BLOCKERS, incarnation, []).catch(() => undefined);
    const participants = [...(blockers?.values ?? [])].sort();
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
          answer = await abortable(attempt(incarnation, values), scope.signal);
          if (answer === 'full' && lost === undefined && count > 0) {
            throw await logFull(incarnation);
          }
        } catch (error) {
          if (scope.signal.aborted) throw unknown(DECIDE.name, 'its time was up', lost ?? error);
          // Only while no earlier request is under way does a refusal mean that nothing is recorded.
          if (lost === undefined && !isCoordinationError(error, 'RESULT_UNKNOWN')) {
            throw refusal(error);
          }
          lost ??= error;
        }
        if (answer === 'committed') return answer;
        if (answer === 'fenced') {
          if (lost === undefined) return answer;
          // What the lost request recorded may have been finished and forgotten since: the
          // coordinator has to hear that there was one, and asks the branches for evidence.
          throw unknown(DECIDE.name, 'an earlier request was not answered', lost);
        }
        if (lost === undefined) await flushAcknowledgements();
        else await store.pause(count, scope.signal).catch(() => {});
      }
    },
  };
}

/** The server refused before it wrote anything: for the coordinator that is not available. */
function refusal(error: unknown): unknown {
  if (!isCoordinationError(error, 'BACKEND_UNSUPPORTED')) return error;
  return unavailable(DECIDE.name, error.message, error);
}
