import { isCoordinationError } from '../../core/errors.js';
import type { DecisionLogSession, WithinAnswer } from '../../transaction/decision-log.js';
import type { StepAnswer } from '../../transaction/log-batches.js';
import type { HeartbeatLogSteps } from '../../transaction/log-session.js';
import { type DecisionValues, encodeDecision } from './decision-log-record.js';
import { BACKEND, isTransient, type LogStore } from './decision-log-store.js';
import { resultUnknown, unavailable } from './errors.js';

/** The single steps of this store, for the loops that all logs share. */
export interface DecisionSteps extends HeartbeatLogSteps<DecisionValues> {
  readonly decideWithin: NonNullable<DecisionLogSession['decideWithin']>;
}

/**
 * While so many messages are under way, decisions gather for the next one: one is on its way or in
 * work while the server's disk is busy with the other.
 */
const IN_FLIGHT_MAX = 2;

/** The steps of one session. */
export function decisionSteps(store: LogStore, unacknowledgedMax: number): DecisionSteps {
  const { statements } = store;
  return {
    inFlightMax: IN_FLIGHT_MAX,
    encode: encodeDecision,
    isTransient,
    pause: store.pause,
    unknown: (_, cause) => resultUnknown(BACKEND, 'decide', cause),
    refusal,
    async beat(incarnation) {
      const results = await store.once(statements.heartbeat(incarnation));
      return results.at(-1)?.rows.length === 0 ? 'fenced' : 'live';
    },
    async acknowledge(_, part) {
      const pairs = part.map((each) => [each.transactionId, each.participant] as const);
      await store.once(statements.acknowledge(pairs));
    },
    async decideWithin(incarnation, record, run) {
      const decision = encodeDecision(record);
      const message = statements.decideWithin(incarnation, unacknowledgedMax, decision);
      const [row] = (await run(message.statements.join(';\n'))).at(-1)?.rows ?? [];
      if (row?.is_known !== true) return 'elsewhere';
      return row.answer === 'committed' ? 'recorded' : (row.answer as WithinAnswer);
    },
    async send(incarnation, batch) {
      const message = statements.decide(incarnation, unacknowledgedMax, batch);
      const rows = (await store.once(message)).at(-1)?.rows ?? [];
      const answers = new Map(rows.map((row) => [row.id, row.answer as StepAnswer]));
      return batch.map(({ transactionId }) => answers.get(transactionId) ?? unanswered());
    },
    async blockers(incarnation, signal) {
      const [result] = await store.once(statements.blockers(incarnation), signal);
      return (result?.rows ?? []).map((row) => String(row.participant));
    },
  };
}

function unanswered(): Error {
  return resultUnknown(BACKEND, 'decide', new Error('the reply lacks an answer'));
}

/** The server refused before it wrote anything: for the coordinator that is not available. */
function refusal(error: unknown): unknown {
  if (!isCoordinationError(error)) return error;
  if (error.code === 'LOG_FULL' || error.code === 'BACKEND_UNAVAILABLE') return error;
  return unavailable(BACKEND, 'decide', error);
}
