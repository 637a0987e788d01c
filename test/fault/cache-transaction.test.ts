// The invalidation of a cache in Redis is part of a transaction over PostgreSQL: whatever step its
// process dies at, the page shows what the database says, within moments and not only after the TTL.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type PostgresHandle,
  type ServerHandle,
  startPostgres,
  startRedis,
} from '../servers/provider.js';
import { measured } from '../servers/shared.js';
import { priceShop, type ShopConfig } from './cache-transaction-stage.js';

const WITHIN = { timeout: 20_000, interval: 20 };

let postgres: PostgresHandle;
let redis: ServerHandle;
let postgresUrl: string;
let pool: pg.Pool;
beforeAll(async () => {
  [postgres, redis] = await Promise.all([startPostgres(), startRedis({ appendonly: 'always' })]);
  postgresUrl = await postgres.createDatabase('shop');
  pool = new pg.Pool({ connectionString: postgresUrl });
  pool.on('error', () => {});
  await pool.query('create table prices (sku text primary key, price int)');
});
afterAll(async () => {
  await pool?.end();
  await Promise.all([postgres?.[Symbol.asyncDispose](), redis?.[Symbol.asyncDispose]()]);
});

async function killedAt(point: string): Promise<void> {
  const config: ShopConfig = { redisUrl: redis.url, postgresUrl, point };
  const args = ['--import', 'tsx', 'test/fault/cache-transaction-process.ts'];
  const child = spawn(process.execPath, [...args, JSON.stringify(config)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [, signal] = await once(child, 'exit');
  assert.equal(signal, 'SIGKILL');
}

const priceInDatabase = async (): Promise<number> => {
  const { rows } = await pool.query<{ price: number }>('select price from prices');
  return rows[0]?.price ?? 0;
};

describe('a process that dies while it changes a price [postgresql] [redis]', () => {
  test.each([
    ['after prepare of pages', 1],
    ['after decide', 2],
    ['after commit of database', 2],
    ['before commit of pages', 2],
    ['after commit of pages', 2],
  ])(
    '%s: pages show the price %i again, also where somebody read in between',
    async (point, price) => {
      await pool.query(
        'insert into prices values ($1, 1) on conflict (sku) do update set price = 1',
        ['sku'],
      );
      await using reader = priceShop({ redisUrl: redis.url, postgresUrl, point: 'never' });
      await reader.prices.delete('sku');
      expect(await reader.show('sku')).toBe(1);
      await killedAt(point);
      const sinceMs = performance.now();
      // The hold of the dead process ends, and somebody stores what the database says meanwhile.
      await expect
        .poll(async () => [await reader.show('sku'), await reader.prices.get('sku')][1], WITHIN)
        .toBeDefined();
      await using _recoverer = priceShop({ redisUrl: redis.url, postgresUrl });
      const prepared = () => pool.query('select gid from pg_prepared_xacts');
      await expect.poll(async () => (await prepared()).rows, WITHIN).toEqual([]);
      expect(await priceInDatabase()).toBe(price);
      await expect.poll(() => reader.show('sku'), WITHIN).toBe(price);
      const tookMs = performance.now() - sinceMs;
      measured(
        `killed ${point}: pages show the price of the database after ${tookMs.toFixed(0)} ms`,
      );
      expect(tookMs, 'long before the TTL of ten minutes').toBeLessThan(30_000);
    },
  );

  test('a transaction that goes well leaves no reader with the old price', async () => {
    await using shop = priceShop({ redisUrl: redis.url, postgresUrl });
    await using reader = priceShop({ redisUrl: redis.url, postgresUrl, point: 'never' });
    for (let price = 10; price < 30; price += 1) {
      const reads = Array.from({ length: 5 }, () => reader.show('sku'));
      expect(await shop.change('sku', price)).toBe('committed');
      expect(await reader.show('sku')).toBe(price);
      await Promise.all(reads);
      expect(await reader.show('sku')).toBe(price);
    }
  });
});
