import { Pool } from 'pg';
import type { Books, Reservation } from './books.js';
import type { Offer } from './offer.js';
import type { Databases } from './postgres-stores.js';

/** The database screams, too: it refuses a negative stock or wallet whatever the program does. */
const SCHEMA = {
  stock: `
    create table stock (
      sku text primary key,
      price_cents integer not null check (price_cents > 0),
      units integer not null check (units >= 0),
      fencing_token numeric not null default 0);
    create table reservations (
      order_id text primary key,
      sku text not null references stock,
      units integer not null check (units > 0),
      units_left integer not null check (units_left >= 0),
      fencing_token numeric not null)`,
  payments: `
    create table wallets (
      buyer text primary key,
      balance_cents integer not null check (balance_cents >= 0));
    create table payments (
      order_id text primary key,
      buyer text not null references wallets,
      cents integer not null check (cents > 0))`,
  orders: `
    create table orders (
      order_id text primary key,
      buyer text not null,
      sku text not null,
      units integer not null check (units > 0),
      cents integer not null check (cents > 0),
      transaction_id text not null)`,
} as const;

const INSERT_STOCK = `
  insert into stock (sku, price_cents, units)
  select * from unnest($1::text[], $2::integer[], $3::integer[])`;
const INSERT_WALLETS = `
  insert into wallets (buyer, balance_cents) select * from unnest($1::text[], $2::integer[])`;

/** Creates the tables and brings in the goods and the buyers. */
export async function fillDatabases(databases: Databases, offer: Offer): Promise<void> {
  await withPool(databases.stock, async (pool) => {
    await pool.query(SCHEMA.stock);
    const skus = offer.products.map((product) => product.sku);
    const prices = offer.products.map((product) => product.priceCents);
    const units = offer.products.map((product) => product.units);
    await pool.query(INSERT_STOCK, [skus, prices, units]);
  });
  await withPool(databases.payments, async (pool) => {
    await pool.query(SCHEMA.payments);
    const names = offer.buyers.map((buyer) => buyer.name);
    const wallets = offer.buyers.map((buyer) => buyer.walletCents);
    await pool.query(INSERT_WALLETS, [names, wallets]);
  });
  await withPool(databases.orders, (pool) => pool.query(SCHEMA.orders));
}

const READ = {
  stock: 'select sku, units from stock',
  reservations: `
    select order_id as "orderId", sku, units, units_left as "unitsLeft",
           fencing_token as "fencingToken" from reservations`,
  wallets: 'select buyer, balance_cents as "balanceCents" from wallets',
  payments: 'select order_id as "orderId", buyer, cents from payments',
  orders: `
    select order_id as "orderId", buyer, sku, units, cents, transaction_id as "transactionId"
    from orders`,
} as const;

/** PostgreSQL gives a number of any length as a text. */
type StoredReservation = Omit<Reservation, 'fencingToken'> & { readonly fencingToken: string };

/** Reads what the audit compares, row by row. */
export async function readDatabases(
  databases: Databases,
): Promise<Omit<Books, 'locks' | 'prepared' | 'inDoubt'>> {
  const read = <Row extends object>(url: string, sql: string): Promise<Row[]> =>
    withPool(url, async (pool) => (await pool.query<Row>(sql)).rows);
  const reservations = await read<StoredReservation>(databases.stock, READ.reservations);
  return {
    stock: await read(databases.stock, READ.stock),
    reservations: reservations.map((row) => ({ ...row, fencingToken: BigInt(row.fencingToken) })),
    wallets: await read(databases.payments, READ.wallets),
    payments: await read(databases.payments, READ.payments),
    orders: await read(databases.orders, READ.orders),
  };
}

const TAMPERINGS = {
  stock: 'update stock set units = units + 1 where sku = (select min(sku) from stock)',
  payment: `update payments set cents = cents - 1
            where order_id = (select min(order_id) from payments)`,
  order: `update orders set buyer = 'nobody' where order_id = (select min(order_id) from orders)`,
} as const;

/** Changes a row behind the library's back, for the audit to notice. */
export async function tamperDatabases(
  databases: Databases,
  what: keyof typeof TAMPERINGS,
): Promise<void> {
  const { stock, payments, orders } = databases;
  const url = { stock, payment: payments, order: orders }[what];
  await withPool(url, (pool) => pool.query(TAMPERINGS[what]));
}

async function withPool<T>(url: string, use: (pool: Pool) => Promise<T>): Promise<T> {
  const pool = new Pool({ connectionString: url, max: 1 });
  pool.on('error', () => {});
  try {
    return await use(pool);
  } finally {
    await pool.end();
  }
}
