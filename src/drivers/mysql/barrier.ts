import { abortable } from '../../core/abort.js';
import { type Clock, elapsedMs, type Instant, instantOf, systemClock } from '../../core/clock.js';
import type { Guarantees } from '../../core/guarantees.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import { isOwnAnswer } from '../../transaction/backend-errors.js';
import type { Barrier, BarrierPassage, BarrierStep } from '../../transaction/barrier.js';
import { type BarrierState, barrierMove } from '../../transaction/barrier-machine.js';
import { branchEndedError } from '../../transaction/branch-errors.js';
import type { ParticipantCallOptions, PreparedBranch } from '../../transaction/participant.js';
import { assertPool, type MysqlBranchClient, type MysqlPool, type MysqlResult } from './client.js';
import { type Connection, checkOut } from './connection.js';
import { deadlineSql, restoreSql } from './deadline.js';
import { resultUnknown, unavailable } from './errors.js';
import { type ServerFacts, serverFacts } from './server.js';
import { guaranteesOf } from './settings.js';
import { BARRIER_TABLE } from './setup-sql.js';
import { branchWork } from './work.js';

/** Options of {@link mysqlBarrier}. */
export interface MysqlBarrierOptions<Pool extends MysqlPool = MysqlPool> {
  /** The service's own `mysql2/promise` pool of the database that holds the barrier's table. */
  readonly pool: Pool;
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
const PREPARED_MAX = 3_000;
const INSERT = `insert ignore into ${BARRIER_TABLE}
  (participant, branch_id, state, payload, noted_at) values (?, ?, ?, ?, utc_timestamp(6))`;
const FIND = `select state, payload from ${BARRIER_TABLE}
  where participant = ? and branch_id = ? for update`;
const UPDATE = `update ${BARRIER_TABLE} set state = ?, noted_at = utc_timestamp(6)
  where participant = ? and branch_id = ?`;
const STATE = `select state from ${BARRIER_TABLE} where participant = ? and branch_id = ?`;
const PREPARED = `select branch_id, timestampdiff(microsecond, noted_at, utc_timestamp(6)) / 1000
  from ${BARRIER_TABLE} where participant = ? and state = 'prepared'
  order by noted_at limit ${PREPARED_MAX}`;
const PRUNE = `delete from ${BARRIER_TABLE} where participant = ? and state <> 'prepared' and
  noted_at < utc_timestamp(6) - interval ? microsecond limit 10000`;

/**
 * A barrier in a table of MariaDB or MySQL: a function gets a client of the local transaction in which
 * its effect is noted. It needs no XA and no special privilege.
 *
 * The client is as in {@link mysqlParticipant}: every error of a statement makes the step fail, and
 * COMMIT, ROLLBACK and what commits implicitly are BRANCH_TAMPERED. Needs the table `tricord_barrier`
 * of {@link setupSql}.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed pool or number.
 */
export function mysqlBarrier<Pool extends MysqlPool>(
  options: MysqlBarrierOptions<Pool>,
): Barrier<MysqlBranchClient<Pool>> {
  assertOptions(options, '{ pool }');
  const { pool, retainMs = RETAIN_MS, clock = systemClock } = options;
  assertPool(pool);
  assertNumber('retainMs', retainMs, { min: 0 });
  // The client's methods are the pool's own by construction: the same connection answers both.
  return new MysqlBarrier(pool, retainMs, clock) as unknown as Barrier<MysqlBranchClient<Pool>>;
}

type Client = MysqlBranchClient<MysqlPool>;
type Run = (sql: string, values?: readonly unknown[]) => Promise<MysqlResult>;

class MysqlBarrier implements Barrier<Client> {
  readonly backend = 'mysql';
  readonly #pool: MysqlPool;
  readonly #retainMs: number;
  readonly #clock: Clock;
  readonly #server: ServerFacts;
  #prunedAt: Instant;

  constructor(pool: MysqlPool, retainMs: number, clock: Clock) {
    this.#pool = pool;
    this.#retainMs = retainMs;
    this.#clock = clock;
    this.#server = serverFacts(this.backend, clock);
    this.#prunedAt = instantOf(clock);
  }

  async pass(step: BarrierStep<Client>): Promise<BarrierPassage> {
    const { event, branchId, signal } = step;
    const connection = await this.#connect(event, signal);
    const run: Run = (sql, values) => connection.run(sql, values, signal);
    let passage: BarrierPassage;
    try {
      const { flavour } = await this.#server.inspect(connection, signal);
      await run(deadlineSql(flavour, step.timeoutMs));
      passage = await this.#move(step, connection, run);
    } catch (error) {
      // Whatever it was: the server undoes what was open on a connection that ends.
      connection.destroy();
      throw connection.isBroken ? unavailable(this.backend, event, error) : error;
    }
    try {
      await run('commit');
    } catch (error) {
      connection.destroy();
      throw resultUnknown(this.backend, `${event} of branch ${branchId}`, error);
    }
    await this.#giveBack(step.participant, connection, run);
    return passage;
  }

