import { abortScope, throwIfAborted } from '../../core/abort.js';
import { CoordinationError, isCoordinationError } from '../../core/errors.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import { isOwnAnswer } from '../../transaction/backend-errors.js';
import type {
  SiteNode,
  SiteStorage,
  SiteStore,
  StoredSite,
} from '../../transaction/three-phase/site-storage.js';
import { assertPool, type PostgresPool, type StatementResult } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { logGuarantees } from './decision-log-guarantees.js';
import { DURABLE } from './decision-log-statements.js';
import { resultUnknown, sqlState, unavailable, unsupported } from './errors.js';
import { textLiteral } from './literal.js';
import { readSettings } from './settings.js';
import { SITES_PART, SITES_VERSION, sitesTable } from './setup-sites.js';
import { logTables, SCHEMA_DEFAULT } from './setup-sql.js';

/** Options of {@link postgresSiteStorage}. */
export interface PostgresSiteStorageOptions {
  /**
   * A `pg` pool of the database, best one of its own: behind branches that wait for a connection a vote
   * may come too late. It is never closed.
   */
  readonly pool: PostgresPool;
  /** The schema in which `setupSql` created the tables: `[a-z0-9_]`. Default `tricord`. */
  readonly schema?: string | undefined;
  /** How long a connection and one reply are awaited, in milliseconds. Default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
}

const BACKEND = 'postgres';
const REPLY_TIMEOUT_MS = 2_000;
const SETUP = 'run the SQL that setupSql() answers, once, in this database';
const MISSING: ReadonlySet<string | undefined> = new Set(['42P01', '3F000']);

/**
 * The storage of sites in a table of PostgreSQL (13 or newer), which {@link setupSql} creates: best in
 * the database of the site's own branches, whose loss stops this site alone. Each write waits for the
 * disk, whatever `synchronous_commit` the role has, and for a synchronous standby where there is one.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed pool, schema or number.
 */
export function postgresSiteStorage(options: PostgresSiteStorageOptions): SiteStorage {
  assertOptions(options, '{ pool }');
  const { pool, schema = SCHEMA_DEFAULT, replyTimeoutMs = REPLY_TIMEOUT_MS } = options;
  assertPool(pool);
  assertNumber('replyTimeoutMs', replyTimeoutMs, { min: 1 });
  const { versions } = logTables(schema);
  return {
    backend: BACKEND,
    open: (node) => postgresSiteStore(node, { pool, schema, versions, replyTimeoutMs }),
  };
}

interface Settings {
  readonly pool: PostgresPool;
  readonly schema: string;
  readonly versions: string;
  readonly replyTimeoutMs: number;
}

/** Runs statements as one transaction and answers their results. */
type Ask = (
  operation: string,
  statements: readonly string[],
  signal: AbortSignal | undefined,
) => Promise<readonly StatementResult[]>;

function postgresSiteStore(node: SiteNode, settings: Settings): SiteStore {
  const table = sitesTable(settings.schema);
  const own = `namespace = ${textLiteral(node.namespace)} and site = ${textLiteral(node.site)}`;
  const rowOf = (id: string): string => `${own} and transaction_id = ${textLiteral(id)}`;
  const select = `select transaction_id, version::text as version, record from ${table}`;
  const ask = asker(node, settings);
  return {
    async write({ transactionId, version, text }, call) {
      const values = [node.namespace, node.site, transactionId].map(textLiteral).join(', ');
      const record = textLiteral(text);
      const insert = `insert into ${table} (namespace, site, transaction_id, version, record)
        values (${values}, 1, ${record}) on conflict do nothing`;
      const update = `update ${table} set version = ${version}, record = ${record},
        written_at = clock_timestamp()
        where ${rowOf(transactionId)} and version = ${version - 1}`;
      const change = version === 1 ? insert : update;
      const look = `${select} where ${rowOf(transactionId)}`;
      const results = await ask('write a vote', [change, look], call?.signal);
      const [found] = storedIn(results.at(-1));
      const isOurs = found?.version === version && found.text === text;
      return isOurs ? 'written' : 'conflict';
    },
    async read(transactionId, call) {
      const look = `${select} where ${rowOf(transactionId)}`;
      return storedIn((await ask('read a vote', [look], call?.signal)).at(-1))[0];
    },
    async list(after, limit, call) {
      const page = `${select} where ${own} and transaction_id > ${textLiteral(after)}
        order by transaction_id limit ${limit}`;
      return storedIn((await ask('list votes', [page], call?.signal)).at(-1));
    },
    async remove(transactionId, version, call) {
      const text = `delete from ${table} where ${rowOf(transactionId)} and version = ${version}`;
      await ask('remove a vote', [text], call?.signal);
    },
    async guarantees(call) {
      const run = (text: string): Promise<readonly StatementResult[]> =>
        ask('guarantees', [text], call?.signal);
      const found = await readSettings(run);
      return logGuarantees(`postgres site ${node.site}`, found);
    },
    close: async () => {},
  };
}

function storedIn(result: StatementResult | undefined): readonly StoredSite[] {
  return (result?.rows ?? []).map((row) => ({
    transactionId: String(row.transaction_id),
    version: Number(row.version),
    text: String(row.record),
  }));
}

function asker({ clock }: SiteNode, settings: Settings): Ask {
  const { pool, replyTimeoutMs } = settings;
  let isChecked = false;
  return async (operation, statements, signal) => {
    throwIfAborted(signal);
    using scope = abortScope({ clock, parents: [signal], timeoutMs: replyTimeoutMs });
    let connection: Connection;
    try {
      connection = await checkOut(pool, scope.signal);
    } catch (error) {
      throwIfAborted(signal);
      throw unavailable(BACKEND, operation, error);
    }
    let isSent = false;
    try {
      if (!isChecked) await check(connection, settings, scope.signal);
      isChecked = true;
      isSent = true;
      const text = [...prelude(replyTimeoutMs), ...statements].join(';\n');
      const results = await connection.run(text, scope.signal);
      connection.release();
      return results.slice(PRELUDE_RESULTS);
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

const PRELUDE_RESULTS = 2;

/** One simple query is one transaction; what waited for a row must see what it waited for. */
function prelude(timeoutMs: number): readonly string[] {
  const limit = String(Math.max(1, Math.ceil(timeoutMs)));
  return [
    'set transaction isolation level read committed, read write',
    `select set_config('synchronous_commit', ${DURABLE}, true),
      set_config('lock_timeout', '${limit}', true),
      set_config('statement_timeout', '${limit}', true)`,
  ];
}

async function check(
  connection: Connection,
  { versions }: Settings,
  signal: AbortSignal,
): Promise<void> {
  let found: unknown;
  try {
    const text = `select version from ${versions} where part = '${SITES_PART}'`;
    found = (await connection.run(text, signal))[0]?.rows[0]?.version;
  } catch (error) {
    if (!MISSING.has(sqlState(error))) throw error;
  }
  const needed = `${SITES_PART} ${SITES_VERSION}`;
  if (typeof found !== 'number' || found < SITES_VERSION) {
    const facts = { setting: versions, found: String(found ?? 'no table'), needed };
    throw unsupported(BACKEND, facts, SETUP);
  }
  if (found <= SITES_VERSION) return;
  const facts = { where: versions, found: String(found), supported: String(SITES_VERSION) };
  throw new CoordinationError(
    'UPGRADE_NEEDED',
    `${versions} has version ${found}, and this release of tricord reads ${SITES_VERSION}; ` +
      'upgrade tricord',
    facts,
  );
}
