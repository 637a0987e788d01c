import { abortScope } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { isCoordinationError } from '../../core/errors.js';
import type { BranchRecord, ParticipantCallOptions } from '../../transaction/participant.js';
import type { MysqlPool } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { resultUnknown, unavailable } from './errors.js';
import { AUTOCOMMIT_BACK, type Resource } from './prepared.js';
import type { ServerFacts } from './server.js';
import type { ServerSettings } from './settings.js';
import type { XidSpace } from './xid.js';

/** Calls about branches that some process left, each on a connection of its own and bounded. */
export interface ParticipantCalls {
  /** Only reads: without an answer, nothing happened. */
  read<T>(
    operation: string,
    options: ParticipantCallOptions | undefined,
    use: (resource: Resource) => Promise<T>,
  ): Promise<T>;
  /** Ends a branch: without an answer, it may have happened. */
  finish(
    operation: 'commit' | 'abort',
    branch: BranchRecord,
    options: ParticipantCallOptions | undefined,
    act: (resource: Resource, branch: BranchRecord) => Promise<void>,
  ): Promise<void>;
  /** The settings of the server, read now and checked. */
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
export function participantCalls(options: CallsOptions): ParticipantCalls {
  const { backend, pool, clock, callTimeoutMs, server, xids } = options;
  const call = async <T>(
    operation: string,
    callOptions: ParticipantCallOptions | undefined,
    use: (connection: Connection, signal: AbortSignal) => Promise<T>,
    onNoAnswer: (cause: unknown) => Error,
  ): Promise<T> => {
    using scope = abortScope({ clock, parents: [callOptions?.signal], timeoutMs: callTimeoutMs });
    const { signal } = scope;
    let connection: Connection;
    try {
      connection = await checkOut(pool, signal);
    } catch (error) {
      if (callOptions?.signal?.aborted) throw callOptions.signal.reason;
      throw unavailable(backend, operation, error);
    }
    try {
      const answer = await use(connection, signal);
      connection.release();
      return answer;
    } catch (error) {
      // Whatever went wrong: what this connection is in the middle of is no longer known.
      connection.destroy();
      throw isCoordinationError(error) && !signal.aborted ? error : onNoAnswer(error);
    }
  };
  const onResource =
    <T>(use: (resource: Resource) => Promise<T>) =>
    async (connection: Connection, signal: AbortSignal): Promise<T> => {
      const { flavour } = await server.inspect(connection, signal);
      const answer = await use(resourceOn(options, { connection, flavour, signal }));
      await connection.run(AUTOCOMMIT_BACK, [], signal);
      return answer;
    };
  return {
    read: (operation, callOptions, use) => {
      const noAnswer = (cause: unknown): Error => unavailable(backend, operation, cause);
      return call(operation, callOptions, onResource(use), noAnswer);
    },
    async finish(operation, branch, callOptions, act) {
      xids.literal(branch.branchId);
      const what = `${operation} of branch ${branch.branchId}`;
      const use = onResource((resource) => act(resource, branch));
      await call(operation, callOptions, use, (cause) => resultUnknown(backend, what, cause));
    },
    settings: (callOptions) =>
      call('guarantees', callOptions, server.read, (cause) =>
        unavailable(backend, 'guarantees', cause),
      ),
  };
}

/** A connection as the place where statements about branches run. */
export function resourceOn(
  options: Pick<CallsOptions, 'name' | 'backend' | 'clock' | 'evidenceRetainMs' | 'xids'>,
  at: {
    readonly connection: Connection;
    readonly flavour: Resource['flavour'];
    readonly signal: AbortSignal;
  },
): Resource {
  const { name: participant, backend, clock, evidenceRetainMs, xids } = options;
  const { connection, flavour, signal } = at;
  const run: Resource['run'] = (sql, values) => connection.run(sql, values, signal);
  return { participant, backend, flavour, xids, evidenceRetainMs, clock, signal, run };
}
