import { isCoordinationError } from '../../core/errors.js';
import type { StepAnswer } from '../../transaction/log-batches.js';
import type { HeartbeatLogSteps } from '../../transaction/log-session.js';
import type { RedisCalls } from './calls.js';
import { encodeDecision } from './decision-log-record.js';
import { ACKNOWLEDGE, BLOCKERS, DECIDE, HEARTBEAT } from './decision-log-scripts.js';
import type { LogStore } from './decision-log-store.js';
import { unavailable, unknown } from './errors.js';

type DecisionValues = ReturnType<typeof encodeDecision>;

/** The steps of one session. */
export function decisionSteps(options: {
  readonly calls: RedisCalls;
  readonly store: LogStore;
  readonly unacknowledgedMax: number;
  readonly recordRetainMs: number;
}): HeartbeatLogSteps<DecisionValues> {
  const { calls, store, unacknowledgedMax, recordRetainMs } = options;
  return {
    // Redis runs commands one after the other whoever sends them: waiting would gain nothing.
    inFlightMax: Number.POSITIVE_INFINITY,
    encode: encodeDecision,
    pause: store.pause,
    unknown: (why, cause) => unknown(DECIDE.name, why, cause),
    refusal,
    async beat(incarnation) {
      const { status } = await store.once(HEARTBEAT, incarnation, []);
      return status === 'fenced' ? 'fenced' : 'live';
    },
    async acknowledge(incarnation, part) {
      const pairs = part.flatMap((each) => [each.transactionId, each.participant]);
      await store.once(ACKNOWLEDGE, incarnation, [recordRetainMs, ...pairs]);
    },
    async send(incarnation, batch) {
      const closesBefore = calls.closeCount();
      const reply = await store.once(DECIDE, incarnation, [unacknowledgedMax, ...batch.flat()]);
      const isCertain = calls.closeCount() === closesBefore;
      return batch.map((_, index) => {
        const answer = reply.values[index] as StepAnswer | undefined;
        // A refusal of a re-send proves nothing of the earlier copy: it may still arrive, and find
        // room; or it was recorded, finished by whoever fenced us, and forgotten since.
        if (answer === 'committed' || (isCertain && answer !== undefined)) return answer;
        return unknown(DECIDE.name, 'it was sent twice');
      });
    },
    async blockers(incarnation) {
      const { values } = await store.ask(BLOCKERS, incarnation, []);
      return values;
    },
  };
}

/** The server refused before it wrote anything: for the coordinator that is not available. */
function refusal(error: unknown): unknown {
  if (!isCoordinationError(error, 'BACKEND_UNSUPPORTED')) return error;
  return unavailable(DECIDE.name, error.message, error);
}
