import { Redis } from 'ioredis';
import pg from 'pg';
import { createLock, createTransactionCoordinator } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { redisLock, redisParticipant, redisTransactions } from 'tricord/redis';
import type { PostgresHandle, ServerHandle } from '../../servers/provider.js';
import { median } from '../lock/measure.js';
import { rate, ratio, type Table } from '../lock/report.js';

const BUYERS = 32;
const STOCK = 1_000_000;

/** Many buyers of one article: escrow against a lock around the transaction. */
export async function hotStock(
  { postgres, redis }: { readonly postgres: PostgresHandle; readonly redis: ServerHandle },
  { rounds, roundMs }: { readonly rounds: number; readonly roundMs: number },
): Promise<Table> {
  const connectionString = await postgres.createDatabase('orders');
  const pool = new pg.Pool({ connectionString, max: BUYERS + 2 });
  await pool.query('create table orders (id bigserial primary key, buyer int)');
  const client = new Redis(redis.url);
  await client.set('stock:lamp', STOCK);
  const orders = postgresParticipant({ name: 'orders', pool });
  const stock = redisParticipant({ name: 'stock', client });
  const coordinator = createTransactionCoordinator({
    log: redisTransactions({ client }),
    participants: [orders, stock],
  });
  const lock = createLock({ driver: redisLock({ client }) });
  const order = async (buyer: number, isEscrow: boolean): Promise<unknown> =>
    coordinator.run({ resourceId: 'stock:lamp' }, async (tx) => {
      const [book, shelf] = await Promise.all([tx.enlist(orders), tx.enlist(stock)]);
      if (isEscrow) await shelf.reserve('stock:lamp', 1);
      else await shelf.set('stock:lamp', String(Number(await shelf.get('stock:lamp')) - 1));
      await book.query('insert into orders (buyer) values ($1)', [buyer]);
    });
  const variants = {
    'escrow (`reserve`), no lock': (buyer: number) => order(buyer, true),
    'read and write, under `withLock`': (buyer: number) =>
      lock.withLock('stock:lamp', { waitMs: 30_000 }, () => order(buyer, false)),
  };
  const rates = new Map<string, number[]>();
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, buy] of Object.entries(variants)) {
      const until = performance.now() + roundMs;
      let sold = 0;
      await Promise.all(
        Array.from({ length: BUYERS }, async (_, buyer) => {
          while (performance.now() < until) {
            await buy(buyer);
            sold += 1;
          }
        }),
      );
      if (round > 0) rates.set(name, [...(rates.get(name) ?? []), (sold / roundMs) * 1_000]);
    }
  }
  await Promise.all([lock.close(), coordinator.close()]);
  await pool.end();
  client.disconnect();
  const [escrow = Number.NaN, locked = Number.NaN] = Array.from(rates.values(), median);
  return {
    title: 'A hot article',
    method: `${BUYERS} buyers order one article at the same time: its stock in Redis, the order in PostgreSQL, one transaction each.`,
    columns: ['', 'orders/s', '× the lock'],
    rows: [
      ['escrow (`reserve`), no lock', rate(escrow), ratio(escrow / locked)],
      ['read and write, under `withLock`', rate(locked), ratio(1)],
    ],
  };
}
