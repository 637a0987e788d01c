import type { Guarantees } from '../../core/guarantees.js';
import { parseTransactionId } from '../../core/ids.js';
import { assertNumber, assertOptions, invalidArgument } from '../../core/validate.js';
import type {
  DecisionLog,
  DecisionLogNode,
  DecisionLogSession,
  IncarnationStatus,
  LogCallOptions,
} from '../../transaction/decision-log.js';
import {
  type HeartbeatLogSettings,
  heartbeatLogSession,
  heartbeatLogSettings,
  LOG_STEP_TIMEOUT_MS,
  type LogStep,
} from '../../transaction/log-session.js';
import { assertPool, type PostgresPool } from './client.js';
import { decisionSteps } from './decision-log-decider.js';
import { logGuarantees } from './decision-log-guarantees.js';
import { logKeys } from './decision-log-keys.js';
import { decodeRecord } from './decision-log-record.js';
import { BACKEND, type LogStore, logStore } from './decision-log-store.js';
import { unsupported } from './errors.js';
import { readSettings } from './settings.js';
import { logTables, SCHEMA_DEFAULT } from './setup-sql.js';

/** Options of {@link postgresTransactions}. */
export interface PostgresTransactionsOptions {
  /**
   * A `pg` pool of the log's database, best one of its own: behind branches that wait for a connection
   * a heartbeat may come too late, and the node be fenced. 5 connections are plenty. Never closed.
   */
  readonly pool: PostgresPool;
  /** The schema in which {@link setupSql} created the tables: `[a-z0-9_]`. Default `tricord`. */
  readonly schema?: string | undefined;
  /**
   * Names this log inside transaction ids, so that a branch found in a database leads here: 1 to 8 of
   * `[A-Za-z0-9_-]`. Stable for ever; two logs of one service need two names. Default `pg`.
   */
  readonly authority?: string | undefined;
  /**
   * Decisions of one incarnation that participants have not acknowledged; from about here on (up to
   * 100 more when decisions race) LOG_FULL. Default 10,000.
   */
  readonly unacknowledgedMax?: number | undefined;
  /**
   * For how long a record stays after its last acknowledgement, in milliseconds: a fail-over of a
   * *participant* can bring back a branch that was committed. Default 86,400,000 (24 hours).
   */
  readonly recordRetainMs?: number | undefined;
  /** A node counts as silent, and may be fenced, after so many milliseconds without a sign. Default 10,000. */
  readonly livenessTimeoutMs?: number | undefined;
  /**
   * How long a connection, one reply and, in the server, a lock or a statement are awaited, in
   * milliseconds, before the step is sent again. Default 2,000.
   */
  readonly replyTimeoutMs?: number | undefined;
}

const REPLY_TIMEOUT_MS = 2_000;
/** PostgreSQL's own bound of a time-out in milliseconds. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;
/** So many rows of a table are looked at in one call of prune. */
const PRUNE_ROWS_MAX = 1_000;
/** `limit` is a bigint; more than this is asked for by nobody. */
const LIST_MAX = 1_000_000;
const VERSION_MIN = 130_000;
const SUBJECT = 'postgres transactions';

/**
 * The decision log in tables of PostgreSQL (13 or newer), which {@link setupSql} creates: nothing is
 * created silently, and without them every step is refused with BACKEND_UNSUPPORTED.
 *
 * **Which database.** One that every node of the service reaches and that is there whenever the service
 * is to decide: its loss stops commits and recovery. It may be a participant's database (its pool
 * should still be another one) or one of its own; always the primary, never a standby, and for ever
 * the same: a decision that is looked for in another database, or in a copy restored from a backup,
 * counts as an abort. Two databases with a log need two `authority` names.
 *
 * A decision is one message and one transaction: the record is inserted where the incarnation is not
 * fenced, under a lock of the incarnation's row that a fence must wait for. Decisions of one tick
 * travel together; two messages are under way at most, and what is decided meanwhile gathers for
 * the next. Every decision runs with `synchronous_commit` on, or stronger if the session has it, so
 * that it survives a loss of power with `fsync` and `full_page_writes` on (`guarantees()` refuses
 * others), and a fail-over with `synchronous_standby_names` set.
 *
 * Every message may be sent twice. A lost reply is sent again until the truth is known or the time is
 * up (RESULT_UNKNOWN); a connection in an unknown state is closed. Times are the server's.
 *
 * The protocol is presumed abort (Mohan, Lindsay and Obermarck, "Transaction Management in the R*
 * Distributed Database Management System", 1986) with incarnation fencing in place of a local log.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed pool, name or number.
 */
