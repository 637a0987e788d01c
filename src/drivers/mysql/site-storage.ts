import { abortScope, throwIfAborted } from '../../core/abort.js';
import { isCoordinationError } from '../../core/errors.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import { isOwnAnswer } from '../../transaction/backend-errors.js';
import type {
  SiteNode,
  SiteStorage,
  SiteStore,
  StoredSite,
} from '../../transaction/three-phase/site-storage.js';
import { assertPool, type MysqlPool, type MysqlResult } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { deadlineSql, restoreSql } from './deadline.js';
import { resultUnknown, unavailable } from './errors.js';
import { type ServerFacts, serverFacts } from './server.js';
import { assertTables, guaranteesOf } from './settings.js';
import { SITES_PART, SITES_TABLE, SITES_VERSION } from './setup-sql.js';

/** Options of {@link mysqlSiteStorage}. */
export interface MysqlSiteStorageOptions {
  /**
   * A `mysql2/promise` pool of the database, best one of its own: behind branches that wait for a
   * connection a vote may come too late. It is never closed.
   */
  readonly pool: MysqlPool;
  /** How long a connection and the replies of one step are awaited, in milliseconds. Default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
}

const BACKEND = 'mysql';
const REPLY_TIMEOUT_MS = 2_000;
const SITES = { name: SITES_PART, version: SITES_VERSION };
const OWN = 'namespace = ? and site = ?';
const ROW = `${OWN} and transaction_id = ?`;
const SELECT = `select transaction_id, version, record from ${SITES_TABLE}`;
const INSERT = `insert ignore into ${SITES_TABLE}
  (namespace, site, transaction_id, version, record, written_at)
  values (?, ?, ?, 1, ?, utc_timestamp(6))`;
const UPDATE = `update ${SITES_TABLE} set version = ?, record = ?, written_at = utc_timestamp(6)
  where ${ROW} and version = ?`;

/**
 * The storage of sites in a table of MariaDB (10.5 or newer) or MySQL (8.0.29 or newer), which
 * `setupSql` creates: best in the database of the site's own branches, whose loss stops this site
 * alone. A write is on the disk when it is acknowledged where `innodb_flush_log_at_trx_commit` is 1 and
 * `sync_binlog` is 1 or there is no binary log; `guarantees()` reads both.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed pool or number.
 */
export function mysqlSiteStorage(options: MysqlSiteStorageOptions): SiteStorage {
  assertOptions(options, '{ pool }');
  const { pool, replyTimeoutMs = REPLY_TIMEOUT_MS } = options;
  assertPool(pool);
  assertNumber('replyTimeoutMs', replyTimeoutMs, { min: 1 });
  return { backend: BACKEND, open: (node) => mysqlSiteStore(node, { pool, replyTimeoutMs }) };
}

interface Settings {
  readonly pool: MysqlPool;
  readonly replyTimeoutMs: number;
}

type Run = (sql: string, values?: readonly unknown[]) => Promise<MysqlResult>;

/** Runs statements as one transaction. */
type Ask = <T>(
  operation: string,
  signal: AbortSignal | undefined,
  use: (run: Run) => Promise<T>,
) => Promise<T>;

function mysqlSiteStore(node: SiteNode, settings: Settings): SiteStore {
  const own = [node.namespace, node.site];
  const server = serverFacts(BACKEND, node.clock);
  const ask = asker(node, settings, server);
  return {
    write({ transactionId, version, text }, call) {
      const key = [...own, transactionId];
      return ask('write a vote', call?.signal, async (run) => {
        const isFirst = version === 1;
        const { affectedRows } = isFirst
          ? await run(INSERT, [...key, text])
          : await run(UPDATE, [version, text, ...key, version - 1]);
        if (affectedRows === 1) return 'written';
        // A new transaction: this one holds locks, and may not see what it met.
        await run('commit');
        const { rows } = await run(`${SELECT} where ${ROW}`, key);
        const [found] = rows.map(storedOf);
        return found?.version === version && found.text === text ? 'written' : 'conflict';
      });
    },
    read: (transactionId, call) =>
      ask('read a vote', call?.signal, async (run) => {
        const { rows } = await run(`${SELECT} where ${ROW}`, [...own, transactionId]);
        return rows.map(storedOf)[0];
      }),
    list: (after, limit, call) =>
      ask('list votes', call?.signal, async (run) => {
        const page = `${SELECT} where ${OWN} and transaction_id > ?
          order by transaction_id limit ?`;
        return (await run(page, [...own, after, limit])).rows.map(storedOf);
      }),
    remove: (transactionId, version, call) =>
      ask('remove a vote', call?.signal, async (run) => {
        const gone = `delete from ${SITES_TABLE} where ${ROW} and version = ?`;
        await run(gone, [...own, transactionId, version]);
      }),
    async guarantees(call) {
      const signal = call?.signal ?? new AbortController().signal;
      const connection = await connect(settings.pool, 'guarantees', signal);
      try {
        const found = await server.read(connection, signal);
        connection.release();
        const promises = ['acknowledged votes survive what innodb_flush_log_at_trx_commit covers'];
        return { ...guaranteesOf(`mysql site ${node.site}`, found), promises };
      } catch (error) {
        connection.destroy();
        throw isOwnAnswer(error, signal) ? error : unavailable(BACKEND, 'guarantees', error);
      }
    },
    close: async () => {},
  };
}

function storedOf([transactionId, version, record]: readonly unknown[]): StoredSite {
  return {
    transactionId: String(transactionId),
    version: Number(version),
    text: String(record),
  };
}

function asker({ clock }: SiteNode, { pool, replyTimeoutMs }: Settings, server: ServerFacts): Ask {
  let isChecked = false;
  return async (operation, signal, use) => {
    throwIfAborted(signal);
    using scope = abortScope({ clock, parents: [signal], timeoutMs: replyTimeoutMs });
    const connection = await connect(pool, operation, scope.signal, signal);
    const run: Run = (sql, values) => connection.run(sql, values, scope.signal);
    let isSent = false;
    try {
      const { flavour } = await server.inspect(connection, scope.signal);
      if (!isChecked) await assertTables(BACKEND, run, SITES);
      isChecked = true;
      await run(deadlineSql(flavour, replyTimeoutMs));
      // A connection comes from the pool in whatever state the service left it.
      await run('rollback');
      await run('start transaction');
      isSent = true;
      const answer = await use(run);
      await run('commit');
      giveBack(connection, run, restoreSql(flavour));
      return answer;
    } catch (error) {
      // Whatever went wrong: what this connection is in the middle of is no longer known.
      connection.destroy();
      throwIfAborted(signal);
      if (isOwnAnswer(error, scope.signal) && isCoordinationError(error)) throw error;
      throw isSent
        ? resultUnknown(BACKEND, operation, error)
        : unavailable(BACKEND, operation, error);
    }
  };
}

async function connect(
  pool: MysqlPool,
  operation: string,
  bounded: AbortSignal,
  signal?: AbortSignal,
): Promise<Connection> {
  try {
    return await checkOut(pool, bounded);
  } catch (error) {
    throwIfAborted(signal);
    throw unavailable(BACKEND, operation, error);
  }
}

/** Nobody waits for that: what was asked is committed. */
function giveBack(connection: Connection, run: Run, restore: string): void {
  run(restore).then(connection.release, connection.destroy);
}
