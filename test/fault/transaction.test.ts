// Transactions over two PostgreSQL databases with decisions on Redis, when processes, servers and
// connections fail at every step: all or nothing, and nothing is left behind.

import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { seededRandom } from '../../src/core/random.js';
import { eventually } from '../integration/postgres-stage.js';
import { measured } from '../servers/shared.js';
import {
  type TransactionNode,
  type TransactionStage,
  transactionStage,
} from './transaction-stage.js';

const BOTH = ['orders', 'payments'];
let stage: TransactionStage;
let lastId = 0;
const nextId = () => {
  lastId += 1_000;
  return lastId;
};
beforeAll(async () => {
  stage = await transactionStage();
});
afterAll(() => stage?.[Symbol.asyncDispose]());
const elapsedSince = (startedAt: number) => performance.now() - startedAt;

describe('a killed coordinator [postgresql] [redis]', () => {
  let recoverer: TransactionNode;
  beforeAll(() => {
    recoverer = stage.node();
  });
  afterAll(() => recoverer?.[Symbol.asyncDispose]());

  test.each([
    ['before prepare of orders', 'nowhere'],
    ['prepare of orders sent', 'nowhere'],
    ['after prepare of orders', 'nowhere'],
    ['after prepare of payments', 'nowhere'],
    ['before decide', 'nowhere'],
    ['decide sent', 'both or nowhere'],
    ['after decide', 'both'],
    ['commit of payments sent', 'both'],
    ['after commit of orders', 'both'],
    ['before acknowledge', 'both'],
  ])(
    'killed coordinator: %s, the order is %s, and nothing stays prepared',
    async (point, expected) => {
      const id = nextId();
      const owner = stage.owner({ id, point, signal: 'SIGKILL' });
      assert.equal(await owner.exited, 'SIGKILL');
      const killedAt = performance.now();
      const left = (await stage.prepared()).length;
      await stage.quiet();
      const ms = elapsedSince(killedAt).toFixed(0);
      const where = await stage.where(id);
      measured(`killed ${point}: ${left} prepared, clean after ${ms} ms, order in ${where.length}`);
      if (expected === 'both') assert.deepEqual(where, BOTH);
      else if (expected === 'nowhere') assert.deepEqual(where, []);
      else assert.ok(where.length === 0 || where.length === 2, where.join());
    },
  );

  test('killed coordinator at random moments under load: every order is in both databases or in none', async () => {
    const seed = Number(process.env.SEED ?? 20_261);
    const random = seededRandom(seed);
    let left = 0;
    const rounds = 5;
    for (let round = 0; round < rounds; round += 1) {
      const owner = stage.owner({ id: nextId() * 1_000, point: 'any time', signal: 'SIGKILL' });
      assert.equal(await owner.line(), 'busy');
      await new Promise((resolve) => setTimeout(resolve, 20 + 300 * random.fraction()));
      owner.child.kill('SIGKILL');
      await owner.exited;
      left += (await stage.prepared()).length;
    }
    await stage.quiet();
    measured(`SEED=${seed}: ${rounds} kills under load left ${left} branches prepared`);
    assert.deepEqual(await stage.mixed(), []);
  });

  test('a paused coordinator that wakes after it was fenced aborts, and commits nothing', async () => {
    const id = nextId();
    const owner = stage.owner({ id, point: 'before decide', signal: 'SIGSTOP' });
    await eventually(async () => (await stage.prepared()).length === 2);
    const pausedAt = performance.now();
    await stage.quiet();
    measured(
      `a paused owner's branches were rolled back after ${elapsedSince(pausedAt).toFixed(0)} ms`,
    );
    owner.child.kill('SIGCONT');
    assert.equal(await owner.line(), 'aborted by fence');
    assert.equal(await owner.exited, 0);
    assert.deepEqual(await stage.where(id), []);
    await stage.quiet();
  });

  test('a paused coordinator whose decision was made wakes to find it carried out', async () => {
    const id = nextId();
    const owner = stage.owner({ id, point: 'after decide', signal: 'SIGSTOP' });
    await eventually(async () => (await stage.where(id)).length === 2);
    owner.child.kill('SIGCONT');
    assert.equal(await owner.line(), 'committed');
    assert.equal(await owner.exited, 0);
    await stage.quiet();
  });
});

