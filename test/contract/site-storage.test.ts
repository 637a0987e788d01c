import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import { Pool } from 'pg';
import { memorySiteStorage } from 'tricord/memory';
import { setupSql as mysqlSetupSql, mysqlSiteStorage } from 'tricord/mysql';
import { postgresSiteStorage, setupSql } from 'tricord/postgres';
import { redisSiteStorage } from 'tricord/redis';
import { siteStorageContract } from 'tricord/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { systemRandom } from '../../src/core/random.js';
import { freshPrefix, onServer } from '../servers/shared.js';

describe('memorySiteStorage', () => {
  const storage = memorySiteStorage();
  for (const { name, run } of siteStorageContract({ open: () => ({ storage }) })) test(name, run);
});

onServer('redis', 'redisSiteStorage', (redis) => {
  const namespace = freshPrefix('site');
  const open = () => {
    const client = new Redis(redis.url, { keyPrefix: 'prefix:', enableAutoPipelining: true });
    const storage = redisSiteStorage({ client, namespace });
    return { storage, close: async () => client.disconnect() };
  };
  for (const { name, run } of siteStorageContract({ open })) test(name, run);
});

onServer('postgresql', 'postgresSiteStorage', (postgres) => {
  const connect = () => new Pool({ connectionString: postgres.url, max: 2 });
  beforeAll(async () => {
    const pool = connect();
    await pool.query(setupSql());
    await pool.end();
  });
  const open = () => {
    const pool = connect();
    return { storage: postgresSiteStorage({ pool }), close: () => pool.end() };
  };
  for (const { name, run } of siteStorageContract({ open })) test(name, run);

  test('a database without the table, or with a newer one, is refused', async () => {
    const pool = connect();
    const node = { site: 's', namespace: 'n', clock: systemClock, random: systemRandom };
    const read = (schema: string) => postgresSiteStorage({ pool, schema }).open(node).read('tc1.a');
    await expect(read('nowhere')).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED' });
    const schema = `newer_${Date.now()}`;
    await pool.query(setupSql({ schema }));
    await expect(read(schema)).resolves.toBeUndefined();
    await pool.query(`update "${schema}".versions set version = 2 where part = 'sites'`);
    await expect(read(schema)).rejects.toMatchObject({ code: 'UPGRADE_NEEDED' });
    await pool.query(`drop schema "${schema}" cascade`);
    await pool.end();
  });
});

onServer('mariadb', 'mysqlSiteStorage', (mariadb) => {
  const node = { site: 's', namespace: 'n', clock: systemClock, random: systemRandom };
  const connect = (more: mysql.PoolOptions = {}) =>
    mysql.createPool({ uri: mariadb.url, connectionLimit: 2, ...more });
  beforeAll(async () => {
    const pool = connect({ multipleStatements: true });
    await pool.query(mysqlSetupSql());
    await pool.end();
  });
  const open = () => {
    const pool = connect();
    return { storage: mysqlSiteStorage({ pool }), close: () => pool.end() };
  };
  for (const { name, run } of siteStorageContract({ open })) test(name, run);

  test('a connection that the service left in a transaction does not hide what is written', async () => {
    const pool = connect({ connectionLimit: 1 });
    const left = await pool.getConnection();
    await left.query('set autocommit = 0');
    await left.query('select * from tricord_sites');
    left.release();
    const other = connect();
    const record = { transactionId: 'tc1.left', version: 1, text: 'yes' };
    expect(await mysqlSiteStorage({ pool: other }).open(node).write(record)).toBe('written');
    const store = mysqlSiteStorage({ pool }).open(node);
    expect(await store.read('tc1.left')).toEqual(record);
    const next = { ...record, version: 2, text: 'C' };
    expect(await store.write(next)).toBe('written');
    expect(await mysqlSiteStorage({ pool: other }).open(node).read('tc1.left')).toEqual(next);
    await store.remove('tc1.left', 2);
    await pool.end();
    await other.end();
  });

  test('a database without the table is refused, and settings are told', async () => {
    const pool = connect({ multipleStatements: true });
    const database = `sites_${Date.now()}`;
    await pool.query(`create database ${database}`);
    const empty = connect({ database });
    const store = mysqlSiteStorage({ pool: empty }).open(node);
    await expect(store.read('tc1.a')).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED' });
    await pool.query(`use ${database}; ${mysqlSetupSql()}`);
    await expect(store.read('tc1.a')).resolves.toBeUndefined();
    expect(await store.guarantees()).toMatchObject({ subject: 'mysql site s' });
    await pool.query(`update ${database}.tricord_versions set version = 2 where part = 'sites'`);
    const again = mysqlSiteStorage({ pool: empty }).open(node);
    await expect(again.read('tc1.a')).rejects.toMatchObject({ code: 'UPGRADE_NEEDED' });
    await empty.end();
    await pool.query(`drop database ${database}`);
    await pool.end();
  });
});
