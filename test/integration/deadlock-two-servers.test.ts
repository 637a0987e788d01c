// A deadlock over two servers, which neither of them can see: it ends with the time of the
// transactions, and leaves nothing behind.

import assert from 'node:assert/strict';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { createTransactionCoordinator } from 'tricord';
import { memoryTransactions } from 'tricord/memory';
import { mysqlParticipant, setupSql } from 'tricord/mysql';
import { postgresParticipant } from 'tricord/postgres';
import { describe, test } from 'vitest';
import { deferred } from '../../src/core/deferred.js';
import { sharedDatabase } from '../servers/shared.js';

const TIMEOUT_MS = 1_500;

describe('a deadlock over two servers [postgresql] [mariadb]', () => {
  test('ends by the time-out of the transactions, and nothing stays locked or prepared', async () => {
    const pool = new pg.Pool({ connectionString: await sharedDatabase('deadlock') });
    const uri = await sharedDatabase('deadlock', 'mariadb');
    const stockPool = mysql.createPool({ uri, multipleStatements: true });
    await stockPool.query(setupSql());
    for (const text of [
      'create table item (id int primary key, n int)',
      'insert into item values (1, 0)',
    ]) {
      await pool.query(text);
      await stockPool.query(text);
    }
    const orders = postgresParticipant({ name: 'orders', pool });
    const stock = mysqlParticipant({ name: 'stock', pool: stockPool });
    const coordinator = createTransactionCoordinator({
      ...{ log: memoryTransactions(), participants: [orders, stock] },
      sweepMs: Number.POSITIVE_INFINITY,
    });
    const touch = 'update item set n = n + 1 where id = 1';
    const [ordersHeld, stockHeld] = [deferred<void>(), deferred<void>()];
    const run = (name: string, isOrdersFirst: boolean) =>
      coordinator.run({ resourceId: name, timeoutMs: TIMEOUT_MS }, async (tx) => {
        const [order, item] = [await tx.enlist(orders), await tx.enlist(stock)];
        const steps = [() => order.query(touch), () => item.query(touch)];
        const [first, second] = isOrdersFirst ? steps : steps.reverse();
        await first?.();
        (isOrdersFirst ? ordersHeld : stockHeld).resolve();
        await Promise.all([ordersHeld.promise, stockHeld.promise]);
        await second?.();
      });
    const startedMs = performance.now();
    const outcomes = await Promise.all([run('a', true), run('b', false)]);
    assert.ok(performance.now() - startedMs < TIMEOUT_MS + 3_000);
    assert.ok(
      outcomes.filter(({ state }) => state === 'aborted').length >= 1,
      outcomes.map(({ state }) => state).join(),
    );
    assert.deepEqual(await orders.recover(), []);
    assert.deepEqual(await stock.recover(), []);
    const after = await coordinator.run({ resourceId: 'c' }, async (tx) => {
      await (await tx.enlist(orders)).query(touch);
      await (await tx.enlist(stock)).query(touch);
    });
    assert.equal(after.state, 'committed');
    await coordinator.close();
    await Promise.all([pool.end(), stockPool.end()]);
  });
});
