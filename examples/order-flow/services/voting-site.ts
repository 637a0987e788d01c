import { Pool } from 'pg';
import { createTransactionSite, type TransactionSite } from 'tricord';
import { postgresSiteStorage, setupSql } from 'tricord/postgres';
import { createDatabase, dropDatabase } from '../../../test/servers/postgresql.js';
import type { Cleanup } from '../cleanup.js';
import type { Cords } from '../cords.js';
import type { ServiceSetup } from './service.js';

/** What a process has for three-phase commit. */
export interface VotingSite {
  /** For the coordinator or the served name of this process; undefined with two-phase commit. */
  readonly site: TransactionSite | undefined;
  close(): Promise<void>;
}

/** A site that voted yes asks the others after so long without a word. */
const ELECTION_MS = 1_000;
const CONNECTIONS = 4;

/**
 * The site of this process. It has the process's name, so that a new process under the name takes up
 * what a dead one left; and a pool of its own, because votes wait for nobody else's work.
 */
export async function openVotingSite(setup: ServiceSetup, cords: Cords): Promise<VotingSite> {
  if (setup.protocol === 'two-phase') return { site: undefined, close: async () => {} };
  const pool = new Pool({
    connectionString: setup.votes[setup.role],
    max: CONNECTIONS,
  });
  pool.on('error', () => {});
  const site = createTransactionSite({
    name: setup.node,
    namespace: setup.namespace,
    transport: cords.transport,
    storage: postgresSiteStorage({ pool }),
    electionMs: ELECTION_MS,
  });
  await site.ready;
  return {
    site,
    async close() {
      await site.close();
      await pool.end();
    },
  };
}

/**
 * Where each service keeps its votes: in its own database, in tables that are made here. The catalog has
 * nothing else to keep, and gets one for them.
 */
export async function openVotes(
  protocol: ServiceSetup['protocol'],
  { stock, payments: payment, orders: order }: ServiceSetup['databases'],
  cleanup: Cleanup,
): Promise<ServiceSetup['votes']> {
  if (protocol === 'two-phase') return { catalog: '', stock, payment, order };
  const catalog = await createDatabase(order, 'tricord_catalog');
  cleanup.add(() => dropDatabase(catalog));
  const votes = { catalog, stock, payment, order };
  await prepareVotes(votes);
  return votes;
}

async function prepareVotes(votes: ServiceSetup['votes']): Promise<void> {
  for (const connectionString of Object.values(votes)) {
    const pool = new Pool({ connectionString, max: 1 });
    await pool.query(setupSql());
    await pool.end();
  }
}
