import { type AbortSource, abortScope, sleep, throwIfAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import type { Clock } from '../../core/clock.js';
import { isCoordinationError } from '../../core/errors.js';
import type { DecisionLogNode } from '../../transaction/decision-log.js';
import type { PostgresPool, StatementResult } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { upgradeNeeded } from './decision-log-record.js';
import {
  DURABLE,
  type LogMessage,
  type LogStatements,
  logStatements,
} from './decision-log-statements.js';
import {
  messageOf,
  resultUnknown,
  SQLSTATE,
  sqlState,
  unavailable,
  unsupported,
} from './errors.js';
import { logTables, TABLES_VERSION } from './setup-sql.js';

/** The tables of a namespace's log and its bounded calls. */
export interface LogStore {
  readonly statements: LogStatements;
  /**
   * Sends a message, once. RESULT_UNKNOWN when its reply was lost; with any other error the server
   * did nothing.
   */
  once(message: LogMessage, signal?: AbortSource): Promise<readonly StatementResult[]>;
  /** The same, again while the reply is lost or others are in the way, until the signal or time-out. */
  ask(message: LogMessage, signal?: AbortSource): Promise<readonly StatementResult[]>;
  /** Waits between two attempts. */
  pause(attempt: number, signal?: AbortSource): Promise<void>;
}

interface StoreOptions {
  readonly pool: PostgresPool;
  readonly schema: string;
  readonly node: DecisionLogNode;
  readonly replyTimeoutMs: number;
  readonly stepTimeoutMs: number;
}

export const BACKEND = 'postgres';
const RETRY_BACKOFF = { baseMs: 20, maxMs: 500 };
/** Serialization failure, deadlock, lock time-out, statement time-out. */
const TRANSIENT: ReadonlySet<string | undefined> = new Set(['40001', '40P01', '55P03', '57014']);
/** The connection, or the server, ended with the message, which may have been committed just before. */
const ENDED = /^(?:08|25P|40003|57P|58|XX)/;
/** A table, schema or column is not there. */
const MISSING: ReadonlySet<string> = new Set(['42P01', '3F000', '42703']);
const SETUP = 'run the SQL that setupSql() answers, once, in this database';

/** The store of one namespace. */
export function logStore(options: StoreOptions): LogStore {
  const { pool, schema, node, replyTimeoutMs } = options;
  const { clock, random } = node;
  const statements = logStatements(logTables(schema), node.namespace);
  let isChecked = false;
  const plans = keptPlans();

  const sendAs = async (
    connection: Connection,
    message: LogMessage,
    signal: AbortSource,
  ): Promise<readonly StatementResult[]> => {
    const text = [...prelude(message, replyTimeoutMs), ...message.statements].join(';\n');
    const [, facts, ...results] = await connection.run(text, signal);
    if (facts?.rows[0]?.is_alone !== true) {
      throw new Error('the pool gave a connection that was inside a transaction of someone else');
    }
    return results;
  };
  const send = async (
    connection: Connection,
    message: LogMessage,
    signal: AbortSource,
  ): Promise<readonly StatementResult[]> => {
    const kept = plans.of(connection, message);
    if (kept === undefined) return sendAs(connection, message, signal);
    try {
      const results = await sendAs(connection, kept, signal);
      plans.note(connection);
      return results.slice(-message.statements.length);
    } catch (error) {
      // The session is not the one it was, behind a pooler for example; nothing was done in it.
      if (!plans.isLost(error)) throw error;
      return sendAs(connection, message, signal);
    }
  };
  const check = async (connection: Connection, signal: AbortSource): Promise<void> => {
    const [result] = await send(connection, statements.version, signal);
    assertVersion(schema, result?.rows[0]?.version);
    isChecked = true;
  };
  const once = async (
    message: LogMessage,
    signal?: AbortSource,
  ): Promise<readonly StatementResult[]> => {
    throwIfAborted(signal);
    using scope = abortScope({ clock, parents: [signal], timeoutMs: replyTimeoutMs });
    const { operation } = message;
    let connection: Connection;
    try {
      connection = await checkOut(pool, scope);
    } catch (error) {
      throw unavailable(BACKEND, operation, error);
    }
    let isSent = false;
    try {
      if (!isChecked) await check(connection, scope);
      isSent = true;
      const results = await send(connection, message, scope);
      connection.release();
      return results;
    } catch (error) {
      // Whatever went wrong: what this connection is in the middle of is no longer known.
      connection.destroy();
      throw failureOf(operation, error, { schema, isSent });
    }
  };
  const pause = (attempt: number, signal?: AbortSource): Promise<void> =>
    sleep(clock, backoffMs(attempt, RETRY_BACKOFF, random), { signal });
  return {
    statements,
    once,
    pause,
    ask: (message, signal) =>
      askAgain({ clock, timeoutMs: options.stepTimeoutMs, once, pause }, message, signal),
  };
}

/** Sends a message again while its reply is lost or others are in the way. */
async function askAgain(
  {
    clock,
    timeoutMs,
    once,
    pause,
  }: Pick<LogStore, 'once' | 'pause'> & {
    readonly clock: Clock;
    readonly timeoutMs: number;
  },
  message: LogMessage,
  signal: AbortSource | undefined,
): Promise<readonly StatementResult[]> {
  throwIfAborted(signal);
  using scope = abortScope({ clock, parents: [signal], timeoutMs });
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await once(message, scope);
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      if (scope.aborted) throw resultUnknown(BACKEND, message.operation, error);
      if (!isCoordinationError(error, 'RESULT_UNKNOWN') && !isTransient(error)) throw error;
      // When the time ends here, the next attempt says so.
      await pause(attempt, scope).catch(() => {});
    }
  }
}

