import { type AbortSource, abortScope } from '../../core/abort.js';
import type { Clock } from '../../core/clock.js';
import { isCoordinationError } from '../../core/errors.js';
import type { BranchContext } from '../../transaction/participant.js';
import type { MysqlPool } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { deadlineSql } from './deadline.js';
import { ERRNO, errnoOf, participantFull, unavailable } from './errors.js';
import type { ServerFacts } from './server.js';
import type { Flavour } from './settings.js';
import type { XidSpace } from './xid.js';

/** A connection inside a new branch. */
export interface Enlisted {
  readonly connection: Connection;
  readonly flavour: Flavour;
}

interface EnlistmentOptions {
  readonly name: string;
  readonly backend: string;
  readonly pool: MysqlPool;
  readonly clock: Clock;
  readonly waitersMax: number;
  readonly xids: XidSpace;
  readonly server: ServerFacts;
}

/** Starts branches of one participant. */
export function enlistment(
  options: EnlistmentOptions,
): (context: BranchContext) => Promise<Enlisted> {
  const { name, backend, pool, clock, waitersMax, xids, server } = options;
  let waiters = 0;

  const connect = async (context: BranchContext, signal: AbortSource): Promise<Connection> => {
    if (waiters >= waitersMax) {
      throw participantFull(name, waitersMax, 'as many as waitersMax wait for a connection');
    }
    waiters += 1;
    try {
      return await checkOut(pool, signal);
    } catch (error) {
      if (context.signal.aborted) throw context.signal.reason;
      throw unavailable(backend, 'enlist', error);
    } finally {
      waiters -= 1;
    }
  };
  const begin = async (
    connection: Connection,
    context: BranchContext,
    signal: AbortSource,
  ): Promise<Flavour> => {
    const { flavour } = await server.inspect(connection, signal);
    await connection.run(deadlineSql(flavour, context.timeoutMs), [], signal);
    const start = `xa start ${xids.literal(context.branchId)}`;
    try {
      await connection.run(start, [], signal);
    } catch (error) {
      if (errnoOf(error) !== ERRNO.xaOutside) throw error;
      // With autocommit off, whoever had the connection before left his last look open.
      await connection.run('rollback', [], signal);
      await connection.run(start, [], signal);
    }
    return flavour;
  };
  return async (context) => {
    xids.literal(context.branchId);
    const { timeoutMs } = context;
    using scope = abortScope({ clock, parents: [context.signal], timeoutMs });
    const connection = await connect(context, scope);
    try {
      return { connection, flavour: await begin(connection, context, scope) };
    } catch (error) {
      // Of a refusal of our own the connection may keep a session that is bounded or not: closed, too.
      connection.destroy();
      if (context.signal.aborted) throw context.signal.reason;
      throw isCoordinationError(error) && !scope.aborted
        ? error
        : unavailable(backend, 'enlist', error);
    }
  };
}
