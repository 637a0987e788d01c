// `tricord locks` and `tricord setup`.

import { Redis } from 'ioredis';
import pg from 'pg';
import { createLock } from 'tricord';
import { redisLock } from 'tricord/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runProgram } from '../../src/cli/program.js';
import { withoutSecrets } from '../../src/cli/report.js';
import { freshPrefix, onServer, sharedDatabase } from '../servers/shared.js';
import { eventually } from './postgres-stage.js';

async function tricord(...args: string[]) {
  const written = { out: '', err: '' };
  const output = {
    out: (text: string) => {
      written.out += text;
    },
    err: (text: string) => {
      written.err += text;
    },
  };
  return { code: await runProgram(args, output, '0.0.0'), ...written };
}

onServer('redis', 'tricord locks', (redis) => {
  let client: Redis;
  beforeAll(() => {
    client = new Redis(redis.url);
  });
  afterAll(() => client?.disconnect());

  test('lists who holds a lock and who waits for it', async () => {
    const prefix = freshPrefix('sku');
    const shop = createLock({ driver: redisLock({ client }), nodeId: 'shop-1' });
    const other = createLock({ driver: redisLock({ client }), nodeId: 'shop-2' });
    const lease = await shop.acquire(`${prefix}:42`, { ttlMs: 10_000 });
    const waiting = other.acquire(`${prefix}:42`, { waitMs: 10_000 });
    const json = async () => {
      const { out } = await tricord('locks', '--redis', redis.url, '--prefix', prefix, '--json');
      return JSON.parse(out) as { resource: string; holders: object[]; waiters: object[] }[];
    };
    await eventually(async () => (await json())[0]?.waiters.length === 1);
    const { code, out } = await tricord('locks', '--redis', redis.url, '--prefix', prefix);
    expect(code).toBe(0);
    expect(out).toMatch(/:42 +│ shop-1 +│ holds +│ exclusive/);
    expect(out).toMatch(/:42 +│ shop-2 +│ waits, 1\./);
    expect(out).toContain('\n1 resource\n');
    await lease.release();
    await (await waiting).release();
    expect((await tricord('locks', '--redis', redis.url, '--prefix', prefix)).out).toBe(
      'no lock is held\n',
    );
    await Promise.all([shop.close(), other.close()]);
  });
});

describe('tricord setup [postgresql]', () => {
  test('prints SQL that can be run again and again', async () => {
    const { code, out } = await tricord('setup', '--print', '--database', 'postgres');
    expect(code).toBe(0);
    const pool = new pg.Pool({ connectionString: await sharedDatabase('setup'), max: 1 });
    await pool.query(out);
    await pool.query(out);
    const { rows } = await pool.query('select part, version from tricord.versions order by part');
    expect(rows.map(({ part }) => part)).toContain('transactions');
    await pool.end();
  });

  test('prints the tables of every database, and creates nothing itself', async () => {
    const { code, out } = await tricord('setup', '--print');
    expect(code).toBe(0);
    for (const table of ['decisions', 'tricord_fence', 'tricord_branches']) {
      expect(out).toContain(table);
    }
    expect(await tricord('setup')).toMatchObject({ code: 1, out: '' });
    expect((await tricord('setup', '--print', '--database', 'oracle')).code).toBe(1);
  });

  test('help and version are no errors; an unknown command is', async () => {
    expect(await tricord('--version')).toMatchObject({ code: 0, out: '0.0.0\n' });
    expect((await tricord('--help')).out).toContain('doctor');
    expect((await tricord('operate')).code).toBe(1);
  });

  test('what is printed holds no password', () => {
    for (const text of [
      'connect to postgres://shop:hunter2@db:5432/orders failed',
      'redis://:hunter2@cache',
      'postgres://shop:not@hunter2@db/orders',
      '{"password":"hunter2"}',
      'user=shop password=hunter2 host=db',
      "mysql://shop:hunter2@db, password: 'hunter2'",
    ]) {
      expect(withoutSecrets(text)).not.toContain('hunter2');
    }
  });
});