/** Whether the server undid a message because others were in its way: sent again it may succeed. */
export function isTransient(error: unknown): boolean {
  return isCoordinationError(error, 'BACKEND_UNAVAILABLE') && TRANSIENT.has(sqlState(error.cause));
}

/**
 * A plan that is made while the tables are empty must still do when they are full: it goes by the
 * indexes, which is what a decision of few rows needs at any size.
 */
const PLANNED_ONCE = `,
      set_config('plan_cache_mode', 'force_generic_plan', true),
      set_config('enable_seqscan', 'off', true)`;

/** Which sessions know the statements that messages prepare. */
function keptPlans(): {
  /** The message in its prepared form, with the declarations where the session lacks them. */
  of(connection: Connection, message: LogMessage): LogMessage | undefined;
  /** The session has them now. */
  note(connection: Connection): void;
  /** Whether an error says that sessions do not keep what they are told; from then on none is used. */
  isLost(error: unknown): boolean;
} {
  const knowing = new WeakSet<object>();
  let isKept = true;
  return {
    of({ client }, { operation, prepared }) {
      if (!isKept || prepared === undefined) return undefined;
      const { declarations, statements } = prepared;
      const missing = knowing.has(client) ? [] : declarations;
      return { operation, statements: [...missing, ...statements], prepared };
    },
    note({ client }) {
      knowing.add(client);
    },
    isLost(error) {
      const state = sqlState(error);
      if (state !== '26000' && state !== '42P05') return false;
      isKept = false;
      return true;
    },
  };
}

/**
 * The message is one simple query, which the server runs as one transaction: an error undoes all of
 * it, and no reply to any of it comes before the commit. READ COMMITTED, because what waited for a row
 * must see what it waited for; READ WRITE, because a standby refuses that.
 *
 * A transaction begins with its message (`now() = statement_timestamp()`), unless the connection was
 * inside another one, whose end would then decide over ours.
 */
function prelude({ isLazy = false, prepared }: LogMessage, timeoutMs: number): readonly string[] {
  const limit = String(Math.max(1, Math.ceil(timeoutMs)));
  return [
    'set transaction isolation level read committed, read write',
    `select now() = statement_timestamp() as is_alone,
      set_config('synchronous_commit', ${isLazy ? "'off'" : DURABLE}, true),
      set_config('lock_timeout', '${limit}', true),
      set_config('statement_timeout', '${limit}', true)${prepared === undefined ? '' : PLANNED_ONCE}`,
  ];
}

function assertVersion(schema: string, found: unknown): void {
  const where = `${schema}.versions`;
  if (found === undefined || Number(found) < TABLES_VERSION) {
    const facts = { setting: where, found: String(found ?? 'no version') };
    throw unsupported(BACKEND, { ...facts, needed: String(TABLES_VERSION) }, SETUP);
  }
  if (Number(found) > TABLES_VERSION) {
    throw upgradeNeeded(where, String(found), String(TABLES_VERSION));
  }
}

function failureOf(
  operation: string,
  error: unknown,
  { schema, isSent }: { readonly schema: string; readonly isSent: boolean },
): Error {
  if (isCoordinationError(error)) return error;
  const state = sqlState(error);
  if (state === undefined || ENDED.test(state)) {
    return isSent
      ? resultUnknown(BACKEND, operation, error)
      : unavailable(BACKEND, operation, error);
  }
  const found = messageOf(error);
  if (MISSING.has(state)) {
    const facts = { setting: `schema ${schema}`, found, needed: 'the tables of the decision log' };
    return unsupported(BACKEND, facts, SETUP, error);
  }
  if (state === SQLSTATE.featureNotSupported) {
    const facts = { setting: 'pg_is_in_recovery()', found, needed: 'the primary' };
    return unsupported(BACKEND, facts, 'connect the pool to the primary, not to a standby', error);
  }
  if (state === SQLSTATE.insufficientPrivilege) {
    const facts = { setting: 'role', found, needed: 'the grants that setupSql() documents' };
    return unsupported(BACKEND, facts, 'grant them to the role of the service', error);
  }
  return unavailable(BACKEND, operation, error);
}
