import { invalidArgument } from '../../core/validate.js';
import type { LastStatementOptions } from './last-statement.js';
import type { PostgresLiteral } from './literal.js';

/** Checks that it is a pool: a single client of `pg` connects, too, but answers no client of its own. */
export function assertPool(pool: unknown): asserts pool is PostgresPool {
  const given = pool as (PostgresPool & { readonly escapeLiteral?: unknown }) | null | undefined;
  const isPool = typeof given?.connect === 'function' && given.escapeLiteral === undefined;
  if (!isPool) throw invalidArgument('pool', pool, "a Pool of the package 'pg'");
}

/**
 * The part of a `pg` 8 pool that tricord calls. Pass the service's own `Pool`: tricord neither
 * imports `pg` nor opens, configures or ends what it was given.
 */
export interface PostgresPool {
  /** A client of the pool. */
  connect(): Promise<PostgresPoolClient>;
  /** Gives the enlisted client its type; tricord itself never calls it. */
  readonly query: unknown;
  /** What the pool was made with. */
  readonly options?: PostgresPoolOptions | undefined;
}

/** The part of a `pg` 8 pool's options that tricord looks at. */
export interface PostgresPoolOptions {
  /** How many connections the pool opens at most. */
  readonly max?: number | undefined;
}

/** The part of a `pg` 8 pool's client that tricord calls. */
export interface PostgresPoolClient {
  /** Sends a text without parameters. */
  query(text: string): Promise<unknown>;
  /** With `true` the connection is closed instead of going back to the pool. */
  release(destroy?: boolean): void;
  /** Tells of a connection that broke. */
  on(event: 'error', listener: (error: Error) => void): unknown;
  /** Undoes `on`. */
  removeListener(event: 'error', listener: (error: Error) => void): unknown;
  /** Idle, in a transaction, or in a failed one, as of the last reply. Newer releases of `pg` have it. */
  getTransactionStatus?(): 'I' | 'T' | 'E' | null;
}

/**
 * What a transaction's body works with: `query`, with the overloads of the pool that was passed in,
 * on a connection that is inside this branch. It has no other method on purpose: the branch ends
 * with the transaction, not with COMMIT, ROLLBACK or `release()`.
 *
 * Errors of the server arrive as `pg` throws them. A statement that would end or begin a transaction
 * is refused with BRANCH_TAMPERED before it is sent, and one that slipped through in a text of
 * several statements is reported with it afterwards; either way the transaction can only abort.
 * SAVEPOINT, RELEASE and ROLLBACK TO are welcome. After the transaction: BRANCH_ENDED.
 *
 * @typeParam Pool - the type of the pool, usually `pg.Pool`.
 */
export interface PostgresBranchClient<Pool extends PostgresPool = PostgresPool> {
  /** The pool's own `query`, on the branch's connection. */
  readonly query: Pool['query'];
  /**
   * Keeps the last statement of the branch back and sends it in one message with PREPARE TRANSACTION:
   * a round trip less. Its error, or other `rows` than demanded, makes the vote no; the body never sees
   * its result, and sends nothing after it. Needs one statement, and values that are texts, numbers,
   * booleans or null; they take the type of where they stand, as parameters do.
   *
   * Throws BRANCH_TAMPERED and BRANCH_ENDED as `query` does, and a TypeError (INVALID_ARGUMENT) for
   * other values, or when it was called before.
   */
  last(text: string, values?: readonly PostgresLiteral[], options?: LastStatementOptions): void;
}

/** One statement's result, as far as tricord reads it. */
export interface StatementResult {
  /** The first word of the command tag, for example `INSERT`, `PREPARE`, `ROLLBACK`. */
  readonly command: string;
  /** How many rows it met, where it tells. */
  readonly rowCount?: number | null | undefined;
  readonly rows: readonly Readonly<Record<string, unknown>>[];
}

/** `pg` answers one result for a text of one statement and an array for several. */
export function statementResults(answer: unknown): readonly StatementResult[] {
  const results: readonly unknown[] = Array.isArray(answer) ? answer : [answer];
  return results.filter(isStatementResult);
}

function isStatementResult(value: unknown): value is StatementResult {
  return typeof value === 'object' && value !== null && 'command' in value && 'rows' in value;
}
