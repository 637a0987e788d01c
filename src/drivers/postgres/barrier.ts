import { abortable } from '../../core/abort.js';
import { type Clock, elapsedMs, type Instant, instantOf, systemClock } from '../../core/clock.js';
import { CoordinationError } from '../../core/errors.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import { isOwnAnswer } from '../../transaction/backend-errors.js';
import type { Barrier, BarrierPassage, BarrierStep } from '../../transaction/barrier.js';
import { type BarrierState, barrierMove } from '../../transaction/barrier-machine.js';
import { branchEndedError } from '../../transaction/branch-errors.js';
import {
  assertPool,
  type PostgresBranchClient,
  type PostgresPool,
  type StatementResult,
} from './client.js';
import { type Connection, checkOut } from './connection.js';
import { resultUnknown, SQLSTATE, sqlState, unavailable, unsupported } from './errors.js';
import { type BranchWork, branchWork } from './handle.js';
import { textLiteral } from './literal.js';
import { literalOf } from './prepared.js';
import { guaranteesOf, readSettings } from './settings.js';
import { BARRIER_PART, BARRIER_VERSION, barrierTable } from './setup-barrier.js';
import { logTables, SCHEMA_DEFAULT } from './setup-sql.js';

/**
 * What the functions of a participant with a {@link postgresBarrier} work with: `query`, as in a
 * branch of {@link postgresParticipant}.
 *
 * @typeParam Pool - the type of the pool, usually `pg.Pool`.
 */
export type PostgresBarrierClient<Pool extends PostgresPool = PostgresPool> = Pick<
  PostgresBranchClient<Pool>,
  'query'
>;

/** Options of {@link postgresBarrier}. */
export interface PostgresBarrierOptions<Pool extends PostgresPool = PostgresPool> {
  /** The service's own pool of the database that holds the barrier's table and the functions' data. */
  readonly pool: Pool;
  /** The schema of the table, as given to `setupSql`. Default `tricord`. */
  readonly schema?: string | undefined;
  /**
   * Rows of branches that ended are kept for so many milliseconds; a commit that is repeated later
   * finds nothing. Default 7 days.
   */
  readonly retainMs?: number | undefined;
  /** For tests. */
  readonly clock?: Clock | undefined;
}

const RETAIN_MS = 7 * 24 * 3_600_000;
const PRUNE_INTERVAL_MS = 60_000;
/** Recovery looks at so many at a time, the oldest first. */
const PREPARED_MAX = 3_000;
const SETUP = 'run the SQL that setupSql() of tricord/postgres answers, once, in this database';
/** A statement in a transaction that has failed. */
const FAILED_TRANSACTION = '25P02';
/** A table or schema is not there. */
const MISSING: ReadonlySet<string | undefined> = new Set(['42P01', '3F000']);

/**
 * A barrier in a table of PostgreSQL: a function gets a client of the local transaction in which its
 * effect is noted. It needs neither prepared transactions nor a long one: nothing is held between
 * prepare and commit but what prepare wrote.
 *
 * The client is as in {@link postgresParticipant}: COMMIT, ROLLBACK and `release()` are
 * BRANCH_TAMPERED. Needs the table `barrier` of {@link setupSql}.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed pool, schema or number.
 */
export function postgresBarrier<Pool extends PostgresPool>(
  options: PostgresBarrierOptions<Pool>,
): Barrier<PostgresBarrierClient<Pool>> {
  assertOptions(options, '{ pool }');
  const { pool, schema = SCHEMA_DEFAULT, retainMs = RETAIN_MS, clock = systemClock } = options;
  assertPool(pool);
  assertNumber('retainMs', retainMs, { min: 0 });
  const { versions } = logTables(schema);
  const barrier = new PostgresBarrier({ pool, schema, versions, retainMs, clock });
  // The client's queries are the pool's own by construction: the same connection answers both.
  return barrier as unknown as Barrier<PostgresBarrierClient<Pool>>;
}

interface CheckedOptions {
  readonly pool: PostgresPool;
  readonly schema: string;
  readonly versions: string;
  readonly retainMs: number;
  readonly clock: Clock;
}

type Client = PostgresBarrierClient<PostgresPool>;

class PostgresBarrier implements Barrier<Client> {
  readonly backend = 'postgres';
  readonly #options: CheckedOptions;
  readonly #table: string;
  #isChecked = false;
  #prunedAt: Instant;

  constructor(options: CheckedOptions) {
    this.#options = options;
    this.#table = barrierTable(options.schema);
    this.#prunedAt = instantOf(options.clock);
  }

