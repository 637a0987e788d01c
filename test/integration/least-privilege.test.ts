// The accounts of docs/reference/grants.md are enough for transactions, their recovery and their
// guarantees, and each of them is refused elsewhere.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Redis } from 'ioredis';
import pg from 'pg';
import {
  createTransactionCoordinator,
  type DecisionLog,
  type Participant,
  type Transaction,
} from 'tricord';
import { postgresParticipant, postgresTransactions, setupSql } from 'tricord/postgres';
import { redisParticipant, redisTransactions } from 'tricord/redis';
import { afterAll, expect, test } from 'vitest';
import { startRedis } from '../servers/provider.js';
import { onServer, sharedDatabase } from '../servers/shared.js';

const PAGE = readFileSync(new URL('../../docs/reference/grants.md', import.meta.url), 'utf8');

/** Two commits, one with a key, one abort, a recovery and the guarantees. */
async function exercise(
  log: DecisionLog,
  participants: readonly Participant[],
  body: (tx: Transaction) => Promise<unknown>,
): Promise<void> {
  const options = { log, participants, sweepMs: Number.POSITIVE_INFINITY, acceptRisk: true };
  const coordinator = createTransactionCoordinator(options);
  const run = (extra: { key?: string } = {}) =>
    coordinator.run({ resourceId: 'o', ...extra }, async (tx) => {
      await body(tx);
      if (extra.key === 'abort') tx.setRollbackOnly('as it should');
    });
  const first = await run();
  assert.equal(first.state, 'committed', first.state === 'aborted' ? first.reason : '');
  expect((await run({ key: 'once' })).state).toBe('committed');
  expect((await run({ key: 'once' })).state).toBe('committed');
  expect((await run({ key: 'abort' })).state).toBe('aborted');
  const report = await coordinator.recover();
  expect(report.failed).toEqual([]);
  expect((await coordinator.guarantees()).warnings.join()).not.toMatch(/could not be read/);
  await coordinator.close();
}

test('accounts of Redis: the log and a participant with the commands of the page [redis]', async () => {
  await using server = await startRedis({ appendonly: 'always' });
  const admin = new Redis(server.url);
  const lines = PAGE.split('\n').filter((line) => line.startsWith('ACL SETUSER'));
  assert.equal(lines.length, 2);
  for (const line of lines) await admin.call('ACL', ...line.split(' ').slice(1));
  const { hostname: host, port } = new URL(server.url);
  const as = (username: string) =>
    new Redis({ host, port: Number(port), username, password: 'secret' });
  const [logClient, client] = [as('tricord-log'), as('tricord-participant')];
  const stock = redisParticipant({ name: 'stock', client });
  const other = redisParticipant({ name: 'other', client });
  await client.set('stock:lamp', 10);
  await exercise(redisTransactions({ client: logClient }), [stock, other], async (tx) => {
    await (await tx.enlist(stock)).reserve('stock:lamp', 1);
    await (await tx.enlist(other)).set('stock:note', 'sold');
  });
  assert.equal(await client.get('stock:lamp'), '8');
  await expect(client.get('tricord:default:log:x')).rejects.toThrow(/NOPERM|No permissions/i);
  await expect(logClient.get('stock:lamp')).rejects.toThrow(/NOPERM|No permissions/i);
  for (const each of [admin, logClient, client]) each.disconnect();
});

onServer('postgresql', 'accounts of PostgreSQL', async () => {
  const url = await sharedDatabase('grants');
  const admin = new pg.Pool({ connectionString: url, max: 2 });
  const role = `service_${process.pid}_${Date.now()}`;
  afterAll(async () => {
    await admin.query(`drop owned by ${role}; drop role ${role}`);
    await admin.end();
  });

  test('the log and a participant with the grants of the page', async () => {
    await admin.query(setupSql());
    await admin.query('create table public.item (id serial primary key)');
    await admin.query(`create role ${role} login password 'secret'`);
    await admin.query(`grant select, insert on public.item to ${role}`);
    await admin.query(`grant usage on sequence public.item_id_seq to ${role}`);
    const [, sql = ''] = /```sql\n([\s\S]*?)```/.exec(PAGE) ?? [];
    await admin.query(sql.replaceAll('to service', `to ${role}`));
    const address = new URL(url);
    [address.username, address.password] = [role, 'secret'];
    const pool = new pg.Pool({ connectionString: address.href, max: 8 });
    const orders = postgresParticipant({ name: 'orders', pool });
    const again = postgresParticipant({ name: 'again', pool });
    const insert = 'insert into public.item default values';
    await exercise(postgresTransactions({ pool }), [orders, again], async (tx) => {
      await (await tx.enlist(orders)).query(insert);
      (await tx.enlist(again)).last(insert);
    });
    assert.equal((await admin.query('select 1 from public.item')).rowCount, 4);
    await expect(pool.query('update tricord.versions set version = 9')).rejects.toThrow(/denied/);
    await pool.end();
  });
});
