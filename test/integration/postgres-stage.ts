import pg from 'pg';
import { newTransactionId } from 'tricord';
import { type PostgresBranchClient, postgresParticipant } from 'tricord/postgres';
import { systemClock } from '../../src/core/clock.js';
import type { Branch, Participant } from '../../src/transaction/participant.js';

type Handle = PostgresBranchClient<pg.Pool>;

export interface PostgresStage {
  readonly pool: pg.Pool;
  readonly participant: Participant<Handle>;
  /** Begins a branch of a transaction of its own. */
  begin(options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<StagedBranch>;
  /** Runs one statement outside every branch. */
  sql(text: string, values?: unknown[]): Promise<pg.QueryResult>;
  /** Ids of what is prepared in this database now. */
  prepared(): Promise<string[]>;
  /** Gives up what a test left open, and what it left prepared. */
  sweep(): Promise<void>;
  close(): Promise<void>;
}

export interface StagedBranch {
  readonly branch: Branch<Handle>;
  readonly db: Handle;
  readonly branchId: string;
}

/** A participant on a database, and a second connection that looks at what it does. */
export function postgresStage(
  connectionString: string,
  options: { max?: number; callTimeoutMs?: number; adminUrl?: string } = {},
): PostgresStage {
  const { max = 4, callTimeoutMs, adminUrl = connectionString } = options;
  const pool = new pg.Pool({ connectionString, max });
  const admin = new pg.Pool({ connectionString: adminUrl, max: 2 });
  for (const each of [pool, admin]) each.on('error', () => {});
  const participant = postgresParticipant({ name: 'orders', pool, callTimeoutMs });
  const sql = (text: string, values?: unknown[]) => admin.query(text, values);
  const open = new Set<Branch<Handle>>();
  const prepared = async () => {
    const { rows } = await sql(
      'select gid from pg_prepared_xacts where database = current_database()',
    );
    return rows.map(({ gid }) => gid);
  };
  return {
    pool,
    participant,
    sql,
    prepared,
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
      for (const gid of await prepared()) await sql(`rollback prepared '${gid}'`);
    },
    async close() {
      await participant.close();
      await Promise.all([pool.end(), admin.end()]);
    },
  };
}

/** Waits until a condition holds, at most for `timeoutMs`; nothing sleeps and hopes. */
export async function eventually(
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 10_000,
): Promise<void> {
  const startedAt = performance.now();
  while (!(await condition())) {
    if (performance.now() - startedAt > timeoutMs) {
      throw new Error(`not within ${timeoutMs} ms: ${condition}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
