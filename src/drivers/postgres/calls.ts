import { abortScope } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { isCoordinationError } from '../../core/errors.js';
import type { BranchRecord, ParticipantCallOptions } from '../../transaction/participant.js';
import type { PostgresPool } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { resultUnknown, unavailable } from './errors.js';
import { literalOf, type Resource } from './prepared.js';

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
}

interface CallsOptions {
  readonly name: string;
  readonly pool: PostgresPool;
  readonly clock: Clock;
  readonly callTimeoutMs: number;
}

/** The calls of one participant. */
export function participantCalls(options: CallsOptions, backend: string): ParticipantCalls {
  const { name, pool, clock, callTimeoutMs } = options;
  const call = async <T>(
    operation: string,
    callOptions: ParticipantCallOptions | undefined,
    use: (resource: Resource) => Promise<T>,
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
    const run: Resource['run'] = (text) => connection.run(text, signal);
    try {
      const answer = await use({ participant: name, backend, clock, signal, run });
      connection.release();
      return answer;
    } catch (error) {
      // Whatever went wrong: what this connection is in the middle of is no longer known.
      connection.destroy();
      throw isCoordinationError(error) ? error : onNoAnswer(error);
    }
  };
  return {
    read: (operation, callOptions, use) =>
      call(operation, callOptions, use, (cause) => unavailable(backend, operation, cause)),
    async finish(operation, branch, callOptions, act) {
      literalOf(branch.branchId);
      const what = `${operation} of branch ${branch.branchId}`;
      const use = (resource: Resource): Promise<void> => act(resource, branch);
      await call(operation, callOptions, use, (cause) => resultUnknown(backend, what, cause));
    },
  };
}
