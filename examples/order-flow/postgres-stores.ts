import { Pool } from 'pg';
import { postgresParticipant } from 'tricord/postgres';
import { Refusal, type Stores } from './stores.js';
import type { ProductPage } from './take-order.js';

/** Addresses of the three databases. */
export interface Databases {
  readonly stock: string;
  readonly payments: string;
  readonly orders: string;
}

/** $1 order, $2 buyer, $3 sku, $4 cents, $5 transaction → a row, or none when the order exists. */
const WRITE_ORDER = `
  insert into orders (order_id, buyer, sku, units, cents, transaction_id)
  values ($1, $2, $3, 1, $4, $5) on conflict do nothing`;

/** $1 sku, $2 fencing token, $3 order → a row, or none when sold out or when the token is stale. */
const RESERVE_UNIT = `
  with taken as (
    update stock set units = units - 1, fencing_token = $2
    where sku = $1 and units > 0 and fencing_token < $2 returning units)
  insert into reservations (order_id, sku, units, units_left, fencing_token)
  select $3, $1, 1, units, $2 from taken`;

/** $1 buyer, $2 cents, $3 order → a row, or none when the wallet holds too little. */
const TAKE_PAYMENT = `
  with charged as (
    update wallets set balance_cents = balance_cents - $2
    where buyer = $1 and balance_cents >= $2 returning buyer)
  insert into payments (order_id, buyer, cents) select $3, buyer, $2 from charged`;

/** $1 sku → what its page shows. */
const READ_PAGE = `select sku, price_cents as "priceCents" from stock where sku = $1`;

const READ_UNITS = 'select units from stock where sku = $1';

/** Opens the shop's stores for one node; `application` names it in pg_stat_activity. */
export function postgresStores(databases: Databases, application: string, max: number): Stores {
  const open = (connectionString: string): Pool => {
    const pool = new Pool({ connectionString, max, application_name: application });
    // Without a listener an idle connection that the server ends would end the process.
    pool.on('error', () => {});
    return pool;
  };
  const pools = {
    stock: open(databases.stock),
    payments: open(databases.payments),
    orders: open(databases.orders),
  };
  const stock = postgresParticipant({ name: 'stock', pool: pools.stock });
  const payments = postgresParticipant({ name: 'payments', pool: pools.payments });
  const orders = postgresParticipant({ name: 'orders', pool: pools.orders });

  return {
    participants: [stock, payments, orders],

    async enlist(tx) {
      const [stockDb, paymentsDb, ordersDb] = await Promise.all([
        tx.enlist(stock),
        tx.enlist(payments),
        tx.enlist(orders),
      ]);
      return {
        async writeOrder({ orderId, buyer, sku, cents }, transactionId) {
          const values = [orderId, buyer, sku, cents, transactionId];
          const { rowCount } = await ordersDb.query(WRITE_ORDER, values);
          if (rowCount === 0) throw new Refusal('already ordered');
        },
        async reserveUnit({ orderId, sku }, fencingToken) {
          const values = [sku, String(fencingToken), orderId];
          const { rowCount } = await stockDb.query(RESERVE_UNIT, values);
          if (rowCount === 1) return;
          const { rows } = await stockDb.query(READ_UNITS, [sku]);
          if (rows[0]?.units === 0) throw new Refusal('sold out');
          throw new Error(`fencing token ${fencingToken} of ${sku} is stale`);
        },
        async takePayment({ orderId, buyer, cents }) {
          const { rowCount } = await paymentsDb.query(TAKE_PAYMENT, [buyer, cents, orderId]);
          if (rowCount === 0) throw new Refusal('payment declined');
        },
      };
    },

    async readPage(sku) {
      const { rows } = await pools.stock.query<ProductPage>(READ_PAGE, [sku]);
      const [page] = rows;
      if (page === undefined) throw new Error(`the shop does not sell ${sku}`);
      return page;
    },

    async readUnitsLeft(sku) {
      const { rows } = await pools.stock.query<{ units: number }>(READ_UNITS, [sku]);
      return rows[0]?.units ?? 0;
    },

    async close() {
      await Promise.all([stock, payments, orders].map((participant) => participant.close()));
      await Promise.all(Object.values(pools).map((pool) => pool.end()));
    },
  };
}