export function postgresTransactions(options: PostgresTransactionsOptions): DecisionLog {
  assertOptions(options, '{ pool }');
  const { pool, schema = SCHEMA_DEFAULT } = options;
  assertPool(pool);
  logTables(schema);
  const defaults = {
    authority: 'pg',
    replyTimeoutMs: REPLY_TIMEOUT_MS,
    replyTimeoutMsMax: TIMEOUT_MS_MAX,
  };
  const settings = { pool, schema, ...heartbeatLogSettings(options, defaults) };
  const { authority } = settings;
  return { backend: BACKEND, authority, open: (node) => openSession(settings, node) };
}

interface LogSettings extends HeartbeatLogSettings {
  readonly pool: PostgresPool;
  readonly schema: string;
}

function openSession(settings: LogSettings, node: DecisionLogNode): DecisionLogSession {
  const store = logStore({ ...settings, node, stepTimeoutMs: LOG_STEP_TIMEOUT_MS });
  const { statements } = store;
  const steps = decisionSteps(store, settings.unacknowledgedMax);
  const { step, session } = heartbeatLogSession({
    node,
    settings,
    steps,
    async register(incarnation, signal) {
      const [registered] = await store.ask(statements.register(incarnation, node.nodeId), signal);
      return registered?.rows.length === 1 ? 'live' : 'fenced';
    },
  });
  return {
    ...session,
    decideWithin: (incarnation, record, run) =>
      step(undefined, () => steps.decideWithin(incarnation, record, run)),
    settle: (incarnation, { transactionId }, options) =>
      step(options, async () => {
        const results = await store.ask(
          statements.settle(incarnation, transactionId),
          options?.signal,
        );
        return results.at(-1)?.rows[0]?.is_abort === false ? 'committed' : 'aborted';
      }),
    fence: (incarnation, options) =>
      step(options, async () => {
        await store.ask(statements.fence(incarnation), options?.signal);
      }),
    ...logReads(settings, store, step),
    ...logKeys({ store, table: logTables(settings.schema).keys, namespace: node.namespace }, step),
    guarantees: (options) => step(options, () => readGuarantees(store, options)),
  };
}

/** What every node may ask of the log, and its housekeeping. */
function logReads(
  { livenessTimeoutMs, recordRetainMs }: LogSettings,
  store: LogStore,
  step: LogStep,
): Pick<DecisionLogSession, 'find' | 'incarnations' | 'unacknowledged' | 'prune'> {
  const { statements } = store;
  return {
    find: (transactionId, options) =>
      step(options, async () => {
        if (parseTransactionId(transactionId) === undefined) {
          throw invalidArgument('transactionId', transactionId, 'an id made by transactionId()');
        }
        const [result] = await store.ask(statements.find(transactionId), options?.signal);
        const [row] = result?.rows ?? [];
        return row === undefined ? undefined : decodeRecord(row);
      }),
    incarnations: (options) =>
      step(options, async () => {
        const [result] = await store.ask(statements.incarnations, options?.signal);
        return (result?.rows ?? []).map((row) => statusOf(row, livenessTimeoutMs));
      }),
    unacknowledged: (incarnation, limit, options) =>
      step(options, async () => {
        assertNumber('limit', limit, { min: 0, integer: true });
        const message = statements.unacknowledged(incarnation, Math.min(limit, LIST_MAX));
        const [result] = await store.ask(message, options?.signal);
        return (result?.rows ?? []).map(decodeRecord);
      }),
    prune: (options) =>
      step(options, async () => {
        await store.ask(statements.prune(recordRetainMs, PRUNE_ROWS_MAX), options?.signal);
      }),
  };
}

function statusOf(
  row: Readonly<Record<string, unknown>>,
  livenessTimeoutMs: number,
): IncarnationStatus {
  // Without a heartbeat, or a node, it was never registered: only fenced.
  const isLive = row.heard_ms !== null && Number(row.heard_ms) < livenessTimeoutMs;
  return {
    incarnation: String(row.incarnation),
    nodeId: row.node === null ? '' : String(JSON.parse(String(row.node))),
    state: row.is_fenced === true ? 'fenced' : isLive ? 'live' : 'silent',
    unacknowledgedCount: Number(row.open_count),
  };
}

async function readGuarantees(
  store: LogStore,
  options: LogCallOptions | undefined,
): Promise<Guarantees> {
  const settings = await readSettings((text) =>
    store.ask({ operation: 'read the settings', statements: [text] }, options?.signal),
  );
  if (!(settings.versionNumber >= VERSION_MIN)) {
    const facts = { setting: 'server_version', found: settings.version, needed: '13 or newer' };
    throw unsupported(BACKEND, facts, 'upgrade the server');
  }
  return logGuarantees(SUBJECT, settings);
}
