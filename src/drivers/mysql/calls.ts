import type { AbortSource } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { connectionCalls, type ParticipantCalls } from '../../transaction/connection-calls.js';
import type { ParticipantCallOptions } from '../../transaction/participant.js';
import type { MysqlPool } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { resultUnknown, unavailable } from './errors.js';
import { AUTOCOMMIT_BACK, type Resource } from './prepared.js';
import type { ServerFacts } from './server.js';
import type { ServerSettings } from './settings.js';
import type { XidSpace } from './xid.js';

/** The calls of one participant; the settings are read now and checked. */
export interface MysqlCalls extends ParticipantCalls<Resource> {
  settings(options: ParticipantCallOptions | undefined): Promise<ServerSettings>;
}

/** What the calls of a participant are made of. */
export interface CallsOptions {
  readonly name: string;
  readonly backend: string;
  readonly pool: MysqlPool;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  readonly evidenceRetainMs: number;
  readonly xids: XidSpace;
  readonly server: ServerFacts;
}

/** The calls of one participant. */
export function participantCalls(options: CallsOptions): MysqlCalls {
  const { backend, pool, clock, callTimeoutMs, server, xids } = options;
  const calls = connectionCalls<Connection, Resource>({
    ...{ backend, clock, callTimeoutMs, errors: { unavailable, resultUnknown } },
    checkOut: (signal) => checkOut(pool, signal),
    async onResource(connection, signal, use) {
      const { flavour } = await server.inspect(connection, signal);
      const answer = await use(resourceOn(options, { connection, flavour, signal }));
      await connection.run(AUTOCOMMIT_BACK, [], signal);
      return answer;
    },
    assertBranchId: xids.literal,
  });
  return {
    ...calls,
    settings: (callOptions) => calls.ask('guarantees', callOptions, server.read),
  };
}

/** A connection as the place where statements about branches run. */
export function resourceOn(
  options: Pick<CallsOptions, 'name' | 'backend' | 'clock' | 'evidenceRetainMs' | 'xids'>,
  at: {
    readonly connection: Connection;
    readonly flavour: Resource['flavour'];
    readonly signal: AbortSource;
  },
): Resource {
  const { name: participant, backend, clock, evidenceRetainMs, xids } = options;
  const { connection, flavour, signal } = at;
  const run: Resource['run'] = (sql, values) => connection.run(sql, values, signal);
  return { participant, backend, flavour, xids, evidenceRetainMs, clock, signal, run };
}
