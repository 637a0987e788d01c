import type { AbortSource } from '../../core/abort.js';
import { deferred } from '../../core/deferred.js';
import { CoordinationError } from '../../core/errors.js';
import {
  type MysqlBranchClient,
  type MysqlPool,
  type MysqlResult,
  transactionFlags,
} from './client.js';
import type { Connection } from './connection.js';
import { ERRNO, errnoOf } from './errors.js';
import {
  bareText,
  looksLikeRead,
  rollbackTargetIn,
  savepointIn,
  transactionControl,
} from './statement.js';

/** What is known of a branch's work, from what went over its client. */
export interface BranchWork {
  /** The client that the transaction's body gets. */
  readonly handle: MysqlBranchClient<MysqlPool>;
  /** How the user ended the branch from inside, if so. */
  readonly tampered: CoordinationError<'BRANCH_TAMPERED'> | undefined;
  /** The first error that no savepoint took back: the server itself would forget it. */
  readonly firstError: unknown;
  /** Whether something may have been written; asks the server where the texts alone do not tell. */
  mayHaveWritten(signal: AbortSource): Promise<boolean>;
  /** Refuses further statements with what `refusal` makes. */
  close(refusal: () => unknown): void;
  /** Rejects what is under way: `mysql2` never settles the statements of a destroyed connection. */
  abandon(): void;
  /** Resolves when no statement is under way any more. */
  idle(): Promise<void>;
}

/** A statement's text or options, and values. */
type Parameters = readonly unknown[];
type Method = 'query' | 'execute';

/** How many rows this session has written so far, temporary tables of its own included. */
const WRITE_COUNT =
  'select sum(variable_value) from %.session_status where variable_name in ' +
  "('Handler_write', 'Handler_update', 'Handler_delete')";

/** The statement that counts the rows a session has written; `schema` is where the server keeps it. */
export function writeCountSql(flavour: 'mariadb' | 'mysql'): string {
  return WRITE_COUNT.replace(
    '%',
    flavour === 'mariadb' ? 'information_schema' : 'performance_schema',
  );
}

/** Wraps a connection for the body of a transaction. */
export function branchWork(
  participant: string,
  connection: Connection,
  flavour: 'mariadb' | 'mysql',
): BranchWork {
  const work = new Work(participant, connection, writeCountSql(flavour));
  const refuseRelease = (): never => {
    throw work.tamper('release()');
  };
  const query = (...parameters: Parameters): unknown => work.perform('query', parameters);
  const execute = (...parameters: Parameters): unknown => work.perform('execute', parameters);
  // `release` is not in the type; whoever casts his way to it learns why it is not.
  work.handle = Object.assign({ query, execute }, { release: refuseRelease });
  return work;
}

class Work implements BranchWork {
  handle: MysqlBranchClient<MysqlPool> = { query: undefined, execute: undefined };
  tampered: CoordinationError<'BRANCH_TAMPERED'> | undefined;
  readonly #participant: string;
  readonly #connection: Connection;
  readonly #writeCount: string;
  readonly #underWay = new Map<Promise<unknown>, (reason: unknown) => void>();
  readonly #errors: unknown[] = [];
  /** How many errors there were when each savepoint was set. */
  readonly #savepoints = new Map<string, number>();
  #looksReadOnly = true;
  #countBefore: Promise<MysqlResult> | undefined;
  #refusal: (() => unknown) | undefined;

  constructor(participant: string, connection: Connection, writeCount: string) {
    this.#participant = participant;
    this.#connection = connection;
    this.#writeCount = writeCount;
  }

  get firstError(): unknown {
    return this.#errors[0];
  }

  tamper(statement: string): CoordinationError<'BRANCH_TAMPERED'> {
    this.tampered ??= tamperedError(this.#participant, statement);
    return this.tampered;
  }

  async perform(method: Method, parameters: Parameters): Promise<unknown> {
    const text = bareText(textOf(parameters[0]));
    if (this.#refusal !== undefined) throw this.#refusal();
    const control = transactionControl(text);
    if (control !== undefined) throw this.tamper(control);
    this.#observeText(text);
    return this.#track(this.#send(method, parameters, text));
  }

  async mayHaveWritten(signal: AbortSource): Promise<boolean> {
    if (!this.#looksReadOnly) return true;
    if (this.#countBefore === undefined) return false;
    const before = await this.#countBefore;
    const after = await this.#connection.run(this.#writeCount, [], signal);
    return Number(before.rows[0]?.[0]) !== Number(after.rows[0]?.[0]);
  }

  close(makeRefusal: () => unknown): void {
    this.#refusal ??= makeRefusal;
  }

  abandon(): void {
    const reason = this.#refusal?.() ?? new Error('the connection of the branch was closed');
    for (const reject of this.#underWay.values()) reject(reason);
  }

  async idle(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay.keys());
  }

  /** Reads are counted from the first one on: a function in a SELECT may write, and does not say so. */
  #observeText(text: string): void {
    if (!looksLikeRead(text)) this.#looksReadOnly = false;
    if (!this.#looksReadOnly || this.#countBefore !== undefined) return;
    // The connection answers in order, so nobody has to wait for it here.
    this.#countBefore = this.#connection.run(this.#writeCount);
    this.#countBefore.catch(() => {});
  }

  async #send(method: Method, parameters: Parameters, text: string): Promise<unknown> {
    const client = this.#connection.client as unknown as Readonly<
      Record<Method, (...parameters: Parameters) => unknown>
    >;
    try {
      const answer = await client[method](...parameters);
      // What comes after the branch ended from inside was written outside of it.
      if (transactionFlags(answer).includes(false)) throw this.tamper('the end of the branch');
      this.#observeSavepoint(text);
      return answer;
    } catch (error) {
      if (errnoOf(error) === ERRNO.xaWrongState) this.tamper('a statement that ends transactions');
      this.#errors.push(error);
      throw error;
    }
  }

  #observeSavepoint(text: string): void {
    const set = savepointIn(text);
    if (set !== undefined) this.#savepoints.set(set, this.#errors.length);
    // The server still knew the savepoint: it had not rolled back the whole transaction.
    const count = this.#savepoints.get(rollbackTargetIn(text) ?? '');
    if (count !== undefined && set === undefined) this.#errors.length = count;
  }

  #track<T>(answer: Promise<T>): Promise<T> {
    const { promise, resolve, reject } = deferred<T>();
    this.#underWay.set(promise, reject);
    const done = (): void => {
      this.#underWay.delete(promise);
    };
    promise.then(done, done);
    answer.then(resolve, reject);
    return promise;
  }
}

function textOf(options: unknown): string {
  if (typeof options === 'string') return options;
  const sql = (options as { readonly sql?: unknown } | null | undefined)?.sql;
  return typeof sql === 'string' ? sql : '';
}

function tamperedError(
  participant: string,
  statement: string,
): CoordinationError<'BRANCH_TAMPERED'> {
  return new CoordinationError(
    'BRANCH_TAMPERED',
    `${statement} inside the branch of mysql "${participant}": the branch ends with its ` +
      'transaction; leave COMMIT, ROLLBACK, XA, release() and what commits implicitly out of it, ' +
      'and use SAVEPOINT for a part',
    { participant, statement },
  );
}
