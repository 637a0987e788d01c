// The coordinator over two real databases with its decisions on a real Redis.

import assert from 'node:assert/strict';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createTransactionCoordinator, type TransactionCoordinator } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { redisTransactions } from 'tricord/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ServerHandle, startRedis } from '../servers/provider.js';
import { sharedDatabase } from '../servers/shared.js';

const COUNT_RECORDS = `
local count = 0
for _, suffix in ipairs({':open', ':done'}) do
  for _, key in ipairs(redis.call('KEYS', '*' .. suffix)) do
    count = count + redis.call('HLEN', key)
  end
end
return count`;

describe('transactions over two databases, decided on Redis [postgresql] [redis]', () => {
  let redis: ServerHandle;
  let client: Redis;
  let pools: Record<'orders' | 'payments', pg.Pool>;
  let participants: Record<'orders' | 'payments', ReturnType<typeof postgresParticipant<pg.Pool>>>;
  let coordinator: TransactionCoordinator;
  beforeAll(async () => {
    redis = await startRedis({ appendonly: 'always' });
    client = new Redis(redis.url);
    const open = async (name: string) => {
      const pool = new pg.Pool({ connectionString: await sharedDatabase(name), max: 4 });
      await pool.query('create table item (id int primary key)');
      return pool;
    };
    pools = { orders: await open('orders'), payments: await open('payments') };
    participants = {
      orders: postgresParticipant({ name: 'orders', pool: pools.orders }),
      payments: postgresParticipant({ name: 'payments', pool: pools.payments }),
    };
    coordinator = createTransactionCoordinator({
      log: redisTransactions({ client }),
      participants: Object.values(participants),
      sweepMs: Number.POSITIVE_INFINITY,
      requireGuarantee: 'power-loss',
    });
  });
  afterAll(async () => {
    await coordinator?.close();
    client?.disconnect();
    await Promise.all(Object.values(pools ?? {}).map((pool) => pool.end()));
    await redis?.[Symbol.asyncDispose]();
  });

  const place = (id: number, names: readonly ('orders' | 'payments')[], fail?: Error) =>
    coordinator.run({ resourceId: `order:${id}` }, async (tx) => {
      for (const name of names) {
        const db = await tx.enlist(participants[name]);
        await db.query('insert into item values ($1)', [id]);
      }
      if (fail !== undefined) throw fail;
      return id;
    });
  const where = async (id: number) => {
    const found = await Promise.all(
      (['orders', 'payments'] as const).map(async (name) => {
        const { rowCount } = await pools[name].query('select 1 from item where id = $1', [id]);
        return rowCount === 1 ? [name] : [];
      }),
    );
    return found.flat();
  };
  const quiet = async () => {
    for (const pool of Object.values(pools)) {
      const { rows } = await pool.query(
        'select gid from pg_prepared_xacts where database = current_database()',
      );
      assert.deepEqual(rows, []);
      assert.equal(pool.totalCount, pool.idleCount, 'every client is back in its pool');
    }
  };
  /** Writes to the log by scripts of decisions since the last call. */
  const decisions = async (work: () => Promise<unknown>) => {
    // In one step: a record moves from one hash to the other when it is acknowledged.
    const count = async () => Number(await client.eval(COUNT_RECORDS, 0));
    const before = await count();
    await work();
    return (await count()) - before;
  };

  test('commits in both databases, with one record in the log', async () => {
    const records = await decisions(async () => {
      const outcome = await place(1, ['orders', 'payments']);
      assert.equal(outcome.state, 'committed');
      assert.equal(outcome.unwrap(), 1);
    });
    assert.equal(records, 1);
    assert.deepEqual(await where(1), ['orders', 'payments']);
    await quiet();
  });

  test('an error of the body undoes both, rethrows untouched, and writes nothing to the log', async () => {
    const failure = new Error('no');
    const records = await decisions(async () => {
      const outcome = await place(2, ['orders', 'payments'], failure);
      expect(outcome).toMatchObject({ state: 'aborted', by: 'body', cause: failure });
    });
    assert.equal(records, 0);
    assert.deepEqual(await where(2), []);
    await quiet();
  });

  test('a statement that fails in one database undoes the other, though the body caught the error', async () => {
    await place(3, ['orders']);
    const outcome = await coordinator.run({ resourceId: 'order:3' }, async (tx) => {
      const payments = await tx.enlist(participants.payments);
      await payments.query('insert into item values (3)');
      const orders = await tx.enlist(participants.orders);
      await orders.query('insert into item values (3)').catch(() => {});
    });
    expect(outcome).toMatchObject({ state: 'aborted', by: 'participant', participant: 'orders' });
    assert.deepEqual(await where(3), ['orders']);
    await quiet();
  });

  test('one database alone commits in one phase and writes nothing to the log', async () => {
    const records = await decisions(async () => {
      assert.equal((await place(4, ['payments'])).state, 'committed');
    });
    assert.equal(records, 0);
    assert.deepEqual(await where(4), ['payments']);
    await quiet();
  });

  test('fifty transactions at once on pools of four all commit, and leave nothing', async () => {
    const ids = Array.from({ length: 50 }, (_, index) => 100 + index);
    const outcomes = await Promise.all(ids.map((id) => place(id, ['orders', 'payments'])));
    assert.deepEqual(new Set(outcomes.map(({ state }) => state)), new Set(['committed']));
    await quiet();
  });

  test('guarantees name the log and both databases, and the weakest of them', async () => {
    const guarantees = await coordinator.guarantees();
    assert.equal(guarantees.survives, 'power-loss');
    assert.deepEqual(
      guarantees.parts.map(({ subject }) => subject),
      ['redis transactions', 'postgres orders', 'postgres payments'],
    );
  });

  test('a log that may evict decisions is refused before anything, unless the risk is accepted', async () => {
    await using unsafe = await startRedis({ config: { 'maxmemory-policy': 'allkeys-lru' } });
    const own = new Redis(unsafe.url);
    const options = {
      log: redisTransactions({ client: own }),
      participants: [participants.orders],
    };
    const insert = (to: TransactionCoordinator, id: number) =>
      to.run({ resourceId: 'order' }, async (tx) => {
        await (await tx.enlist(participants.orders)).query('insert into item values ($1)', [id]);
      });
    const strict = createTransactionCoordinator(options);
    await expect(insert(strict, 500)).rejects.toMatchObject({
      code: 'GUARANTEE_REFUSED',
      message: expect.stringContaining('set maxmemory-policy noeviction'),
    });
    assert.deepEqual(await where(500), []);
    const daring = createTransactionCoordinator({ ...options, acceptRisk: true });
    assert.equal((await insert(daring, 501)).state, 'committed');
    await Promise.all([strict.close(), daring.close()]);
    own.disconnect();
  });
});
