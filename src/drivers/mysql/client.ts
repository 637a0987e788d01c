import { invalidArgument } from '../../core/validate.js';

/**
 * The part of a `mysql2/promise` pool that tricord calls. Pass the service's own pool: tricord neither
 * imports `mysql2` nor opens, configures or ends what it was given.
 */
export interface MysqlPool {
  /** A connection of the pool. */
  getConnection(): Promise<MysqlPoolConnection>;
  /** Gives the enlisted client its type; tricord itself never calls it. */
  readonly query: unknown;
  /** Gives the enlisted client its type; tricord itself never calls it. */
  readonly execute: unknown;
}

/** The part of a `mysql2/promise` pool's connection that tricord calls. */
export interface MysqlPoolConnection {
  /** Sends one text in the text protocol; XA is not allowed in the other one. */
  query(options: MysqlQuery): Promise<unknown>;
  /** Gives the connection back to the pool. */
  release(): void;
  /** Closes the connection. */
  destroy(): void;
  /** Tells of a connection that broke. */
  on(event: 'error', listener: (error: Error) => void): unknown;
  /** Undoes `on`. */
  removeListener(event: 'error', listener: (error: Error) => void): unknown;
}

/** A statement of tricord's own; it names the form of its answer, whatever the pool's options are. */
export interface MysqlQuery {
  /** The text, with `?` for values. */
  sql: string;
  /** The values, escaped by `mysql2`. */
  values?: unknown[];
  /** A row is an array. */
  rowsAsArray?: boolean;
  /** No nesting by tables. */
  nestTables?: boolean;
  /** `mysql2`'s own conversion. */
  typeCast?: boolean;
}

/**
 * What a transaction's body works with: `query` and `execute`, with the overloads of the pool that was
 * passed in, on a connection that is inside this branch. It has no other method on purpose: the branch
 * ends with the transaction, not with COMMIT, ROLLBACK or `release()`.
 *
 * Errors of the server arrive as `mysql2` throws them, and each of them makes the branch vote no, also
 * when the body catches it: a statement that waited for a lock in vain is missing in a transaction
 * that the server would still prepare. `ROLLBACK TO SAVEPOINT` takes the errors since that savepoint
 * back. A statement that would end or begin a transaction, or that commits implicitly as CREATE TABLE
 * does, is refused with BRANCH_TAMPERED before it is sent, and the transaction can only abort. After
 * the transaction: BRANCH_ENDED.
 *
 * @typeParam Pool - the type of the pool, usually `Pool` of `mysql2/promise`.
 */
export interface MysqlBranchClient<Pool extends MysqlPool = MysqlPool> {
  /** The pool's own `query`, on the branch's connection. */
  readonly query: Pool['query'];
  /** The pool's own `execute`, on the branch's connection. */
  readonly execute: Pool['execute'];
}

/** One statement's result, as far as tricord reads it. */
export interface MysqlResult {
  readonly rows: readonly (readonly unknown[])[];
  /** Whether a transaction is open after it; undefined where the answer does not tell. */
  readonly isInTransaction: boolean | undefined;
  /** How many rows it changed; undefined where it answered rows. */
  readonly affectedRows: number | undefined;
}

const STATUS_IN_TRANSACTION = 1;

/** `mysql2` answers a pair: what came, and the fields of its columns. */
export function mysqlResult(answer: unknown): MysqlResult {
  const [came] = Array.isArray(answer) ? answer : [answer];
  if (Array.isArray(came)) {
    return { rows: came, isInTransaction: undefined, affectedRows: undefined };
  }
  const { affectedRows } = (came ?? {}) as { readonly affectedRows?: number | undefined };
  return { rows: [], isInTransaction: isInTransaction(came), affectedRows };
}

/** What each header in the answer of a user's statement tells: none where only rows came. */
export function transactionFlags(answer: unknown): readonly boolean[] {
  const [came] = Array.isArray(answer) ? answer : [answer];
  // Several statements in one text, or a procedure, answer several results.
  const results: readonly unknown[] = Array.isArray(came) ? came : [came];
  return results.map(isInTransaction).filter((flag) => flag !== undefined);
}

function isInTransaction(header: unknown): boolean | undefined {
  if (typeof header !== 'object' || header === null) return undefined;
  const { serverStatus, affectedRows } = header as Readonly<Record<string, unknown>>;
  // A row may have a column of that name, too; then it does not look like a header.
  if (typeof serverStatus !== 'number' || typeof affectedRows !== 'number') return undefined;
  return (serverStatus & STATUS_IN_TRANSACTION) !== 0;
}

/** Throws a TypeError (INVALID_ARGUMENT) for anything but a pool of promises. */
export function assertPool(pool: MysqlPool): void {
  const { getConnection, promise } = (pool ?? {}) as Partial<MysqlPool> & { promise?: unknown };
  // A pool of 'mysql2' itself answers to callbacks: waiting for its promise would never end.
  if (typeof getConnection === 'function' && typeof promise !== 'function') return;
  const remedy = "a pool of 'mysql2/promise', or pool.promise() of one of 'mysql2'";
  throw invalidArgument('pool', pool, remedy);
}
