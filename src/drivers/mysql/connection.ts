import { type AbortSource, abortable, throwIfAborted } from '../../core/abort.js';
import {
  type MysqlPool,
  type MysqlPoolConnection,
  type MysqlResult,
  mysqlResult,
} from './client.js';

/** A connection that was taken from the pool, and goes back there or is closed, exactly once. */
export interface Connection {
  readonly client: MysqlPoolConnection;
  /** Whether the connection is known to be gone. */
  readonly isBroken: boolean;
  /**
   * Runs one statement. When the signal ends the wait, the statement may still run: then the
   * connection must be destroyed.
   */
  run(sql: string, values?: readonly unknown[], signal?: AbortSource): Promise<MysqlResult>;
  /** Gives it back to the pool. Only in a known state: outside any transaction. */
  release(): void;
  /** Closes it; the server undoes what was open on it and not prepared. */
  destroy(): void;
}

/** Takes a connection from the pool, for as long as the signal lets it wait; a late one goes back. */
export async function checkOut(pool: MysqlPool, signal: AbortSource): Promise<Connection> {
  throwIfAborted(signal);
  // Whatever was passed as a pool: what it answers is waited for like a promise.
  const arriving = Promise.resolve(pool.getConnection());
  try {
    return connectionOf(await abortable(arriving, signal));
  } catch (error) {
    arriving.then((late) => late.release()).catch(() => {});
    throw error;
  }
}

function connectionOf(client: MysqlPoolConnection): Connection {
  let isBroken = false;
  let isTaken = true;
  // A connection that breaks without a listener would end the whole process.
  const onError = (): void => {
    isBroken = true;
  };
  client.on('error', onError);
  const giveBack = (how: 'release' | 'destroy'): void => {
    if (!isTaken) return;
    isTaken = false;
    client.removeListener('error', onError);
    client[how]();
  };
  return {
    client,
    get isBroken() {
      return isBroken;
    },
    async run(sql, values = [], signal) {
      // What nobody waits for any longer is not sent: it might be an XA COMMIT.
      throwIfAborted(signal);
      const form = { rowsAsArray: true, nestTables: false, typeCast: true };
      const answer = client.query({ sql, values: [...values], ...form });
      return mysqlResult(await abortable(answer, signal));
    },
    release: () => giveBack(isBroken ? 'destroy' : 'release'),
    destroy: () => giveBack('destroy'),
  };
}
