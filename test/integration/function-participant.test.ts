// One transaction over MariaDB, a function on PostgreSQL and a function on Redis.

import assert from 'node:assert/strict';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createTransactionCoordinator, functionParticipant } from 'tricord';
import { memoryTransactions } from 'tricord/memory';
import { type PostgresBarrierClient, postgresBarrier, setupSql } from 'tricord/postgres';
import { type RedisBarrierClient, redisBarrier } from 'tricord/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshPrefix, sharedDatabase, sharedServer } from '../servers/shared.js';
import { mysqlStage } from './mysql-stage.js';

describe('functions in transactions [mariadb] [postgresql] [redis]', async () => {
  const redis = await sharedServer('redis');
  const stage = await mysqlStage(await sharedDatabase('functions', 'mariadb'));
  const pool = new pg.Pool({ connectionString: await sharedDatabase('functions'), max: 4 });
  const client = new Redis(redis.url);
  const prefix = freshPrefix('functions');
  const points = `${prefix}:points`;
  const seats = functionParticipant<{ row: number }, PostgresBarrierClient<pg.Pool>>({
    name: 'seats',
    barrier: postgresBarrier({ pool }),
    async prepare(db, { request: { row } }) {
      const free = "update seat set state = 'held' where row = $1 and state = 'free'";
      if ((await db.query(free, [row])).rowCount !== 1) throw new Error(`seat ${row} is taken`);
    },
    commit: (db, { request: { row } }) =>
      db.query("update seat set state = 'sold' where row = $1", [row]),
    abort: (db, { request: { row } }) =>
      db.query("update seat set state = 'free' where row = $1", [row]),
  });
  const bonus = functionParticipant<{ points: number }, RedisBarrierClient>({
    name: 'bonus',
    barrier: redisBarrier({ client, namespace: prefix }),
    prepare: () => {},
    commit: (writes, { request }) => writes.increment(points, request.points),
    abort: () => {},
  });
  const coordinator = createTransactionCoordinator({
    log: memoryTransactions(),
    participants: [stage.participant, seats, bonus],
  });
  beforeAll(async () => {
    await stage.sql(
      'create table orders (id int primary key auto_increment, row int) engine=InnoDB',
    );
    await pool.query(setupSql());
    await pool.query(
      "create table seat (row int, state text); insert into seat values (1, 'free'), (2, 'free')",
    );
  });
  afterAll(async () => {
    await coordinator.close();
    await stage.close();
    await pool.end();
    await client.quit();
  });
  const buy = (row: number, fail = false) =>
    coordinator.run({ resourceId: `seat:${row}`, timeoutMs: 10_000 }, async (tx) => {
      await (await tx.enlist(seats)).request({ row });
      await (await tx.enlist(bonus)).request({ points: 5 });
      const db = await tx.enlist(stage.participant);
      await db.query('insert into orders (row) values (?)', [row]);
      if (fail) throw new Error('no money');
    });
  const found = async () => ({
    orders: (await stage.sql('select row from orders')).map(({ row }) => row),
    seats: (await pool.query('select state from seat order by row')).rows.map(({ state }) => state),
    points: Number(await client.get(points)),
  });

  test('commit in all of them, or change nothing in any', async () => {
    expect(await buy(1)).toMatchObject({ state: 'committed', pending: [] });
    assert.deepEqual(await found(), { orders: [1], seats: ['sold', 'free'], points: 5 });
    expect(await buy(1)).toMatchObject({
      state: 'aborted',
      by: 'participant',
      participant: 'seats',
      reason: 'seat 1 is taken',
    });
    expect(await buy(2, true)).toMatchObject({ state: 'aborted', by: 'body' });
    assert.deepEqual(await found(), { orders: [1], seats: ['sold', 'free'], points: 5 });
    assert.deepEqual(await seats.recover(), []);
    assert.deepEqual(await stage.prepared(), []);
  });

  test('a function alone commits in one phase', async () => {
    const outcome = await coordinator.run({ resourceId: 'seat:2' }, async (tx) => {
      await (await tx.enlist(seats)).request({ row: 2 });
    });
    assert.equal(outcome.state, 'committed');
    assert.deepEqual((await found()).seats, ['sold', 'sold']);
  });
});
