import { abortScope } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { type BackendErrors, isOwnAnswer } from './backend-errors.js';
import type { BranchRecord, ParticipantCallOptions } from './participant.js';

/** Calls about branches that some process left, each on a connection of its own and bounded. */
export interface ParticipantCalls<Resource> {
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
}

/** A connection that goes back to its pool or is closed, exactly once. */
interface PooledConnection {
  release(): void;
  destroy(): void;
}

/** What the calls of a participant are made of. */
export interface ConnectionCallsOptions<Connection extends PooledConnection, Resource> {
  readonly backend: string;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
  readonly errors: Pick<BackendErrors, 'unavailable' | 'resultUnknown'>;
  /** Takes a connection from the pool, for as long as the signal lets it wait. */
  readonly checkOut: (signal: AbortSignal) => Promise<Connection>;
  /** Uses a connection as the place where statements about branches run. */
  readonly onResource: <T>(
    connection: Connection,
    signal: AbortSignal,
    use: (resource: Resource) => Promise<T>,
  ) => Promise<T>;
  /** Throws for an id that cannot stand in a statement. */
  readonly assertBranchId: (branchId: string) => unknown;
}

/** The calls of one participant, and single reads that need no branch. */
export interface ConnectionCalls<Connection, Resource> extends ParticipantCalls<Resource> {
  /** As `read`, on the bare connection. */
  ask<T>(
    operation: string,
    options: ParticipantCallOptions | undefined,
    use: (connection: Connection, signal: AbortSignal) => Promise<T>,
  ): Promise<T>;
}

/** The calls of a participant whose branches live on connections of a pool. */
export function connectionCalls<Connection extends PooledConnection, Resource>(
  options: ConnectionCallsOptions<Connection, Resource>,
): ConnectionCalls<Connection, Resource> {
  const { backend, clock, callTimeoutMs, errors, checkOut, onResource } = options;
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
      connection = await checkOut(signal);
    } catch (error) {
      if (callOptions?.signal?.aborted) throw callOptions.signal.reason;
      throw errors.unavailable(backend, operation, error);
    }
    try {
      const answer = await use(connection, signal);
      connection.release();
      return answer;
    } catch (error) {
      // Whatever went wrong: what this connection is in the middle of is no longer known.
      connection.destroy();
      throw isOwnAnswer(error, signal) ? error : onNoAnswer(error);
    }
  };
  const ask: ConnectionCalls<Connection, Resource>['ask'] = (operation, callOptions, use) =>
    call(operation, callOptions, use, (cause) => errors.unavailable(backend, operation, cause));
  return {
    ask,
    read: (operation, callOptions, use) =>
      ask(operation, callOptions, (connection, signal) => onResource(connection, signal, use)),
    async finish(operation, branch, callOptions, act) {
      options.assertBranchId(branch.branchId);
      const what = `${operation} of branch ${branch.branchId}`;
      await call(
        operation,
        callOptions,
        (connection, signal) => onResource(connection, signal, (resource) => act(resource, branch)),
        (cause) => errors.resultUnknown(backend, what, cause),
      );
    },
  };
}
