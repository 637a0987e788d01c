import { CoordinationError } from '../../core/errors.js';
import { fenceStaleError, parseFencingToken } from '../../core/fencing-token.js';
import { assertResourceId, invalidArgument } from '../../core/validate.js';
import { sqlState, unsupported } from './errors.js';

/**
 * A connection of `pg` 8 that is inside the user's own transaction: a `Client`, a pool's client, or
 * what a branch of a `postgresParticipant` hands out.
 */
export interface PostgresFenceClient {
  /** Sends one statement with parameters. */
  query(
    text: string,
    values: unknown[],
  ): Promise<{
    /** The rows of the answer. */
    readonly rows: readonly unknown[];
  }>;
}

/** Options of {@link postgresFence}. */
export interface PostgresFenceOptions {
  /**
   * The table of tokens, with its schema or without: lower-case letters, digits and `_`. Default
   * `tricord_fence`.
   */
  readonly table?: string | undefined;
}

/** Keeps late writes of former lock holders out of PostgreSQL. Made by {@link postgresFence}. */
export interface PostgresFence {
  /**
   * The SQL that makes the table, where it is not there yet. Run it once, as a migration. Who writes
   * needs SELECT, INSERT and UPDATE on it.
   */
  setupSql(): string;
  /**
   * Checks the token against the newest one that was seen for the resource, and remembers it: one
   * statement, inside the transaction that the client is in. Call it before or after the writes that
   * it guards, but in their transaction: they become visible together or not at all.
   *
   * Rejects with FENCE_STALE, naming both tokens, when a newer one was seen; then roll back. An equal
   * token is the same holder and is welcome. Rejects with BACKEND_UNSUPPORTED when the table is not
   * there, and otherwise with what `pg` throws. The resource's row stays locked until the
   * transaction ends, so a newer holder waits for an older one that is about to commit.
   *
   * @param client - a connection inside a transaction; on a pool the check would guard nothing.
   * @param resource - the locked resource, a non-empty text of at most 1,024 bytes.
   * @param token - `lease.fencingToken`: a bigint, or its decimal text.
   */
  advance(client: PostgresFenceClient, resource: string, token: bigint | string): Promise<void>;
}

const TABLE = /^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$/;
const UNDEFINED_TABLE = '42P01';

/**
 * The resource's side of a lock: a holder that was paused past its lease writes too late, and is
 * refused by the newest token that the resource has seen (Kleppmann, "How to do distributed
 * locking", 2016; Burrows, "The Chubby lock service", 2006, sequencers).
 *
 * ```ts
 * const fence = postgresFence();
 * await pool.query(fence.setupSql());
 *
 * await client.query('begin');
 * await fence.advance(client, 'invoice:42', lease.fencingToken);
 * await client.query('update invoice set paid = true where id = 42');
 * await client.query('commit');
 * ```
 *
 * Under `repeatable read` and `serializable` a second holder meets PostgreSQL's own serialization
 * failure (40001) where it raced the first.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed table.
 */
export function postgresFence(options: PostgresFenceOptions = {}): PostgresFence {
  const { table = 'tricord_fence' } = options;
  if (typeof table !== 'string' || !TABLE.test(table)) {
    throw invalidArgument('table', table, 'a name, or schema.name, of lower-case [a-z0-9_]');
  }
  const quoted = table.replace(/[^.]+/g, '"$&"');
  return {
    setupSql: () =>
      `create table if not exists ${quoted} (resource text primary key, token numeric not null)`,
    async advance(client, resource, token) {
      assertResourceId(resource, 'resource');
      const given = parseFencingToken(token);
      const newest = await advanced(client, quoted, [resource, given.toString()]);
      if (newest !== given) throw fenceStaleError(resource, given, newest);
    },
  };
}

/** The newest token after this one: it locks the row, and reads the last committed version of it. */
async function advanced(
  client: PostgresFenceClient,
  table: string,
  values: string[],
): Promise<bigint> {
  const text =
    `insert into ${table} as fence (resource, token) values ($1, $2) ` +
    'on conflict (resource) do update set token = greatest(fence.token, excluded.token) ' +
    'returning token::text as newest';
  const { rows } = await client.query(text, values).catch((cause: unknown) => {
    throw sqlState(cause) === UNDEFINED_TABLE ? withoutTable(table, cause) : cause;
  });
  const [row] = rows as readonly { readonly newest?: unknown }[];
  if (typeof row?.newest === 'string' && /^\d+$/.test(row.newest)) return BigInt(row.newest);
  const found = String(row?.newest);
  const message = `the table ${table} holds ${found} in place of a token; something else writes to it`;
  throw new CoordinationError('DATA_CORRUPT', message, { where: table, found });
}

function withoutTable(table: string, cause: unknown): CoordinationError {
  const facts = { setting: `table ${table}`, found: 'none', needed: 'the table of fencing tokens' };
  return unsupported('postgres', facts, 'run setupSql() once, as a migration', cause);
}
