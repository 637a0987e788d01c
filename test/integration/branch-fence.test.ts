// Fencing tokens inside of transactions: a holder that was overtaken cannot commit.

import { Redis } from 'ioredis';
import pg from 'pg';
import { createTransactionCoordinator } from 'tricord';
import { memoryParticipant, memoryTransactions } from 'tricord/memory';
import { postgresFence, postgresParticipant } from 'tricord/postgres';
import { redisFence, redisParticipant } from 'tricord/redis';
import { afterAll, expect, test } from 'vitest';
import { freshPrefix, onServer, sharedDatabase } from '../servers/shared.js';

onServer('redis', 'a fence in a branch of redisParticipant', (redis) => {
  const client = new Redis(redis.url);
  const namespace = freshPrefix('f').slice(0, 8);
  const stock = redisParticipant({ name: 'stock', client, namespace });
  const other = memoryParticipant({ name: 'other' });
  const coordinator = createTransactionCoordinator({
    log: memoryTransactions(),
    participants: [stock, other],
    acceptRisk: true,
  });
  const fence = redisFence({ client, namespace });
  afterAll(async () => {
    await coordinator.close();
    client.disconnect();
  });

  /** One transaction that writes under a token, in one phase or in two. */
  const writeWith = (
    resource: string,
    token: bigint,
    between: () => Promise<unknown> = async () => {},
    isTwoPhase = true,
  ) =>
    coordinator.run({ resourceId: resource }, async (tx) => {
      const branch = await tx.enlist(stock);
      await branch.fence(resource, token);
      await branch.set(`value of ${resource}`, `by ${token}`);
      if (isTwoPhase) await (await tx.enlist(other)).set(resource, `${token}`);
      await between();
    });

  test.for([true, false])(
    'tokens rise, an equal one is welcome, an older one is refused (two phases: %s)',
    async (isTwoPhase) => {
      const resource = freshPrefix('doc');
      const run = (token: bigint) => writeWith(resource, token, undefined, isTwoPhase);
      expect(await run(9n)).toMatchObject({ state: 'committed' });
      expect(await run(9n)).toMatchObject({ state: 'committed' });
      expect(await run(10n)).toMatchObject({ state: 'committed' });
      const stale = await run(9n);
      expect(stale).toMatchObject({ state: 'aborted', cause: { code: 'FENCE_STALE' } });
      expect(await client.get(`value of ${resource}`)).toBe('by 10');
      // The same fence as redisFence's.
      await expect(fence.check(resource, 9n)).rejects.toMatchObject({ code: 'FENCE_STALE' });
      await fence.check(resource, 10n);
    },
  );

  test.for([true, false])(
    'a holder that is overtaken before its commit is refused by prepare (two phases: %s)',
    async (isTwoPhase) => {
      const resource = freshPrefix('doc');
      const overtake = () => fence.advance(resource, 8n);
      const outcome = await writeWith(resource, 7n, overtake, isTwoPhase);
      expect(outcome).toMatchObject({
        state: 'aborted',
        cause: { code: 'FENCE_STALE', details: { resource, token: 7n, newest: 8n } },
      });
      expect(await client.get(`value of ${resource}`)).toBeNull();
    },
  );

  test('a token of a transaction that aborts was never seen', async () => {
    const resource = freshPrefix('doc');
    const failing = writeWith(resource, 5n, async () => {
      throw new Error('changed my mind');
    });
    expect(await failing).toMatchObject({ state: 'aborted' });
    expect(await writeWith(resource, 4n)).toMatchObject({ state: 'committed' });
  });

  test('what is no token is refused before anything is sent', async () => {
    const outcome = await writeWith('doc', 1 as never);
    expect(outcome).toMatchObject({ state: 'aborted', cause: { code: 'INVALID_ARGUMENT' } });
  });
});

onServer('postgresql', 'a fence in a branch of postgresParticipant', () => {
  test('postgresFence guards a branch: an older token aborts the transaction', async () => {
    const pool = new pg.Pool({ connectionString: await sharedDatabase('fence') });
    await pool.query('create table documents (id text primary key, body text)');
    const orders = postgresParticipant({ name: 'orders', pool });
    const coordinator = createTransactionCoordinator({
      log: memoryTransactions(),
      participants: [orders],
      acceptRisk: true,
    });
    const fence = postgresFence();
    await pool.query(fence.setupSql());
    const write = (token: bigint) =>
      coordinator.run({ resourceId: 'doc' }, async (tx) => {
        const client = await tx.enlist(orders);
        await fence.advance(client, 'doc', token);
        const upsert =
          'insert into documents values ($1, $2) on conflict (id) do update set body = $2';
        await client.query(upsert, ['doc', `by ${token}`]);
      });
    expect(await write(9n)).toMatchObject({ state: 'committed' });
    expect(await write(8n)).toMatchObject({ state: 'aborted', cause: { code: 'FENCE_STALE' } });
    const { rows } = await pool.query('select body from documents');
    expect(rows).toEqual([{ body: 'by 9' }]);
    await coordinator.close();
    await pool.end();
  });
});
