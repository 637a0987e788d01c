import mysql from 'mysql2/promise';
import { newTransactionId } from 'tricord';
import { type MysqlBranchClient, mysqlParticipant, setupSql } from 'tricord/mysql';
import { systemClock } from '../../src/core/clock.js';
import type { Branch, Participant } from '../../src/transaction/participant.js';

type Handle = MysqlBranchClient<mysql.Pool>;
type Row = Record<string, unknown>;

export interface MysqlStage {
  readonly pool: mysql.Pool;
  readonly participant: Participant<Handle>;
  /** Begins a branch of a transaction of its own. */
  begin(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<StagedMysqlBranch>;
  /** Runs one statement outside every branch. */
  sql(text: string, values?: unknown[]): Promise<Row[]>;
  /** Branches of this participant that are prepared now. */
  prepared(): Promise<string[]>;
  /** Gives up what a test left open, and what it left prepared. */
  sweep(): Promise<void>;
  close(): Promise<void>;
}

export interface StagedMysqlBranch {
  readonly branch: Branch<Handle>;
  readonly db: Handle;
  readonly branchId: string;
}

export interface MysqlStageOptions {
  max?: number;
  callTimeoutMs?: number;
  adminUrl?: string;
  name?: string;
  pool?: mysql.PoolOptions;
}

/** A participant on a database with tricord's tables, and a second pool that looks at what it does. */
export async function mysqlStage(
  uri: string,
  options: MysqlStageOptions = {},
): Promise<MysqlStage> {
  const { max = 4, callTimeoutMs, adminUrl = uri, name = 'orders' } = options;
  const pool = mysql.createPool({ uri, connectionLimit: max, ...options.pool });
  const admin = mysql.createPool({ uri: adminUrl, connectionLimit: 2, multipleStatements: true });
  await admin.query(setupSql());
  const participant = mysqlParticipant({ name, pool, callTimeoutMs });
  // Looks from outside, whatever happens to the pool.
  const observer = mysqlParticipant({ name, pool: admin });
  const open = new Set<Branch<Handle>>();
  const prepared = async () => (await observer.recover()).map(({ branchId }) => branchId);
  return {
    pool,
    participant,
    prepared,
    async sql(text, values) {
      const [rows] = await admin.query<mysql.RowDataPacket[]>(text, values);
      return rows;
    },
    async begin({ timeoutMs = 10_000, signal = new AbortController().signal } = {}) {
      const transactionId = newTransactionId('order:1', 'stage');
      const branchId = `${transactionId}.1`;
      const context = { transactionId, branchId, timeoutMs, signal, clock: systemClock };
      const branch = await participant.enlist(context);
      open.add(branch);
      return { branch, db: branch.handle, branchId };
    },
    async sweep() {
      await Promise.allSettled([...open].map((branch) => branch.abort()));
      open.clear();
      for (const branchId of await prepared()) await observer.abort({ branchId, evidence: '' });
    },
    async close() {
      await participant.close();
      await observer.close();
      await Promise.all([pool.end(), admin.end()]);
    },
  };
}
