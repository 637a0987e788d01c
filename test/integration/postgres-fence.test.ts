// The fence in PostgreSQL: the transaction of a holder that was overtaken never commits.

import assert from 'node:assert/strict';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createLock, createTransactionCoordinator } from 'tricord';
import { memoryTransactions } from 'tricord/memory';
import { postgresFence, postgresParticipant } from 'tricord/postgres';
import { redisLock } from 'tricord/redis';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { freshPrefix, onServer, sharedDatabase, sharedServer } from '../servers/shared.js';
import { startFenceHolder } from './fence-holder.js';
import { eventually } from './postgres-stage.js';

const TTL_MS = 500;

const stale = (token: bigint, newest: bigint) => ({
  code: 'FENCE_STALE',
  details: { token, newest },
});

async function databaseWithFence(): Promise<{ readonly url: string; readonly pool: pg.Pool }> {
  const url = await sharedDatabase('fence');
  const pool = new pg.Pool({ connectionString: url });
  await pool.query(postgresFence().setupSql());
  await pool.query('create table report (body text)');
  await pool.query("insert into report values ('empty')");
  return { url, pool };
}

const bodyOf = async (pool: pg.Pool) => (await pool.query('select body from report')).rows[0].body;

describe('postgresFence under a lock on Redis [redis] [postgresql]', () => {
  test('the late transaction of a holder that was paused past its lease is refused', async () => {
    const redis = await sharedServer('redis');
    const { url, pool } = await databaseWithFence();
    const client = new Redis(redis.url);
    onTestFinished(async () => {
      client.disconnect();
      await pool.end();
    });
    const resource = freshPrefix('report');
    const config = { redisUrl: redis.url, postgresUrl: url, resource, ttlMs: TTL_MS };
    await using paused = startFenceHolder(config);
    const first = BigInt(await paused.line());
    assert.equal(await paused.write(), 'written');
    paused.child.kill('SIGSTOP');
    const lock = createLock({ driver: redisLock({ client }) });
    const lease = await lock.acquire(resource, { ttlMs: 10_000, waitMs: 10_000 });
    const token = lease.fencingToken ?? 0n;
    const mine = await pool.connect();
    await mine.query('begin');
    await postgresFence().advance(mine, resource, token);
    await mine.query("update report set body = 'of the new holder'");
    await mine.query('commit');
    mine.release();
    paused.child.kill('SIGCONT');
    assert.equal(await paused.write(), `FENCE_STALE ${first} < ${token}`);
    assert.equal(await bodyOf(pool), 'of the new holder');
    await lease.release();
    await lock.close();
  });
});

onServer('postgresql', 'postgresFence', () => {
  const fence = postgresFence();
  let pool: pg.Pool;
  beforeAll(async () => {
    ({ pool } = await databaseWithFence());
  });
  afterAll(() => pool.end());

  /** A connection in a transaction. */
  const begin = async (isolation = 'read committed') => {
    const client = await pool.connect();
    await client.query(`begin isolation level ${isolation}`);
    onTestFinished(() => client.release(true));
    return client;
  };
  const advance = async (resource: string, token: bigint | string) => {
    const client = await pool.connect();
    try {
      await client.query('begin');
      await fence.advance(client, resource, token);
      await client.query('commit');
    } finally {
      client.release(true);
    }
  };

  test('a token lower than the newest is refused, an equal or higher one is not', async () => {
    const rising = [0n, 9n, 10n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 64n, 10n ** 40n - 1n];
    for (const [index, token] of rising.entries()) {
      await advance('numbers', token);
      await advance('numbers', String(token));
      for (const older of rising.slice(0, index)) {
        await expect(advance('numbers', older)).rejects.toMatchObject(stale(older, token));
      }
    }
    await advance('another resource', 0n);
  });

  test('a token of a transaction that rolls back was never seen', async () => {
    await advance('rolled back', 1n);
    const client = await begin();
    await fence.advance(client, 'rolled back', 5n);
    await client.query('rollback');
    await advance('rolled back', 2n);
  });

  test('a newer holder waits for an older one that commits, an older one for a newer', async () => {
    for (const [resource, first, second] of [
      ['older first', 1n, 2n],
      ['newer first', 2n, 1n],
    ] as const) {
      const [one, other] = [await begin(), await begin()];
      await fence.advance(one, resource, first);
      const { rows } = await other.query('select pg_backend_pid() as pid');
      const waiting = fence.advance(other, resource, second).then(
        () => 'advanced',
        (error: unknown) => error,
      );
      await eventually(async () => {
        const text = "select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
        return (await pool.query(text, [rows[0].pid])).rowCount === 1;
      });
      await one.query('commit');
      if (second > first) assert.equal(await waiting, 'advanced');
      else expect(await waiting).toMatchObject(stale(second, first));
      await other.query('rollback');
    }
  });

  test('under repeatable read a race is a serialization failure, never two winners', async () => {
    await advance('snapshot', 1n);
    const client = await begin('repeatable read');
    await client.query('select 1 from report');
    await advance('snapshot', 3n);
    await expect(fence.advance(client, 'snapshot', 2n)).rejects.toMatchObject({ code: '40001' });
  });

  test('it works inside a branch of a transaction, and a stale token aborts that', async () => {
    const orders = postgresParticipant({ name: 'orders', pool });
    const coordinator = createTransactionCoordinator({
      log: memoryTransactions(),
      participants: [orders],
      acceptRisk: true,
    });
    onTestFinished(() => coordinator.close());
    await advance('branch', 7n);
    const write = (token: bigint) =>
      coordinator.run({ resourceId: 'branch' }, async (tx) => {
        const db = await tx.enlist(orders);
        await db.query('update report set body = $1', [String(token)]);
        await fence.advance(db, 'branch', token);
      });
    assert.equal((await write(8n)).state, 'committed');
    expect(await write(6n)).toMatchObject({ state: 'aborted', cause: stale(6n, 8n) });
    assert.equal(await bodyOf(pool), '8');
  });

  test('without its table it says how to make it; made twice it keeps its tokens', async () => {
    const other = postgresFence({ table: 'public.fence_2' });
    const missing = { code: 'BACKEND_UNSUPPORTED', message: /setupSql\(\)/ };
    await expect(other.advance(await begin(), 'x', 1n)).rejects.toMatchObject({
      ...missing,
      message: expect.stringMatching(missing.message),
    });
    await pool.query(other.setupSql());
    await other.advance(pool, 'x', 2n);
    await pool.query(other.setupSql());
    await expect(other.advance(pool, 'x', 1n)).rejects.toMatchObject(stale(1n, 2n));
  });

  test('what is no token, resource or table is refused before anything is sent', async () => {
    const client = { query: () => assert.fail('it was sent') };
    for (const token of [12, -1n, '', '1e3', 10n ** 40n]) {
      const refused = fence.advance(client, 'x', token as never);
      await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    await expect(fence.advance(client, '', 1n)).rejects.toMatchObject({ argument: 'resource' });
    for (const table of ['x; drop table y', 'A', 'a.b.c', '"q"', '']) {
      expect(() => postgresFence({ table })).toThrow(/table/);
    }
  });
});
