// `tricord locks` and `tricord doctor` where ZooKeeper holds the locks and the decisions, and MariaDB
// the branches.

import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { createLock } from 'tricord';
import { mysqlParticipant } from 'tricord/mysql';
import { zookeeper, zookeeperLock, zookeeperTransactions } from 'tricord/zookeeper';
import { expect, test } from 'vitest';
import type { Diagnosis } from '../../src/cli/diagnosis.js';
import { runProgram } from '../../src/cli/program.js';
import { systemClock } from '../../src/core/clock.js';
import { newTransactionIds } from '../../src/core/ids.js';
import { systemRandom } from '../../src/core/random.js';
import { freshPrefix, onServer, sharedDatabase } from '../servers/shared.js';
import { mysqlStage } from './mysql-stage.js';
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

onServer('zookeeper', 'tricord locks on ZooKeeper', (server) => {
  test('lists who holds a lock and who waits for it, in the namespace that is asked for', async () => {
    const namespace = freshPrefix('ns');
    const session = zookeeper({ servers: server.url, namespace });
    const driver = zookeeperLock({ session });
    const shop = createLock({ driver, nodeId: 'shop-1' });
    const other = createLock({ driver, nodeId: 'shop-2' });
    const lease = await shop.acquire('sku:42', { ttlMs: 10_000 });
    const waiting = other.acquire('sku:42', { mode: 'shared', waitMs: 10_000 });
    const list = (...args: string[]) => tricord('locks', '--zookeeper', server.url, ...args);
    const here = ['--namespace', namespace];
    // The holder writes its token beside its name when it hears of the waiter.
    await eventually(async () => {
      const [found] = JSON.parse((await list(...here, '--json')).out);
      return found?.waiters.length === 1 && found.holders[0].fencingToken !== undefined;
    });
    const { code, out } = await list(...here);
    expect(code).toBe(0);
    expect(out).toMatch(/sku:42 +│ shop-1 +│ holds +│ exclusive/);
    expect(out).toMatch(/sku:42 +│ shop-2 +│ waits, 1\. +│ shared/);
    expect(out).toContain(String(lease.fencingToken));
    expect((await list(...here, '--prefix', 'order')).out).toBe('no lock is held\n');
    expect((await list('--namespace', freshPrefix('ns'))).out).toBe('no lock is held\n');
    await lease.release();
    await (await waiting).release();
    expect((await list(...here)).out).toBe('no lock is held\n');
    await Promise.all([shop.close(), other.close()]);
    await session.close();
  });
});

onServer('zookeeper', 'tricord doctor on MariaDB, decisions in ZooKeeper [mariadb]', (server) => {
  test.each([
    ['decided', 'commit', 'abort', 1],
    ['undecided', 'abort', 'commit', 0],
  ] as const)(
    'what was %s: %s is the safe action, %s is refused',
    async (what, safe, unsafe, rows) => {
      const uri = await sharedDatabase('cli', 'mariadb');
      const stage = await mysqlStage(uri);
      const audit = join(tmpdir(), `tricord-audit-${process.pid}-${Date.now()}-${what}.jsonl`);
      await stage.sql(
        'create table if not exists item (id varchar(40) primary key) engine = innodb',
      );
      const namespace = `d${systemRandom.token(9)}`;
      const pool = mysql.createPool({ uri, connectionLimit: 2 });
      const orders = mysqlParticipant({ name: 'orders', pool });
      const session = zookeeper({ servers: server.url });
      const [clock, random] = [systemClock, systemRandom];
      const node = { nodeId: 'shop-7', namespace, clock, random };
      const log = zookeeperTransactions({ session }).open(node);
      const incarnation = random.token(11);
      await log.register(incarnation);
      const newId = newTransactionIds({ namespace, authority: 'zk', incarnation });
      const transactionId = newId('order:1', 'shop-7');
      const branchId = `${transactionId}.1`;
      const { signal } = new AbortController();
      const context = { transactionId, branchId, timeoutMs: 10_000, signal, clock };
      const branch = await orders.enlist(context);
      await branch.handle.query('insert into item values (?)', [namespace]);
      const vote = await branch.prepare();
      const evidence = vote.vote === 'yes' ? vote.evidence : '';
      if (what === 'decided') {
        const branches = [{ branchId, evidence, participant: 'orders' }];
        await log.decide(incarnation, { transactionId, resourceId: 'o', nodeId: 'n', branches });
      }
      // Its process is gone: MariaDB then lets others finish what its connection had prepared.
      await orders.close();
      await log.close();
      await session.close();
      const doctor = (...args: string[]) =>
        tricord(
          ...['doctor', '--zookeeper', server.url, '--mysql', `orders=${uri}`],
          ...['--namespace', namespace, '--audit', audit, ...args],
        );
      const found = async () => JSON.parse((await doctor('--json')).out) as Diagnosis;
      await eventually(async () => (await found()).branches[0]?.isInDoubt === true);
      const [seen] = (await found()).branches;
      const decision = what === 'decided' ? 'commit' : 'none';
      expect(seen).toMatchObject({
        branchId,
        participant: 'orders',
        decision,
        evidence: 'prepared',
      });
      expect(seen?.ageMs).toBeGreaterThan(0);
      expect(seen?.action).toContain(safe);
      const refused = await doctor('--resolve', branchId, unsafe, '--reason', 'not so');
      expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('refused') });
      expect(await stage.prepared()).toContain(branchId);
      const done = await doctor('--resolve', transactionId, safe, '--reason', 'waited long enough');
      expect(done).toMatchObject({ code: 0, err: expect.stringContaining('recorded in') });
      const kept = await stage.sql('select id from item where id = ?', [namespace]);
      expect(kept).toHaveLength(rows);
      expect((await doctor()).code).toBe(0);
      await rm(audit, { force: true });
      await pool.end();
      await stage.close();
    },
  );
});
