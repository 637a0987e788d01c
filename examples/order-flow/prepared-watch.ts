import { Client } from 'pg';
import { parseTransactionId, type TransactionId } from 'tricord';
import type { Databases } from './postgres-stores.js';

/** A branch that PostgreSQL holds prepared, seen from outside. */
export interface SeenBranch {
  readonly store: string;
  readonly branchId: string;
  readonly transactionId: TransactionId;
}

/** Looks into PostgreSQL by itself, without the library. */
export interface PreparedWatch extends AsyncDisposable {
  prepared(): Promise<readonly SeenBranch[]>;
  /** Whether a node's connections are gone from the server. */
  isDisconnected(node: string): Promise<boolean>;
}

const PREPARED = 'select gid, database from pg_prepared_xacts where database = any($1)';
const CONNECTED =
  'select 1 from pg_stat_activity where application_name = $1 and datname = any($2)';

export async function watchPrepared(databases: Databases): Promise<PreparedWatch> {
  const storeOf = new Map(Object.entries(databases).map(([store, url]) => [nameOf(url), store]));
  const client = new Client({ connectionString: databases.orders });
  // The server may end before the watch does; its next query tells.
  client.on('error', () => {});
  await client.connect();
  const names = [...storeOf.keys()];
  return {
    async prepared() {
      const { rows } = await client.query<{ gid: string; database: string }>(PREPARED, [names]);
      return rows.flatMap(({ gid, database }) => {
        // The branch's id is the transaction's, a dot and a number.
        const transactionId = gid.slice(0, gid.lastIndexOf('.'));
        if (parseTransactionId(transactionId) === undefined) return [];
        const store = storeOf.get(database) ?? database;
        return [{ store, branchId: gid, transactionId: transactionId as TransactionId }];
      });
    },
    async isDisconnected(node) {
      const { rowCount } = await client.query(CONNECTED, [node, names]);
      return rowCount === 0;
    },
    [Symbol.asyncDispose]: () => client.end(),
  };
}

const nameOf = (url: string): string => decodeURIComponent(new URL(url).pathname.slice(1));
