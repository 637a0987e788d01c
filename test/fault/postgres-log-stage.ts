// A coordinator over two databases with its decisions in PostgreSQL, whose process may be killed.

import pg from 'pg';
import { createTransactionCoordinator, type TransactionCoordinator } from '../../src/index.js';
import { postgresParticipant, postgresTransactions } from '../../src/postgres.js';

export function poolOf(connectionString: string, max = 5): pg.Pool {
  const pool = new pg.Pool({ connectionString, max });
  // The service's own duty: a server that goes away breaks idle connections.
  pool.on('error', () => {});
  return pool;
}

export interface OrderDatabases {
  readonly logUrl: string;
  readonly ordersUrl: string;
  readonly paymentsUrl: string;
}

export interface OrderNode extends AsyncDisposable {
  readonly coordinator: TransactionCoordinator;
  /** Writes one row in both databases in one transaction. */
  place(id: number): ReturnType<TransactionCoordinator['run']>;
}

/** A coordinator over two databases, as a service would open it. The owner process uses it too. */
export function orderNode({ logUrl, ordersUrl, paymentsUrl }: OrderDatabases): OrderNode {
  const pools = [poolOf(ordersUrl), poolOf(paymentsUrl), poolOf(logUrl)] as const;
  const orders = postgresParticipant({ name: 'orders', pool: pools[0], callTimeoutMs: 1_500 });
  const payments = postgresParticipant({ name: 'payments', pool: pools[1], callTimeoutMs: 1_500 });
  const log = postgresTransactions({
    pool: pools[2],
    livenessTimeoutMs: 600,
    replyTimeoutMs: 500,
  });
  const coordinator = createTransactionCoordinator({
    log,
    participants: [orders, payments],
    sweepMs: 50,
    requireGuarantee: 'power-loss',
  });
  return {
    coordinator,
    place: (id) =>
      coordinator.run({ resourceId: `order:${id}`, timeoutMs: 5_000 }, async (tx) => {
        const handles = await Promise.all([tx.enlist(orders), tx.enlist(payments)]);
        await Promise.all(handles.map((db) => db.query('insert into placed values ($1)', [id])));
      }),
    async [Symbol.asyncDispose]() {
      await coordinator.close({ drainMs: 1_000 });
      await Promise.all(pools.map((pool) => pool.end()));
    },
  };
}