describe('a transaction whose replies are lost [postgresql] [redis]', () => {
  const through = async (
    what: 'postgres' | 'redis',
    body: (node: TransactionNode, cut: (needle: string) => Promise<void>) => Promise<void>,
  ) => {
    await using proxy = await stage[what].proxy();
    const payments = new URL(stage.paymentsUrl);
    payments.port = String(proxy.port);
    const addresses = what === 'redis' ? { redisUrl: proxy.url } : { paymentsUrl: payments.href };
    await using node = stage.node(addresses);
    await body(node, (needle) => proxy.cutAfterForward(needle));
  };

  test('a lost reply to PREPARE aborts the transaction, and nothing stays prepared', async () => {
    await through('postgres', async (node, cut) => {
      const id = nextId();
      const lost = cut('prepare transaction');
      const outcome = await node.place(id);
      await lost;
      assert.equal(outcome.state, 'aborted');
      await stage.quiet();
      assert.deepEqual(await stage.where(id), []);
    });
  });

  test('a lost reply to decide is found out, and the caller is told committed', async () => {
    await through('redis', async (node, cut) => {
      await node.place(nextId());
      const id = nextId();
      const lost = cut(`order:${id}`);
      const startedAt = performance.now();
      const outcome = await node.place(id);
      await lost;
      measured(
        `a transaction with a lost reply to decide took ${elapsedSince(startedAt).toFixed(0)} ms`,
      );
      assert.equal(outcome.state, 'committed');
      assert.deepEqual(await stage.where(id), BOTH);
      await stage.quiet();
    });
  });

  test('a lost reply to COMMIT PREPARED is made up for, and the caller is told committed', async () => {
    await through('postgres', async (node, cut) => {
      const id = nextId();
      const lost = cut('commit prepared');
      const outcome = await node.place(id);
      await lost;
      assert.equal(outcome.state, 'committed');
      await stage.quiet();
      assert.deepEqual(await stage.where(id), BOTH);
    });
  });
});

describe('a frozen Redis at the decision [postgresql] [redis]', () => {
  test('frozen redis at decide: in-doubt at the time-out, and the same everywhere after it thaws', async () => {
    await using proxy = await stage.redis.proxy();
    await using node = stage.node({ redisUrl: proxy.url });
    await node.place(nextId());
    const id = nextId();
    const { coordinator, orders, payments } = node;
    const startedAt = performance.now();
    const running = coordinator.run({ resourceId: `order:${id}`, timeoutMs: 1_500 }, async (tx) => {
      for (const each of [orders, payments]) {
        const db = await tx.enlist(each);
        await db.query('insert into placed values ($1)', [id]);
      }
      proxy.freeze();
    });
    const outcome = await running;
    measured(
      `frozen at decide: answered ${outcome.state} after ${elapsedSince(startedAt).toFixed(0)} ms (bound 1500)`,
    );
    assert.equal(outcome.state, 'in-doubt');
    assert.ok(elapsedSince(startedAt) < 2_000);
    assert.equal((await stage.prepared()).length, 2);
    const thawedAt = performance.now();
    proxy.thaw();
    await stage.quiet();
    const where = await stage.where(id);
    measured(
      `in-doubt branches were resolved ${elapsedSince(thawedAt).toFixed(0)} ms after the thaw, order in ${where.length}`,
    );
    assert.ok(where.length === 0 || where.length === 2, where.join());
  });

  test('a Redis that is killed before the decision: nothing commits, and it goes on after the restart', async () => {
    await using node = stage.node();
    await node.place(nextId());
    const id = nextId();
    await stage.redis.kill();
    const outcome = await node.place(id, 3_000);
    assert.notEqual(outcome.state, 'committed');
    await stage.redis.restart();
    await stage.quiet();
    assert.deepEqual(await stage.where(id), []);
    assert.equal((await node.place(nextId())).state, 'committed');
    await stage.quiet();
  });
});
