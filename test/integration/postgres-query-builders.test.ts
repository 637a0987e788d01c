// Enlisted clients inside Kysely and Drizzle: what the builders send is part of the branch, and their
// own transactions are refused. The adapters are those of docs/how-to/use-a-query-builder.md.

import assert from 'node:assert/strict';
import { int, mysqlTable, varchar } from 'drizzle-orm/mysql-core';
import { drizzle as drizzleMysql } from 'drizzle-orm/mysql2';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import {
  CompiledQuery,
  Kysely,
  type MysqlPool as KyselyMysqlPool,
  type PostgresPool as KyselyPostgresPool,
  MysqlDialect,
  PostgresDialect,
} from 'kysely';
import type mysql from 'mysql2/promise';
import type pg from 'pg';
import type { MysqlBranchClient } from 'tricord/mysql';
import type { PostgresBranchClient } from 'tricord/postgres';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { onServer, sharedDatabase } from '../servers/shared.js';
import { mysqlStage } from './mysql-stage.js';
import { postgresStage } from './postgres-stage.js';

interface Database {
  readonly item: { readonly id: number; readonly name: string };
}

/** A Kysely inside a branch: its pool is the branch's one client. */
function kyselyOn(db: PostgresBranchClient<pg.Pool>): Kysely<Database> {
  const client = { query: db.query, release() {} };
  const pool = { connect: async () => client, end: async () => {} } as KyselyPostgresPool;
  return new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
}

/** The same for MariaDB and MySQL, whose dialect speaks in callbacks. */
function kyselyOnMysql(db: MysqlBranchClient<mysql.Pool>): Kysely<Database> {
  const client = {
    query(sql: string, values: unknown[], answer: (error: unknown, rows?: unknown) => void) {
      db.query(sql, values).then(([rows]) => answer(undefined, rows), answer);
    },
    release() {},
  };
  const pool = {
    getConnection: (give: (error: unknown, connection: typeof client) => void) =>
      give(undefined, client),
    end: (done: (error?: unknown) => void) => done(),
  } as unknown as KyselyMysqlPool;
  return new Kysely<Database>({ dialect: new MysqlDialect({ pool }) });
}

const item = pgTable('item', { id: integer().primaryKey(), name: text().notNull() });
const mysqlItem = mysqlTable('item', { id: int().primaryKey(), name: varchar({ length: 99 }) });

onServer('postgresql', 'query builders inside a branch', async () => {
  const stage = postgresStage(await sharedDatabase('builders'));
  beforeAll(() => stage.sql('create table item (id int primary key, name text not null)'));
  afterEach(() => stage.sweep());
  afterAll(() => stage.close());
  const names = async () =>
    (await stage.sql('select name from item order by id')).rows.map(({ name }) => name);

  test('Kysely reads and writes in it, and its own transaction is BRANCH_TAMPERED', async () => {
    const { branch, db } = await stage.begin();
    const builder = kyselyOn(db);
    await builder.insertInto('item').values({ id: 1, name: 'lamp' }).execute();
    const found = await builder.selectFrom('item').selectAll().where('id', '=', 1).execute();
    assert.deepEqual(found, [{ id: 1, name: 'lamp' }]);
    await builder.executeQuery(CompiledQuery.raw('savepoint a'));
    assert.deepEqual(await names(), []);
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    await branch.commit();
    assert.deepEqual(await names(), ['lamp']);
    const other = await stage.begin();
    const work = kyselyOn(other.db)
      .transaction()
      .execute((tx) => tx.selectFrom('item').execute());
    await expect(work).rejects.toMatchObject({ code: 'BRANCH_TAMPERED' });
    expect(await other.branch.prepare()).toMatchObject({ vote: 'no' });
  });

  test('Drizzle reads and writes in it, and its own transaction is BRANCH_TAMPERED', async () => {
    await stage.sql('delete from item');
    const { branch, db } = await stage.begin();
    const builder = drizzle({ client: db as unknown as pg.PoolClient });
    await builder.insert(item).values({ id: 2, name: 'chair' });
    const found = await builder.select().from(item);
    assert.deepEqual(found, [{ id: 2, name: 'chair' }]);
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    await branch.commit();
    assert.deepEqual(await names(), ['chair']);
    const other = await stage.begin();
    const client = other.db as unknown as pg.PoolClient;
    const work = drizzle({ client }).transaction((tx) => tx.select().from(item));
    const error = await work.catch((each: { cause?: unknown }) => each.cause ?? each);
    assert.equal((error as { code?: string }).code, 'BRANCH_TAMPERED');
    expect(await other.branch.prepare()).toMatchObject({ vote: 'no' });
  });
});

onServer('mariadb', 'query builders inside a branch', async () => {
  const stage = await mysqlStage(await sharedDatabase('builders', 'mariadb'));
  beforeAll(() =>
    stage.sql('create table item (id int primary key, name varchar(99)) engine=InnoDB'),
  );
  afterEach(() => stage.sweep());
  afterAll(() => stage.close());
  const names = async () =>
    (await stage.sql('select name from item order by id')).map(({ name }) => name);

  test('Kysely reads and writes in it, and its own transaction is BRANCH_TAMPERED', async () => {
    const { branch, db } = await stage.begin();
    const builder = kyselyOnMysql(db);
    await builder.insertInto('item').values({ id: 1, name: 'lamp' }).execute();
    const found = await builder.selectFrom('item').selectAll().where('id', '=', 1).execute();
    assert.deepEqual(found, [{ id: 1, name: 'lamp' }]);
    assert.deepEqual(await names(), []);
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    await branch.commit();
    assert.deepEqual(await names(), ['lamp']);
    const other = await stage.begin();
    const work = kyselyOnMysql(other.db)
      .transaction()
      .execute(async () => {});
    await expect(work).rejects.toMatchObject({ code: 'BRANCH_TAMPERED' });
    expect(await other.branch.prepare()).toMatchObject({ vote: 'no' });
  });

  test('Drizzle reads and writes in it, and its own transaction is BRANCH_TAMPERED', async () => {
    await stage.sql('delete from item');
    const { branch, db } = await stage.begin();
    const builder = drizzleMysql({ client: db as unknown as mysql.Connection });
    await builder.insert(mysqlItem).values({ id: 2, name: 'chair' });
    assert.deepEqual(await builder.select().from(mysqlItem), [{ id: 2, name: 'chair' }]);
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    await branch.commit();
    assert.deepEqual(await names(), ['chair']);
    const other = await stage.begin();
    const client = other.db as unknown as mysql.Connection;
    const work = drizzleMysql({ client }).transaction(async () => {});
    const error = await work.catch((each: { cause?: unknown }) => each.cause ?? each);
    assert.equal((error as { code?: string }).code, 'BRANCH_TAMPERED');
    expect(await other.branch.prepare()).toMatchObject({ vote: 'no' });
  });
});