  async pass(step: BarrierStep<Client>): Promise<BarrierPassage> {
    const { participant, event, branchId, signal } = step;
    literalOf(branchId);
    const connection = await this.#connect(`barrier ${event}`, signal);
    const work = branchWork(participant, connection.client);
    let passage: BarrierPassage;
    try {
      await this.#check(connection, signal);
      passage = await this.#move(step, connection, work);
    } catch (error) {
      work.close(() => branchEndedError(participant));
      await this.#undo(connection, signal);
      // What the server or the pool refused was the barrier's; anything else is the function's own.
      const own = sqlState(error) === FAILED_TRANSACTION ? (work.firstError ?? error) : error;
      throw isServerGone(own, connection) ? unavailable(this.backend, event, own) : own;
    }
    const tag = await this.#commit(connection, `${event} of branch ${branchId}`, signal);
    // In a failed transaction COMMIT rolls back, and says so by its tag alone.
    if (tag === 'COMMIT') return passage;
    throw work.firstError ?? new Error('the local transaction had failed, and was rolled back');
  }

  /** Within the local transaction: insert first, so that steps of one branch wait for each other. */
  async #move(
    step: BarrierStep<Client>,
    connection: Connection,
    work: BranchWork,
  ): Promise<BarrierPassage> {
    const { participant, branchId, event, signal } = step;
    const run = (text: string): Promise<readonly StatementResult[]> => connection.run(text, signal);
    await run(beginText(step.timeoutMs));
    const key = `participant = '${participant}' and branch_id = ${literalOf(branchId)}`;
    const isNew = event !== 'commit' && (await this.#insert(step, run));
    const found = isNew ? undefined : await this.#find(key, run);
    const { to, effects, answer } = barrierMove(found?.state, event);
    const payload = found?.payload ?? step.payload;
    // A statement that is kept back would be too late for the mark: it is not offered here.
    const { last: _, ...client } = work.handle;
    for (const effect of effects) {
      await abortable(step.perform(effect, client, payload), signal);
    }
    work.close(() => branchEndedError(participant));
    await abortable(work.idle(), signal);
    if (work.tampered !== undefined) throw work.tampered;
    const stored = isNew ? initialState(event) : found?.state;
    if (to !== undefined && to !== stored) await run(this.#update(key, to));
    return { answer, state: to };
  }

  /** Whether this step is the branch's first. Waits for another first step that is under way. */
  async #insert(
    { participant, branchId, event, payload }: BarrierStep<Client>,
    run: (text: string) => Promise<readonly StatementResult[]>,
  ): Promise<boolean> {
    const values = [
      `'${participant}'`,
      literalOf(branchId),
      `'${initialState(event)}'`,
      textLiteral(payload),
      'clock_timestamp()',
    ].join(', ');
    const [inserted] = await run(
      `insert into ${this.#table} (participant, branch_id, state, payload, noted_at) ` +
        `values (${values}) on conflict do nothing returning 1`,
    );
    return (inserted?.rows.length ?? 0) > 0;
  }

  async #find(
    key: string,
    run: (text: string) => Promise<readonly StatementResult[]>,
  ): Promise<{ readonly state: BarrierState; readonly payload: string } | undefined> {
    const [found] = await run(`select state, payload from ${this.#table} where ${key} for update`);
    const row = found?.rows[0];
    if (row === undefined) return undefined;
    return { state: stateIn(this.#table, row.state), payload: String(row.payload) };
  }

  #update(key: string, to: BarrierState): string {
    return `update ${this.#table} set state = '${to}', noted_at = clock_timestamp() where ${key}`;
  }

  /** Answers the command tag. */
  async #commit(
    connection: Connection,
    what: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    let ended: StatementResult | undefined;
    try {
      [ended] = await connection.run('commit', signal);
    } catch (error) {
      connection.destroy();
      // A deferred constraint fails here, and is the function's own; then nothing happened.
      const state = sqlState(error);
      if (state?.startsWith('23') === true && !connection.isBroken) throw error;
      throw resultUnknown(this.backend, what, error);
    }
    await this.#prune(connection, signal);
    connection.release();
    return ended?.command;
  }

  async #undo(connection: Connection, signal: AbortSignal): Promise<void> {
    try {
      await connection.run('rollback', signal);
      connection.release();
    } catch {
      connection.destroy();
    }
  }

  async prepared(
    participant: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly { readonly branchId: string; readonly ageMs: number }[]> {
    const [result] = await this.#read(
      'recover',
      `select branch_id, (extract(epoch from clock_timestamp() - noted_at) * 1000)::text as age_ms
        from ${this.#table} where participant = '${participant}' and state = 'prepared'
        order by noted_at limit ${PREPARED_MAX}`,
      options?.signal,
    );
    return (result?.rows ?? []).map((row) => ({
      branchId: String(row.branch_id),
      ageMs: Math.max(0, Number(row.age_ms)),
    }));
  }

  async state(
    participant: string,
    branchId: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<BarrierState | undefined> {
    const [result] = await this.#read(
      'outcome',
      `select state from ${this.#table} where participant = '${participant}' ` +
        `and branch_id = ${literalOf(branchId)}`,
      options?.signal,
    );
    const row = result?.rows[0];
    return row === undefined ? undefined : stateIn(this.#table, row.state);
  }

  async guarantees(
    participant: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<ReturnType<typeof guaranteesOf>> {
    const signal = options?.signal ?? new AbortController().signal;
    const connection = await this.#connect('guarantees', signal);
    try {
      await this.#check(connection, signal);
      const settings = await readSettings((text) => connection.run(text, signal));
      connection.release();
      const promises = [
        'each function takes effect once, in one local transaction with its mark',
        'a prepared branch waits for its decision across restarts of client and server',
      ];
      return { ...guaranteesOf(`postgres ${participant}`, settings), promises };
    } catch (error) {
      connection.destroy();
      throw isOwnAnswer(error, signal) ? error : unavailable(this.backend, 'guarantees', error);
    }
  }

  async close(): Promise<void> {}

  async #read(
    operation: string,
    text: string,
    given: AbortSignal | undefined,
  ): Promise<readonly StatementResult[]> {
    const signal = given ?? new AbortController().signal;
    const connection = await this.#connect(operation, signal);
    try {
      await this.#check(connection, signal);
      const results = await connection.run(text, signal);
      connection.release();
      return results;
    } catch (error) {
      connection.destroy();
      throw isOwnAnswer(error, signal) ? error : unavailable(this.backend, operation, error);
    }
  }

  async #connect(operation: string, signal: AbortSignal): Promise<Connection> {
    try {
      return await checkOut(this.#options.pool, signal);
    } catch (error) {
      throw unavailable(this.backend, operation, error);
    }
  }

  /** Once: whether the table is there, and of a version that this release knows. */
  async #check(connection: Connection, signal: AbortSignal): Promise<void> {
    if (this.#isChecked) return;
    const { versions } = this.#options;
    const text = `select version from ${versions} where part = '${BARRIER_PART}'`;
    let found: unknown;
    try {
      found = (await connection.run(text, signal))[0]?.rows[0]?.version;
    } catch (error) {
      if (!MISSING.has(sqlState(error))) throw error;
    }
    const facts = { setting: versions, needed: `${BARRIER_PART} ${BARRIER_VERSION}` };
    if (typeof found !== 'number' || found < BARRIER_VERSION) {
      throw unsupported(this.backend, { ...facts, found: String(found ?? 'no table') }, SETUP);
    }
    if (found > BARRIER_VERSION) throw upgradeNeeded(versions, found);
    this.#isChecked = true;
  }

  /** Deletes what nobody asks for any more, now and then, in passing; without it nothing is lost. */
  async #prune(connection: Connection, signal: AbortSignal): Promise<void> {
    const { clock, retainMs } = this.#options;
    if (elapsedMs(clock, this.#prunedAt) < PRUNE_INTERVAL_MS) return;
    this.#prunedAt = instantOf(clock);
    const text =
      `delete from ${this.#table} where ctid = any (array(select ctid from ${this.#table} ` +
      "where state <> 'prepared' and noted_at < clock_timestamp() - " +
      `interval '${Math.round(retainMs)} milliseconds' limit 10000 for update skip locked))`;
    await connection.run(text, signal).catch(() => {});
  }
}

const initialState = (event: BarrierStep<unknown>['event']): BarrierState =>
  event === 'abort' ? 'aborted' : 'prepared';

/**
 * A killed client's backend must not wait on in a row lock, or sit on its own, for ever. A shorter
 * limit of the service stays; 0 is none.
 */
function beginText(timeoutMs: number): string {
  const limit = Math.min(Math.ceil(timeoutMs), 2 ** 31 - 1);
  const names = "'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'";
  return (
    `begin; select set_config(name, least(nullif(setting::int, 0), ${limit})::text, true) ` +
    `from pg_settings where name in (${names})`
  );
}

function isServerGone(error: unknown, connection: Connection): boolean {
  const state = sqlState(error);
  return connection.isBroken || state === '57P01' || state === SQLSTATE.outOfMemory;
}

function stateIn(where: string, found: unknown): BarrierState {
  if (found === 'prepared' || found === 'committed' || found === 'aborted') return found;
  throw upgradeNeeded(where, String(found));
}

function upgradeNeeded(where: string, found: unknown): CoordinationError<'UPGRADE_NEEDED'> {
  const supported = String(BARRIER_VERSION);
  return new CoordinationError(
    'UPGRADE_NEEDED',
    `${where} has version ${found}, and this release of tricord reads ${supported}; upgrade tricord`,
    { where, found: String(found), supported },
  );
}
