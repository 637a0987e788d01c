// redisBarrier against a real Redis: one script for effect and mark, whatever is sent twice or at once.

import assert from 'node:assert/strict';
import { Redis } from 'ioredis';
import { functionParticipant, newTransactionId } from 'tricord';
import { type RedisBarrierClient, redisBarrier } from 'tricord/redis';
import { afterAll, expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { freshPrefix, onServer } from '../servers/shared.js';

interface Request {
  readonly sku: string;
  readonly quantity: number;
}

onServer('redis', 'redisBarrier', (redis) => {
  const client = new Redis(redis.url);
  const prefix = freshPrefix('barrier');
  afterAll(() => client.quit());
  const key = (name: string) => `${prefix}:${name}`;
  const open = (of: Redis = client, retainMs?: number) => {
    const barrier = redisBarrier({ client: of, namespace: prefix, retainMs });
    return functionParticipant<Request, RedisBarrierClient>({
      name: 'stock',
      barrier,
      prepare(writes, { request: { sku, quantity } }) {
        writes.increment(key(sku), -quantity, { min: 0 });
        writes.increment(key(`${sku}:reserved`), quantity);
      },
      commit(writes, { request: { sku, quantity }, branchId }) {
        writes.increment(key(`${sku}:reserved`), -quantity);
        writes.append(key(`${sku}:sold`), `${branchId} ${quantity}`);
        writes.setField(key(`${sku}:by`), branchId, String(quantity));
        writes.addMember(key(`${sku}:all`), branchId);
      },
      abort(writes, { request: { sku, quantity } }) {
        writes.increment(key(sku), quantity);
        writes.increment(key(`${sku}:reserved`), -quantity);
      },
    });
  };
  const begin = async (participant = open(), quantity = 1, sku = 'lamp') => {
    const transactionId = newTransactionId('order:1', 'stage');
    const branchId = `${transactionId}.1`;
    const { signal } = new AbortController();
    const context = { transactionId, branchId, timeoutMs: 5_000, clock: systemClock, signal };
    const branch = await participant.enlist(context);
    await branch.handle.request({ sku, quantity });
    return { branch, record: { branchId, evidence: '' } };
  };
  const stockOf = async (sku = 'lamp') => [
    Number(await client.get(key(sku))),
    Number(await client.get(key(`${sku}:reserved`))),
    await client.llen(key(`${sku}:sold`)),
  ];

  test('a commit that is sent ten times at once takes effect once', async () => {
    await client.set(key('lamp'), '5');
    const participant = open();
    const { branch, record } = await begin(participant, 2);
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    assert.deepEqual(await stockOf(), [3, 2, 0]);
    await Promise.all(Array.from({ length: 10 }, () => participant.commit(record)));
    assert.deepEqual(await stockOf(), [3, 0, 1]);
  });

  test('more than there is makes the vote no, with the numbers, and changes nothing', async () => {
    await client.set(key('rare'), '1');
    const { branch } = await begin(open(), 2, 'rare');
    expect(await branch.prepare()).toMatchObject({
      vote: 'no',
      reason: expect.stringContaining('1 is available, 2 would fall below 0'),
    });
    assert.deepEqual(await stockOf('rare'), [1, 0, 0]);
  });

  test('a key of another type is found before anything is written', async () => {
    await client.set(key('odd'), '5');
    await client.rpush(key('odd:reserved'), 'not a number');
    const { branch } = await begin(open(), 1, 'odd');
    expect(await branch.prepare()).toMatchObject({
      vote: 'no',
      cause: { code: 'CONDITION_FAILED' },
    });
    assert.equal(await client.get(key('odd')), '5');
  });

  test('a lost reply to a step is settled by sending it again, and the effect is there once', async () => {
    await client.set(key('far'), '5');
    await using proxy = await redis.proxy();
    const through = new Redis(proxy.url, { maxRetriesPerRequest: null });
    through.on('error', () => {});
    const participant = open(through);
    const { branch, record } = await begin(participant, 1, 'far');
    // The second request with the branch's id is the step; the first one looks.
    const lost = proxy.cutAfterForward(record.branchId, 2);
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    await lost;
    assert.deepEqual(await stockOf('far'), [4, 1, 0]);
    await participant.abort(record);
    assert.deepEqual(await stockOf('far'), [5, 0, 0]);
    through.disconnect();
  });

  test('marks of ended branches are forgotten after retainMs, prepared ones never', async () => {
    await client.set(key('old'), '9');
    const participant = open(client, 0);
    const first = await begin(participant, 1, 'old');
    await first.branch.prepare();
    await participant.commit(first.record);
    const prepared = await begin(participant, 1, 'old');
    await prepared.branch.prepare();
    for (let i = 0; i < 3; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      const { record } = await begin(participant, 1, 'old');
      await participant.abort(record);
    }
    assert.equal(await participant.outcome(first.record), 'unknown');
    assert.equal(await participant.outcome(prepared.record), 'prepared');
    await participant.abort(prepared.record);
  });

  test('data of a newer release is refused, not misread', async () => {
    const namespace = freshPrefix('newer');
    await client.hset(`tricord:${namespace}:barrier:{stock}:stock:states`, ':format', '2');
    const barrier = redisBarrier({ client, namespace });
    await assert.rejects(barrier.state('stock', 'x.1'), { code: 'UPGRADE_NEEDED' });
  });

  test('two kinds of write to one key in one step are a mistake of the program', async () => {
    const participant = functionParticipant<Request, RedisBarrierClient>({
      name: 'stock',
      barrier: redisBarrier({ client, namespace: prefix }),
      prepare(writes) {
        writes.set(key('x'), '1');
        writes.increment(key('x'), 1);
      },
      commit: () => {},
      abort: () => {},
    });
    const { branch } = await begin(participant);
    expect(await branch.prepare()).toMatchObject({
      vote: 'no',
      cause: { code: 'INVALID_ARGUMENT' },
    });
  });
});
