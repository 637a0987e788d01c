// A branch that commits with the decision inside (rule L1), on real servers: what its recoverer may
// conclude, and what the coordinator knows after a lost reply.

import assert from 'node:assert/strict';
import pg from 'pg';
import { createTransactionCoordinator, type Transaction } from 'tricord';
import { memoryParticipant } from 'tricord/memory';
import { postgresParticipant, postgresTransactions, setupSql } from 'tricord/postgres';
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import type { ServerHandle } from '../servers/handle.js';
import { startPostgres } from '../servers/provider.js';
import { type CuttingProxy, createProxy } from '../servers/proxy.js';

const TABLE = 'create table placed (id text primary key)';

/** A pool of which a COMMIT waits for what is passed. */
function withCommit(pool: pg.Pool, before: () => Promise<void>): pg.Pool {
  const connect = pool.connect.bind(pool);
  const pausing = async (): Promise<pg.PoolClient> => {
    const client = await connect();
    const query = client.query.bind(client) as (...values: unknown[]) => Promise<unknown>;
    return Object.assign(client, {
      query: async (...values: unknown[]) => {
        if (values[0] === 'commit') await before();
        return query(...values);
      },
    });
  };
  return Object.assign(pool, { connect: pausing });
}

describe('a last resource [postgresql]', () => {
  let server: ServerHandle & { createDatabase(name: string): Promise<string> };
  const cleanups: (() => Promise<unknown> | unknown)[] = [];
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  const poolOf = (connectionString: string): pg.Pool => {
    const pool = new pg.Pool({ connectionString, max: 8 });
    pool.on('error', () => {});
    cleanups.push(() => pool.end().catch(() => {}));
    return pool;
  };
  /** Orders and the log in one database, stock in another one. */
  const databases = async () => {
    const [orders, stock] = [await server.createDatabase('o'), await server.createDatabase('s')];
    const admin = { orders: poolOf(orders), stock: poolOf(stock) };
    await admin.orders.query(setupSql());
    for (const pool of Object.values(admin)) await pool.query(TABLE);
    return { orders, stock, admin };
  };
  type Databases = Awaited<ReturnType<typeof databases>>;
  const through = async (url: string): Promise<{ url: string; proxy: CuttingProxy }> => {
    const target = new URL(url);
    const proxy = await createProxy({ host: target.hostname, port: Number(target.port), url });
    cleanups.push(() => proxy.close());
    target.host = `${proxy.host}:${proxy.port}`;
    return { url: target.href, proxy };
  };
  const processOn = (
    at: Databases,
    options: { ordersUrl?: string; ordersPool?: pg.Pool; logUrl?: string } = {},
  ) => {
    const orders = postgresParticipant({
      name: 'orders',
      pool: options.ordersPool ?? poolOf(options.ordersUrl ?? at.orders),
      callTimeoutMs: 5_000,
    });
    const stock = postgresParticipant({ name: 'stock', pool: poolOf(at.stock) });
    const log = postgresTransactions({
      pool: poolOf(options.logUrl ?? at.orders),
      livenessTimeoutMs: 2_000,
      replyTimeoutMs: 500,
    });
    const coordinator = createTransactionCoordinator({
      log,
      participants: [orders, stock],
      lastResource: orders,
      sweepMs: Number.POSITIVE_INFINITY,
    });
    cleanups.push(() => coordinator.close({ drainMs: 0 }));
    const place = (id: string) => async (tx: Transaction) => {
      await (await tx.enlist(orders)).query('insert into placed values ($1)', [id]);
      await (await tx.enlist(stock)).query('insert into placed values ($1)', [id]);
      return id;
    };
    return { coordinator, orders, stock, place };
  };
  const countOf = async ({ admin }: Databases, id: string): Promise<readonly number[]> => {
    const count = async (pool: pg.Pool): Promise<number> =>
      (await pool.query('select 1 from placed where id = $1', [id])).rowCount ?? 0;
    return [await count(admin.orders), await count(admin.stock)];
  };
  const prepared = async ({ admin }: Databases): Promise<number> =>
    (await admin.orders.query('select 1 from pg_prepared_xacts')).rowCount ?? 0;

  test('commits without PREPARE, and its decision is in its own transaction', async () => {
    const at = await databases();
    const { coordinator, place } = processOn(at);
    const outcome = await coordinator.run({ resourceId: 'o' }, place('1'));
    assert.equal(outcome.state, 'committed');
    assert.deepEqual(await countOf(at, '1'), [1, 1]);
    const rows = await at.admin.orders.query(
      `select placed.xmin::text = decision.xmin::text as is_together, decision.record
      from placed, tricord.decisions as decision where placed.id = '1'`,
    );
    // Acknowledging writes the decision again, so that only one of both may still be there.
    assert.equal(rows.rows.length, 1);
    assert.match(rows.rows[0].record, /stock/);
    assert.doesNotMatch(rows.rows[0].record, /orders/);
    assert.equal(await prepared(at), 0);
  });

  test('aborts with the others, and they with it', async () => {
    const at = await databases();
    const { coordinator, place, orders, stock } = processOn(at);
    await at.admin.stock.query("insert into placed values ('2')");
    const refused = await coordinator.run({ resourceId: 'o' }, place('2'));
    assert.equal(refused.state, 'aborted');
    // A constraint that is checked at the end: the last resource itself refuses.
    await at.admin.orders.query(
      'create table twice (id text unique deferrable initially deferred)',
    );
    const late = await coordinator.run({ resourceId: 'o' }, async (tx) => {
      await (await tx.enlist(orders)).query("insert into twice values ('a'), ('a')");
      await (await tx.enlist(stock)).query("insert into placed values ('3')");
    });
    assert.ok(late.state === 'aborted' && late.participant === 'orders', JSON.stringify(late));
    assert.deepEqual(await countOf(at, '3'), [0, 0]);
    assert.equal(await prepared(at), 0);
  });

  test('a lost reply to its commit is found out by a mark that nothing can overtake', async () => {
    const at = await databases();
    const { url, proxy } = await through(at.orders);
    const { coordinator, place } = processOn(at, { ordersUrl: url });
    const lost = proxy.cutAfterForward((chunk: Buffer) =>
      /\bcommit\0/.test(chunk.toString('latin1')),
    );
    const outcome = await coordinator.run({ resourceId: 'o' }, place('4'));
    await lost;
    assert.equal(outcome.state, 'committed');
    assert.deepEqual(await countOf(at, '4'), [1, 1]);
  });

  test('a lost request to commit is found out too: aborted, everywhere', async () => {
    const at = await databases();
    const { url, proxy } = await through(at.orders);
    const { coordinator, place, orders, stock } = processOn(at, { ordersUrl: url });
    const outcome = await coordinator.run({ resourceId: 'o', timeoutMs: 8_000 }, async (tx) => {
      await place('5')(tx);
      void [orders, stock];
      proxy.cut();
      proxy.refuse();
    });
    assert.equal(outcome.state, 'aborted');
    await proxy.pass();
    assert.deepEqual(await countOf(at, '5'), [0, 0]);
    assert.equal(await prepared(at), 0);
  });

  test('fenced before its commit it commits no more, and the coordinator goes on anew', async () => {
    const at = await databases();
    const [slow, recoverer] = [processOn(at), processOn(at)];
    const outcome = await slow.coordinator.run({ resourceId: 'o' }, async (tx) => {
      await slow.place('6')(tx);
      await at.admin.orders.query(
        'update tricord.incarnations set fenced_at = clock_timestamp() where fenced_at is null',
      );
    });
    assert.ok(outcome.state === 'aborted' && outcome.by === 'fence', JSON.stringify(outcome));
    assert.deepEqual(await countOf(at, '6'), [0, 0]);
    const again = await slow.coordinator.run({ resourceId: 'o' }, slow.place('6'));
    assert.equal(again.state, 'committed');
    assert.equal((await recoverer.coordinator.recover()).inDoubt, 0);
  });

  test('a recoverer waits for an open decision, then reports, and concludes nothing', async () => {
    const at = await databases();
    let letGo = (): void => {};
    let reach = (): void => {};
    const reached = new Promise<void>((resolve) => {
      reach = resolve;
    });
    const pausing = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const pool = withCommit(poolOf(at.orders), async () => {
      reach();
      await pausing;
    });
    const [paused, recoverer] = [processOn(at, { ordersPool: pool }), processOn(at)];
    const options = { resourceId: 'o', timeoutMs: 60_000 };
    const running = paused.coordinator.run(options, paused.place('7'));
    await reached;
    // Its decision is neither made nor off the table, and it looks dead.
    await at.admin.orders.query('update tricord.heartbeats set heard_at = now() - $1::interval', [
      '1 hour',
    ]);
    const signal = AbortSignal.timeout(2_000);
    const report = await recoverer.coordinator.recover({ signal }).catch((error) => error);
    assert.ok(report instanceof Error || report.failed.length > 0, JSON.stringify(report));
    assert.equal(await prepared(at), 1);
    letGo();
    assert.equal((await running).state, 'committed');
    assert.deepEqual(await countOf(at, '7'), [1, 1]);
    await recoverer.coordinator.recover();
    assert.deepEqual(await countOf(at, '7'), [1, 1]);
    assert.equal(await prepared(at), 0);
  });

  test('an owner that dies with its decision open leaves what a recoverer aborts', async () => {
    const at = await databases();
    const { url, proxy } = await through(at.orders);
    const [dying, recoverer] = [processOn(at, { ordersUrl: url }), processOn(at)];
    const cut = proxy.cutAfterForward((chunk: Buffer) => chunk.includes('is_known'));
    const running = dying.coordinator
      .run({ resourceId: 'o', timeoutMs: 2_000 }, dying.place('8'))
      .catch(() => undefined);
    await cut;
    const outcome = await running;
    assert.ok(outcome?.state === 'aborted', JSON.stringify(outcome));
    await dying.coordinator.close({ drainMs: 0 });
    await at.admin.orders.query(
      "update tricord.heartbeats set heard_at = heard_at - interval '1 hour'",
    );
    await recoverer.coordinator.recover();
    assert.deepEqual(await countOf(at, '8'), [0, 0]);
    assert.equal(await prepared(at), 0);
  });

  test('a log in another database is refused with the setting, and nothing commits', async () => {
    const at = await databases();
    const elsewhere = await server.createDatabase('log');
    await poolOf(elsewhere).query(setupSql());
    const { coordinator, place } = processOn(at, { logUrl: elsewhere });
    const outcome = await coordinator.run({ resourceId: 'o' }, place('9'));
    assert.ok(outcome.state === 'aborted' && outcome.by === 'log', JSON.stringify(outcome));
    assert.match(outcome.reason, /lastResource/);
    assert.deepEqual(await countOf(at, '9'), [0, 0]);
  });

  test('a key is kept with a last resource too, and one that alone wrote commits once', async () => {
    const at = await databases();
    const { coordinator, place, orders } = processOn(at);
    const options = { resourceId: 'o', key: 'payment:10' };
    assert.equal((await coordinator.run(options, place('10'))).state, 'committed');
    const again = await coordinator.run(options, place('10'));
    assert.ok(again.state === 'committed' && again.isRepeated);
    const alone = { resourceId: 'o', key: 'payment:11' };
    const one = async (tx: Transaction): Promise<void> => {
      await (await tx.enlist(orders)).query("insert into placed values ('11')");
    };
    assert.equal((await coordinator.run(alone, one)).state, 'committed');
    const repeated = await coordinator.run(alone, one);
    assert.ok(repeated.state === 'committed' && repeated.isRepeated);
  });

  test('a log that is in no resource is refused at the start', () => {
    const orders = memoryParticipant({ name: 'orders' });
    const log = postgresTransactions({ pool: poolOf(server.url) });
    assert.throws(
      () => createTransactionCoordinator({ log, participants: [], lastResource: orders }),
      /lastResource/,
    );
  });
});
