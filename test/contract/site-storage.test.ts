import { Redis } from 'ioredis';
import { Pool } from 'pg';
import { memorySiteStorage } from 'tricord/memory';
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
