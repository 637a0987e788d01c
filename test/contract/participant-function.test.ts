import assert from 'node:assert/strict';
import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { type FunctionBranch, functionParticipant } from 'tricord';
import { memoryBarrier } from 'tricord/memory';
import { type MysqlBranchClient, mysqlBarrier, setupSql as mysqlSetupSql } from 'tricord/mysql';
import { type PostgresBarrierClient, postgresBarrier, setupSql } from 'tricord/postgres';
import { type RedisBarrierClient, redisBarrier } from 'tricord/redis';
import { participantContract } from 'tricord/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { freshPrefix, onServer, sharedDatabase } from '../servers/shared.js';

interface Write {
  readonly key: string;
  readonly value: string;
}

describe('functionParticipant with memoryBarrier', () => {
  const rows = new Map<string, string>();
  const reserved = new Set<string>();
  const barrier = memoryBarrier();
  const cases = participantContract<FunctionBranch<Write>>({
    open: () => ({
      participant: functionParticipant<Write, undefined>({
        name: 'orders',
        barrier,
        prepare(_, { request }) {
          if (request.value === 'spoilt') throw new Error('it cannot be had');
          reserved.add(request.key);
        },
        commit(_, { request }) {
          rows.set(request.key, request.value);
          reserved.delete(request.key);
        },
        abort: (_, { request }) => reserved.delete(request.key),
      }),
    }),
    write: (handle, key, value) => handle.request({ key, value }),
    read: async (key) => rows.get(key),
    look: async () => {},
    spoil: (handle, key) => handle.request({ key, value: 'spoilt' }),
    notesAborts: true,
  });
  for (const { name, run } of cases) test(name, run);
});

onServer('postgresql', 'functionParticipant with postgresBarrier', async () => {
  const connectionString = await sharedDatabase('function');
  const reader = new pg.Pool({ connectionString, max: 2 });
  beforeAll(async () => {
    await reader.query(setupSql());
    await reader.query('create table kit (key text primary key, value text, is_final boolean)');
  });
  afterAll(() => reader.end());

  const cases = participantContract<FunctionBranch<Write>>({
    open() {
      const pool = new pg.Pool({ connectionString, max: 4 });
      pool.on('error', () => {});
      const participant = functionParticipant<Write, PostgresBarrierClient<pg.Pool>>({
        name: 'orders',
        barrier: postgresBarrier({ pool }),
        prepare: (db, { request: { key, value } }) =>
          db.query('insert into kit values ($1, $2, false)', [key, value]),
        commit: (db, { request }) =>
          db.query('update kit set is_final = true where key = $1', [request.key]),
        abort: (db, { request }) => db.query('delete from kit where key = $1', [request.key]),
      });
      return { participant, close: () => pool.end() };
    },
    write: (handle, key, value) => handle.request({ key, value }),
    async read(key) {
      const { rows } = await reader.query('select value from kit where key = $1 and is_final', [
        key,
      ]);
      return rows[0]?.value;
    },
    look: async () => {},
    spoil: (handle, key) => handle.request({ key, value: 'a second time' }),
    notesAborts: true,
  });
  for (const { name, run } of cases) test(name, run);
});

onServer('redis', 'functionParticipant with redisBarrier', (redis) => {
  const prefix = freshPrefix('function');
  const keyPrefix = `${prefix}:`;
  const reader = new Redis(redis.url);
  afterAll(() => reader.quit());

  const cases = participantContract<FunctionBranch<Write>>({
    open() {
      const client = new Redis(redis.url, { keyPrefix, enableAutoPipelining: true });
      const barrier = redisBarrier({ client, namespace: prefix });
      const participant = functionParticipant<Write, RedisBarrierClient>({
        name: 'orders',
        barrier,
        prepare(writes, { request: { key, value } }) {
          writes.expect(`lock:${key}`, undefined);
          if (value === 'spoilt') writes.increment(`stock:${key}`, -1, { min: 0 });
          writes.append(`reserved:${key}`, value);
        },
        commit(writes, { request: { key, value } }) {
          writes.set(key, value);
          writes.delete(`reserved:${key}`);
        },
        abort: (writes, { request: { key } }) => writes.delete(`reserved:${key}`),
      });
      const close = async () => {
        await barrier.close();
        await client.quit();
      };
      return { participant, close };
    },
    write: (handle, key, value) => handle.request({ key, value }),
    read: async (key) => (await reader.get(`${keyPrefix}${key}`)) ?? undefined,
    look: async () => {},
    spoil: (handle, key) => handle.request({ key: `${key}:spoilt`, value: 'spoilt' }),
    notesAborts: true,
  });
  for (const { name, run } of cases) test(name, run);
});

onServer('mariadb', 'functionParticipant with mysqlBarrier', async () => {
  const uri = await sharedDatabase('function', 'mariadb');
  const reader = mysql.createPool({ uri, connectionLimit: 2, multipleStatements: true });
  beforeAll(async () => {
    await reader.query(mysqlSetupSql());
    await reader.query(
      'create table kit (id varchar(200) primary key, value text, is_final bool) engine=InnoDB',
    );
  });
  afterAll(() => reader.end());

  const cases = participantContract<FunctionBranch<Write>>({
    open() {
      const pool = mysql.createPool({ uri, connectionLimit: 4 });
      const participant = functionParticipant<Write, MysqlBranchClient<mysql.Pool>>({
        name: 'orders',
        barrier: mysqlBarrier({ pool }),
        prepare: (db, { request: { key, value } }) =>
          db.query('insert into kit values (?, ?, false)', [key, value]),
        commit: (db, { request }) =>
          db.query('update kit set is_final = true where id = ?', [request.key]),
        abort: (db, { request }) => db.query('delete from kit where id = ?', [request.key]),
      });
      return { participant, close: () => pool.end() };
    },
    write: (handle, key, value) => handle.request({ key, value }),
    async read(key) {
      const [rows] = await reader.query<mysql.RowDataPacket[]>(
        'select value from kit where id = ? and is_final',
        [key],
      );
      return rows[0]?.value;
    },
    look: async () => {},
    // An error that the function swallows must not be forgotten: the server would commit the rest.
    spoil: (handle, key) => handle.request({ key, value: 'a second time' }),
    notesAborts: true,
  });
  for (const { name, run } of cases) test(name, run);

  test('a function that swallows an error, or commits by itself, has done nothing', async () => {
    const pool = mysql.createPool({ uri, connectionLimit: 1 });
    for (const spoilt of ['insert into kit values (?, null)', 'commit']) {
      const participant = functionParticipant<Write, MysqlBranchClient<mysql.Pool>>({
        name: 'orders',
        barrier: mysqlBarrier({ pool }),
        async prepare(db, { request: { key } }) {
          await db.query('insert into kit values (?, null, false)', [key]);
          await db.query(spoilt, [key]).catch(() => {});
        },
        commit: () => {},
        abort: () => {},
      });
      const branchId = `tc1.${freshPrefix()}.1`.slice(0, 60);
      const { signal } = new AbortController();
      const context = { transactionId: branchId as never, branchId, timeoutMs: 5_000, signal };
      const branch = await participant.enlist({ ...context, clock: systemClock });
      await branch.handle.request({ key: branchId, value: '' });
      expect(await branch.prepare()).toMatchObject({ vote: 'no' });
      const [rows] = await reader.query<mysql.RowDataPacket[]>('select * from kit where id = ?', [
        branchId,
      ]);
      assert.deepEqual(rows, []);
    }
    await pool.end();
  });
});
