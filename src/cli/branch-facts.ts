import type { PreparedBranch } from '../transaction/participant.js';
import { withTimeout } from './bounds.js';

/** What a server tells about a prepared branch beyond the branch itself. */
export interface BranchFacts {
  readonly blockedSessions?: number | undefined;
  readonly vacuumHorizon?: number | undefined;
}

/**
 * One row a prepared transaction of the database: the sessions that wait for it, directly or behind
 * one that does, and the transactions since its own. A prepared transaction blocks as process 0, so
 * its waiters are found by the lock on its transaction id, and theirs by `pg_blocking_pids`.
 */
const POSTGRES_FACTS = `
with recursive waiting (gid, pid) as (
  select p.gid, l.pid from pg_prepared_xacts p
    join pg_locks l on l.locktype = 'transactionid' and l.transactionid = p.transaction
    where not l.granted and p.database = current_database()
  union
  select w.gid, a.pid from waiting w
    join pg_stat_activity a on w.pid = any (pg_blocking_pids(a.pid))
)
select p.gid, age(p.transaction)::text as horizon,
  (select count(distinct pid) from waiting w where w.gid = p.gid)::text as blocked
from pg_prepared_xacts p where p.database = current_database()`;

/** Reads the facts through a participant's own pool, where it is one of PostgreSQL. */
export async function branchFacts(
  client: unknown,
  listed: readonly PreparedBranch[],
): Promise<ReadonlyMap<string, BranchFacts>> {
  if (listed.length === 0 || !isPostgresPool(client)) return new Map();
  const { rows } = await withTimeout('PostgreSQL', () => client.query(POSTGRES_FACTS));
  return new Map(
    rows.map(({ gid, horizon, blocked }) => [
      String(gid),
      { blockedSessions: Number(blocked), vacuumHorizon: Number(horizon) },
    ]),
  );
}

interface PostgresPool {
  query(text: string): Promise<{ readonly rows: readonly Record<string, unknown>[] }>;
  readonly totalCount: number;
}

/** Told apart from a pool of mysql2 by what it counts. */
function isPostgresPool(client: unknown): client is PostgresPool {
  return typeof client === 'object' && client !== null && 'totalCount' in client;
}