  /** Within the local transaction: insert first, so that steps of one branch wait for each other. */
  async #move(
    step: BarrierStep<Client>,
    connection: Connection,
    run: Run,
  ): Promise<BarrierPassage> {
    const { participant, branchId, event, signal } = step;
    const { flavour } = await this.#server.inspect(connection, signal);
    const key = [participant, branchId];
    const initial = event === 'abort' ? 'aborted' : 'prepared';
    await run('rollback');
    await run('start transaction');
    const isNew =
      event !== 'commit' && (await run(INSERT, [...key, initial, step.payload])).affectedRows === 1;
    const { rows } = isNew ? { rows: [] } : await run(FIND, key);
    const found = rows[0] === undefined ? undefined : (String(rows[0][0]) as BarrierState);
    const payload = rows[0] === undefined ? step.payload : String(rows[0][1]);
    const { to, effects, answer } = barrierMove(found, event);
    const work = branchWork(participant, connection, flavour);
    for (const effect of effects) {
      await abortable(step.perform(effect, work.handle, payload), signal);
    }
    work.close(() => branchEndedError(participant));
    await abortable(work.idle(), signal);
    // After a lock time-out COMMIT succeeds, with the statement missing.
    const failure = work.tampered ?? work.firstError;
    if (failure !== undefined) throw failure;
    const stored = isNew ? initial : found;
    if (to !== undefined && to !== stored) await run(UPDATE, [to, ...key]);
    return { answer, state: to };
  }

  async prepared(
    participant: string,
    options?: ParticipantCallOptions,
  ): Promise<readonly PreparedBranch[]> {
    const { rows } = await this.#read('recover', options, (run) => run(PREPARED, [participant]));
    return rows.map(([id, ageMs]) => ({
      branchId: String(id),
      ageMs: Math.max(0, Number(ageMs)),
    }));
  }

  async state(
    participant: string,
    branchId: string,
    options?: ParticipantCallOptions,
  ): Promise<BarrierState | undefined> {
    const key = [participant, branchId];
    const { rows } = await this.#read('outcome', options, (run) => run(STATE, key));
    return rows[0]?.[0] as BarrierState | undefined;
  }

  async guarantees(participant: string, options?: ParticipantCallOptions): Promise<Guarantees> {
    return this.#read('guarantees', options, async (_, connection, signal) => {
      const settings = await this.#server.read(connection, signal);
      const promises = [
        'each function takes effect once, in one local transaction with its mark',
        'a prepared branch waits for its decision across restarts of client and server',
      ];
      return { ...guaranteesOf(`mysql ${participant}`, settings), promises };
    });
  }

  async close(): Promise<void> {}

  async #read<T>(
    operation: string,
    options: ParticipantCallOptions | undefined,
    use: (run: Run, connection: Connection, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const signal = options?.signal ?? new AbortController().signal;
    const connection = await this.#connect(operation, signal);
    const run: Run = (sql, values) => connection.run(sql, values, signal);
    try {
      await this.#server.inspect(connection, signal);
      const answer = await use(run, connection, signal);
      // With autocommit off, looking at a table has begun a transaction.
      await run('rollback');
      connection.release();
      return answer;
    } catch (error) {
      connection.destroy();
      throw isOwnAnswer(error, signal) ? error : unavailable(this.backend, operation, error);
    }
  }

  async #connect(operation: string, signal: AbortSignal): Promise<Connection> {
    try {
      return await checkOut(this.#pool, signal);
    } catch (error) {
      throw unavailable(this.backend, operation, error);
    }
  }

  /** Deletes old rows now and then, and gives the session its own limits back. */
  async #giveBack(participant: string, connection: Connection, run: Run): Promise<void> {
    try {
      if (elapsedMs(this.#clock, this.#prunedAt) >= PRUNE_INTERVAL_MS) {
        this.#prunedAt = instantOf(this.#clock);
        await run(PRUNE, [participant, Math.round(this.#retainMs * 1_000)]);
        await run('commit');
      }
      const { flavour } = await this.#server.inspect(connection, new AbortController().signal);
      await run(restoreSql(flavour));
      connection.release();
    } catch {
      // What the step did is committed; only its connection is of no more use.
      connection.destroy();
    }
  }
}
