import type { Clock } from '../../core/clock.js';
import { connectionCalls, type ParticipantCalls } from '../../transaction/connection-calls.js';
import type { PostgresPool } from './client.js';
import { checkOut } from './connection.js';
import { resultUnknown, unavailable } from './errors.js';
import { literalOf, type Resource } from './prepared.js';

interface CallsOptions {
  readonly name: string;
  readonly pool: PostgresPool;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
}

/** The calls of one participant. */
export function participantCalls(
  options: CallsOptions,
  backend: string,
): ParticipantCalls<Resource> {
  const { name: participant, pool, clock, callTimeoutMs } = options;
  return connectionCalls({
    ...{ backend, clock, callTimeoutMs, errors: { unavailable, resultUnknown } },
    checkOut: (signal) => checkOut(pool, signal),
    onResource(connection, signal, use) {
      const run: Resource['run'] = (text) => connection.run(text, signal);
      return use({ participant, backend, clock, signal, run });
    },
    assertBranchId: literalOf,
  });
}
