// What a transaction sends and forces to the disk, counted on servers that nobody else uses, against
// the tables of docs/reference/transaction-costs.md.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import pg from 'pg';
import {
  createTransactionCoordinator,
  type DecisionLog,
  type Participant,
  type TransactionCoordinator,
} from 'tricord';
import { memoryParticipant } from 'tricord/memory';
import { postgresParticipant, postgresTransactions, setupSql } from 'tricord/postgres';
import { redisTransactions } from 'tricord/redis';
import { zookeeper, zookeeperTransactions } from 'tricord/zookeeper';
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import { startPostgres, startRedis, startZookeeper } from '../servers/provider.js';

const ROUNDS = 10;

let rows = 0;
/** No two transactions write the same row. */
function next(): number {
  rows += 1;
  return rows;
}

const PAGE = readFileSync(
  new URL('../../docs/reference/transaction-costs.md', import.meta.url),
  'utf8',
);

/** The cells of the row that begins with these. */
function row(...first: readonly string[]): readonly number[] {
  const lines = PAGE.split('\n').map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  const found = lines.find((cells) => first.every((text, index) => cells[index] === text));
  assert.ok(found, `the page has no row ${first.join(', ')}`);
  return found.slice(first.length).map(Number);
}

describe('what a transaction costs [redis] [postgresql] [zookeeper]', () => {
  const cleanups: (() => unknown)[] = [];
  const servers: AsyncDisposable[] = [];
  let redis: Awaited<ReturnType<typeof startRedis>>;
  let postgres: Awaited<ReturnType<typeof startPostgres>>;
  beforeAll(async () => {
    redis = await startRedis({ appendonly: 'always' });
    postgres = await startPostgres();
    servers.push(redis, postgres);
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  afterAll(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]();
  });

  const coordinatorOf = (
    log: DecisionLog,
    participants: readonly Participant[],
    lastResource?: Participant,
  ): TransactionCoordinator => {
    const coordinator = createTransactionCoordinator({
      ...{ log, participants, lastResource },
      sweepMs: Number.POSITIVE_INFINITY,
    });
    cleanups.push(() => coordinator.close());
    return coordinator;
  };
  const memory = () => {
    const stock = memoryParticipant({ name: 'stock' });
    const orders = memoryParticipant({ name: 'orders' });
    const write =
      (to: readonly (typeof stock)[]) =>
      async (tx: Parameters<Parameters<TransactionCoordinator['run']>[1]>[0]) => {
        for (const each of to) await (await tx.enlist(each)).set(`row ${next()}`, 1);
      };
    return { stock, orders, both: write([stock, orders]), one: write([stock]) };
  };
  const redisClient = () => {
    const client = new Redis(redis.url);
    cleanups.push(() => client.disconnect());
    return client;
  };
  const scripts = async (client: Redis): Promise<number> => {
    const text = await client.info('commandstats');
    const calls = [...text.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)(?:.*?failed_calls=(\d+))?/g)];
    return calls.reduce((sum, [, all, failed]) => sum + Number(all) - Number(failed ?? 0), 0);
  };
  /** Until the messages that are not waited for have been sent. */
  const settled = () => new Promise((resolve) => setTimeout(resolve, 150));

  test('a log in Redis: messages of commits, keys, single branches and aborts', async () => {
    const client = redisClient();
    const { stock, orders, both, one } = memory();
    const log = redisTransactions({ client, livenessTimeoutMs: 600_000 });
    const coordinator = coordinatorOf(log, [stock, orders]);
    await coordinator.run({ resourceId: 'o' }, both);
    const count = async (run: (index: number) => Promise<unknown>) => {
      await settled();
      const before = await scripts(client);
      let answered = 0;
      for (let index = 0; index < ROUNDS; index += 1) {
        const start = await scripts(client);
        await run(index);
        answered += (await scripts(client)) - start;
        await settled();
      }
      const all = (await scripts(client)) - before;
      return [answered / ROUNDS, (all - answered) / ROUNDS];
    };
    const counted = {
      committed: await count(() => coordinator.run({ resourceId: 'o' }, both)),
      'committed with a `key`': await count((index) =>
        coordinator.run({ resourceId: 'o', key: `key ${index}` }, both),
      ),
      'committed, one branch': await count(() => coordinator.run({ resourceId: 'o' }, one)),
      aborted: await count(() =>
        coordinator.run({ resourceId: 'o' }, async (tx) => {
          await both(tx);
          tx.setRollbackOnly('counted');
        }),
      ),
    };
    for (const [name, [answered, later]] of Object.entries(counted)) {
      const [messages, , afterwards] = row(name, '`redisTransactions`');
      // The first message later may come just before the answer is counted.
      assert.equal((answered ?? 0) + (later ?? 0), (messages ?? 0) + (afterwards ?? 0), name);
      assert.ok((answered ?? 0) >= (messages ?? 0), name);
    }
  });

  test('a log in ZooKeeper: one write a committed transaction, acknowledgements included', async () => {
    const server = await startZookeeper();
    servers.push(server);
    const session = zookeeper({ servers: server.url, sessionTimeoutMs: 8_000 });
    cleanups.push(() => session.close());
    const { stock, orders, both } = memory();
    const coordinator = coordinatorOf(zookeeperTransactions({ session }), [stock, orders]);
    await coordinator.run({ resourceId: 'o' }, both);
    const proxy = await server.proxy();
    cleanups.push(() => proxy.close());
    const writes = async (): Promise<number> => {
      const { connectionOf } = await import('../../src/drivers/zookeeper/session.js');
      const connection = connectionOf(session);
      const live = await connection.current('count', {});
      const base = `${connection.root}/transactions/zk/default`;
      const children = await live.ask.children(base);
      assert.ok(children.ok);
      const [name] = children.value.names;
      const head = await live.ask.get(`${base}/${name}`);
      assert.ok(head.ok);
      return head.value.stat.version;
    };
    const before = await writes();
    for (let index = 0; index < ROUNDS; index += 1)
      await coordinator.run({ resourceId: 'o' }, both);
    const [messages = 0, , later = 0] = row('committed', '`zookeeperTransactions`');
    assert.equal((await writes()) - before, (messages + later) * ROUNDS);
  });

  /** A participant whose messages are counted, and forced writes of the server. */
  const counting = async () => {
    const url = await postgres.createDatabase('costs');
    const admin = new pg.Pool({ connectionString: url, max: 1 });
    cleanups.push(() => admin.end());
    await admin.query('create table written (id serial)');
    await admin.query(setupSql());
    const poolOf = () => {
      const pool = new pg.Pool({ connectionString: url, max: 1 });
      cleanups.push(() => pool.end());
      const sent: string[] = [];
      pool.on('connect', (client) => {
        const query = client.query.bind(client) as (...values: unknown[]) => Promise<unknown>;
        Object.assign(client, {
          query: (...values: unknown[]) => {
            sent.push(String(values[0]));
            return query(...values);
          },
        });
      });
      return { pool, sent };
    };
    /** What the only connections of these pools, and everybody else, forced to the disk so far. */
    const syncs = async (...pools: readonly pg.Pool[]): Promise<number> => {
      for (const each of pools) await each.query('select pg_stat_force_next_flush()');
      const { rows } = await admin.query('select wal_sync::int as count from pg_stat_wal');
      return rows[0].count;
    };
    const client = redisClient();
    const inRedis = redisTransactions({ client, livenessTimeoutMs: 600_000 });
    return { admin, poolOf, syncs, inRedis };
  };
  const insert = 'insert into written default values';

  test('branches in PostgreSQL: messages, and forced writes by the server’s own count', async () => {
    const { poolOf, syncs, inRedis } = await counting();
    const { pool, sent } = poolOf();
    const orders = postgresParticipant({ name: 'orders', pool });
    const { stock } = memory();
    const coordinator = coordinatorOf(inRedis, [orders, stock]);
    const cases = {
      'committed in two phases': (isAborted = false) =>
        coordinator.run({ resourceId: 'o' }, async (tx) => {
          await (await tx.enlist(orders)).query(insert);
          await (await tx.enlist(stock)).set(`row ${next()}`, 1);
          if (isAborted) tx.setRollbackOnly('counted');
        }),
      'committed alone, in one phase': () =>
        coordinator.run({ resourceId: 'o' }, async (tx) => (await tx.enlist(orders)).query(insert)),
      'committed in two phases, all of it in `last()`': () =>
        coordinator.run({ resourceId: 'o' }, async (tx) => {
          (await tx.enlist(orders)).last(insert);
          await (await tx.enlist(stock)).set(`row ${next()}`, 1);
        }),
      'committed alone, all of it in `last()`': () =>
        coordinator.run({ resourceId: 'o' }, async (tx) => {
          (await tx.enlist(orders)).last(insert);
        }),
      'enlisted, and nothing sent': () =>
        coordinator.run({ resourceId: 'o' }, async (tx) => {
          await tx.enlist(orders);
          await (await tx.enlist(stock)).set(`row ${next()}`, 1);
        }),
      'read only': () =>
        coordinator.run({ resourceId: 'o' }, async (tx) => {
          await (await tx.enlist(orders)).query('select count(*) from written');
          await (await tx.enlist(stock)).set(`row ${next()}`, 1);
        }),
      'aborted by the body': () => cases['committed in two phases'](true),
    };
    await cases['committed in two phases']();
    for (const [name, run] of Object.entries(cases)) {
      const [messages = 0, forced = 0] = row(name);
      const syncsBefore = await syncs(pool);
      const sentBefore = sent.length;
      for (let index = 0; index < ROUNDS; index += 1) await run();
      const statements = /last\(\)|nothing/.test(name) ? 0 : ROUNDS;
      const own = sent.length - sentBefore - statements;
      assert.equal(own / ROUNDS, messages, `${name}: ${sent.slice(sentBefore).join(' | ')}`);
      assert.equal(Math.round(((await syncs(pool)) - syncsBefore) / ROUNDS), forced, name);
    }
  });

  test('a log in PostgreSQL, with and without a last resource', async () => {
    const { poolOf, syncs } = await counting();
    const { pool, sent } = poolOf();
    const { pool: logPool, sent: logged } = poolOf();
    const orders = postgresParticipant({ name: 'orders', pool });
    const { stock, orders: other, both } = memory();
    const log = postgresTransactions({ pool: logPool, livenessTimeoutMs: 600_000 });
    const plain = coordinatorOf(log, [stock, other]);
    await plain.run({ resourceId: 'o' }, both);
    const [messages = 0, forced = 0, later = 0] = row('committed', '`postgresTransactions`');
    const count = async (run: () => Promise<unknown>) => {
      await settled();
      const syncsBefore = await syncs(pool, logPool);
      const [loggedBefore, sentBefore] = [logged.length, sent.length];
      for (let index = 0; index < ROUNDS; index += 1) {
        await run();
        await settled();
      }
      const sums = [logged.length - loggedBefore, sent.length - sentBefore];
      return [...sums, (await syncs(pool, logPool)) - syncsBefore].map((sum) => sum / ROUNDS);
    };
    const [atLog, , atDisk = 0] = await count(() => plain.run({ resourceId: 'o' }, both));
    assert.equal(atLog, messages + later);
    assert.ok(Math.round(atDisk) >= forced, `${atDisk}`);

    const last = coordinatorOf(log, [orders, stock], orders);
    const place = () =>
      last.run({ resourceId: 'o' }, async (tx) => {
        await (await tx.enlist(orders)).query(insert);
        await (await tx.enlist(stock)).set(`last ${next()}`, 1);
      });
    await place();
    const [lastAtLog, lastSent = 0, lastAtDisk = 0] = await count(place);
    const [lastMessages = 0, , lastLater = 0] = row(
      'committed, last resource',
      '`postgresTransactions`',
    );
    const [branchMessages = 0, branchForced = 0] = row('committed as the last resource');
    assert.equal(lastAtLog, lastMessages + lastLater);
    assert.equal(lastSent - 1, branchMessages);
    assert.ok(Math.round(lastAtDisk) >= branchForced, `${lastAtDisk}`);
    // Lazy acknowledgements reach the disk by and by, with a write that nobody waits for.
    assert.ok(lastAtDisk <= atDisk + 0.5, `${lastAtDisk} and ${atDisk}`);
  });
});
