// MariaDB as a participant when replies are lost, connections cut, processes and servers gone.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { isCoordinationError } from 'tricord';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type MysqlStage, mysqlStage } from '../integration/mysql-stage.js';
import { eventually } from '../integration/postgres-stage.js';
import { type MariadbHandle, startMariadb } from '../servers/provider.js';
import type { CuttingProxy } from '../servers/proxy.js';
import { measured } from '../servers/shared.js';

const refuses = (expected: string, work: Promise<unknown>) =>
  expect(work).rejects.toMatchObject({ code: expected });
const TABLE = 'create table item (id int primary key) engine=InnoDB';

describe('a participant behind a bad network [mariadb]', () => {
  let server: MariadbHandle;
  let proxy: CuttingProxy;
  let stage: MysqlStage;
  let lastId = 0;
  beforeAll(async () => {
    server = await startMariadb();
    const url = await server.createDatabase('orders');
    proxy = await server.proxy();
    const through = new URL(url);
    through.port = String(proxy.port);
    stage = await mysqlStage(through.href, { adminUrl: url, callTimeoutMs: 1_500 });
    await stage.sql(TABLE);
  });
  afterAll(async () => {
    await stage?.close();
    await proxy?.close();
    await server?.[Symbol.asyncDispose]();
  });
  const written = async (timeoutMs = 10_000) => {
    lastId += 1;
    const staged = await stage.begin({ timeoutMs });
    await staged.db.query('insert into item values (?)', [lastId]);
    return { ...staged, id: lastId };
  };
  const yes = async () => {
    const staged = await written();
    const vote = await staged.branch.prepare();
    assert.equal(vote.vote, 'yes');
    const evidence = vote.vote === 'yes' ? vote.evidence : '';
    return { ...staged, record: { branchId: staged.branchId, evidence } };
  };
  const isThere = async (id: number) =>
    (await stage.sql('select 1 from item where id = ?', [id])).length === 1;
  /** No connection in an unknown state is back in the pool: each that is there can begin a branch. */
  const poolIsClean = async () => {
    const all = await Promise.all([1, 2, 3, 4].map(() => stage.begin()));
    await Promise.all(all.map(({ branch }) => branch.abort()));
    assert.deepEqual(await stage.prepared(), []);
  };

  test('a lost reply to XA PREPARE is unknown, and its abort leaves nothing prepared', async () => {
    const { branch, branchId, id } = await written();
    const lost = proxy.cutAfterForward('xa prepare');
    await refuses('RESULT_UNKNOWN', branch.prepare());
    await lost;
    assert.deepEqual(await stage.prepared(), [branchId], 'XA PREPARE did take effect');
    await branch.abort();
    assert.equal(await isThere(id), false);
    await poolIsClean();
  });

  test('a lost reply to XA COMMIT is unknown, and evidence settles it', async () => {
    const { branch, record, id } = await yes();
    const lost = proxy.cutAfterForward('xa commit');
    await refuses('RESULT_UNKNOWN', branch.commit());
    await lost;
    assert.equal(await stage.participant.outcome(record), 'committed');
    await stage.participant.commit(record);
    assert.equal(await isThere(id), true);
    await poolIsClean();
  });

  test("a lost reply to recovery's own XA COMMIT is unknown, and sent again", async () => {
    const { record, id } = await yes();
    const lost = proxy.cutAfterForward('xa commit');
    await refuses('RESULT_UNKNOWN', stage.participant.commit(record));
    await lost;
    await stage.participant.commit(record);
    assert.equal(await isThere(id), true);
    await poolIsClean();
  });

  test('a lost reply to a one-phase commit is resolved to committed by its row', async () => {
    const { branch, id } = await written();
    const lost = proxy.cutAfterForward('one phase');
    assert.deepEqual(await branch.commitOnePhase?.(), { state: 'committed' });
    await lost;
    assert.equal(await isThere(id), true);
    await poolIsClean();
  });

  test('a one-phase commit that never reached the server is resolved to aborted, for good', async () => {
    const { branch, branchId, id } = await written();
    // The session ends between XA END and the commit, as by a server's crash.
    const ended = proxy.cutAfterForward('xa end');
    const outcome = await branch.commitOnePhase?.();
    await ended;
    assert.equal(outcome?.state, 'aborted');
    await stage.participant.abort({ branchId, evidence: '' });
    assert.equal(await isThere(id), false);
    await poolIsClean();
  });

  test('a connection that was cut makes the vote no or unknown, never yes, and the process lives on', async () => {
    const { branch, id } = await written();
    proxy.cut();
    const answer = await branch.prepare().then(
      ({ vote }) => vote,
      (error) => error.code,
    );
    assert.match(answer, /^(no|RESULT_UNKNOWN)$/);
    await branch.abort();
    assert.equal(await isThere(id), false);
    await poolIsClean();
  });

  test('a frozen network at XA PREPARE is unknown within the time-out, and recovery ends the branch', async () => {
    const { branch, branchId, id } = await written();
    const startedAt = performance.now();
    proxy.freeze('to-client');
    // The row of evidence is asked for first: without any answer at all it is a no.
    const answer = await branch.prepare().then(
      ({ vote }) => vote,
      (error) => error.code,
    );
    const tookMs = performance.now() - startedAt;
    measured(`XA on a frozen connection was given up after ${tookMs.toFixed(0)} ms (bound 1500)`);
    assert.match(answer, /^(no|RESULT_UNKNOWN)$/);
    assert.ok(tookMs < 4_000);
    await branch.abort().catch(() => {});
    proxy.thaw();
    await stage.participant.abort({ branchId, evidence: '' });
    assert.equal(await isThere(id), false);
    await poolIsClean();
  });

  test('an unreachable server refuses enlist and every call with BACKEND_UNAVAILABLE', async () => {
    proxy.refuse();
    proxy.cut();
    await eventually(async () =>
      stage.begin().then(
        () => false,
        () => true,
      ),
    );
    await refuses('BACKEND_UNAVAILABLE', stage.begin());
    await refuses('BACKEND_UNAVAILABLE', stage.participant.recover());
    // Of a pooled connection that died unnoticed nobody knows what was sent; of none at all, one does.
    const call = () => stage.participant.commit({ branchId: 'x', evidence: '' });
    await eventually(async () =>
      call().then(
        () => false,
        (error) => error.code === 'BACKEND_UNAVAILABLE',
      ),
    );
    await proxy.pass();
    assert.deepEqual(await stage.participant.recover(), []);
  });
});

describe('a process with a prepared branch [mariadb]', () => {
  const staged = async (id: number) => {
    const server = await startMariadb();
    onTestFinished(() => server[Symbol.asyncDispose]());
    const url = await server.createDatabase('orders');
    const stage = await mysqlStage(url);
    onTestFinished(() => stage.close());
    await stage.sql(TABLE);
    const program = fileURLToPath(new URL('mysql-owner-process.ts', import.meta.url));
    const owner = spawn(process.execPath, ['--import', 'tsx', program, url, String(id)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void owner.kill('SIGKILL'));
    const [line] = await once(owner.stdout, 'data');
    const { branchId, vote } = JSON.parse(String(line));
    return { stage, owner, record: { branchId, evidence: vote.evidence } };
  };

  test('is killed: another process commits its branch', async () => {
    const { stage, owner, record } = await staged(1);
    owner.kill('SIGKILL');
    await once(owner, 'exit');
    const found = await stage.participant.recover();
    assert.deepEqual(
      found.map(({ branchId }) => branchId),
      [record.branchId],
    );
    await stage.participant.commit(record);
    assert.deepEqual(await stage.sql('select id from item'), [{ id: 1 }]);
  });

  test('is stopped: its connection still looks alive, and another process aborts its branch in seconds', async () => {
    const { stage, owner, record } = await staged(2);
    owner.kill('SIGSTOP');
    const startedAt = performance.now();
    await stage.participant.abort({ branchId: record.branchId, evidence: '' });
    const tookMs = performance.now() - startedAt;
    measured(`the branch of a stopped process was aborted after ${tookMs.toFixed(0)} ms`);
    assert.ok(tookMs < 10_000);
    assert.deepEqual(await stage.sql('select id from item'), []);
    assert.equal(await stage.participant.outcome(record), 'aborted');
  });
});

describe('a MariaDB server that is killed [mariadb]', () => {
  test('a prepared branch survives SIGKILL of the server and is committed after its restart', async () => {
    await using server = await startMariadb();
    const stage = await mysqlStage(await server.createDatabase('orders'));
    onTestFinished(() => stage.close());
    await stage.sql(TABLE);
    const prepared = await stage.begin();
    await prepared.db.query('insert into item values (1)');
    const vote = await prepared.branch.prepare();
    const active = await stage.begin();
    await active.db.query('insert into item values (2)');
    await server.kill();
    await refuses('RESULT_UNKNOWN', prepared.branch.commit());
    expect(await active.branch.prepare()).toMatchObject({ vote: 'no' });
    await server.restart();
    const record = {
      branchId: prepared.branchId,
      evidence: vote.vote === 'yes' ? vote.evidence : '',
    };
    assert.equal(await stage.participant.outcome(record), 'prepared');
    await stage.participant.commit(record);
    assert.deepEqual(await stage.sql('select id from item'), [{ id: 1 }]);
  });
});

describe('a MariaDB server with other settings [mariadb]', () => {
  test('guarantees tell what the settings promise, and refuse a log in memory', async () => {
    await using server = await startMariadb({ config: { 'log-bin': 'on', 'sync-binlog': '1' } });
    const stage = await mysqlStage(await server.createDatabase());
    onTestFinished(() => stage.close());
    const strong = await stage.participant.guarantees();
    assert.equal(strong.survives, 'power-loss');
    assert.deepEqual(strong.refusals, []);
    await stage.sql('set global innodb_flush_log_at_trx_commit = 2, global sync_binlog = 0');
    const weak = await stage.participant.guarantees();
    assert.equal(weak.survives, 'process');
    assert.deepEqual(weak.refusals, []);
    assert.match(weak.warnings.join(' '), /set innodb_flush_log_at_trx_commit = 1/);
    assert.match(weak.warnings.join(' '), /set sync_binlog = 1/);
    await stage.sql('set global innodb_flush_log_at_trx_commit = 0');
    const unsafe = await stage.participant.guarantees();
    assert.equal(unsafe.survives, 'none');
    assert.match(unsafe.refusals?.join(' ') ?? '', /set innodb_flush_log_at_trx_commit = 1/);
  });

  test('a replica is refused, and an account with the least rights is enough', async () => {
    await using server = await startMariadb();
    const url = await server.createDatabase('shop');
    const stage = await mysqlStage(url);
    onTestFinished(() => stage.close());
    await stage.sql(TABLE);
    const database = new URL(url).pathname.slice(1);
    await stage.sql("create user service@'%' identified by 'service'");
    for (const right of [
      `select on ${database}.tricord_versions`,
      `select, insert, update, delete on ${database}.tricord_branches`,
      `insert on ${database}.item`,
    ]) {
      await stage.sql(`grant ${right} to service@'%'`);
    }
    const login = new URL(url);
    login.username = login.password = 'service';
    const service = await mysqlStage(login.href, { adminUrl: url });
    onTestFinished(() => service.close());
    const { branch, db, branchId } = await service.begin();
    await db.query('insert into item values (1)');
    expect(await branch.prepare()).toMatchObject({ vote: 'yes' });
    // It may end its own connections, and so take over from a process that is stopped.
    await service.participant.abort({ branchId, evidence: '' });
    assert.equal((await service.participant.guarantees()).survives, 'power-loss');
    await stage.sql('set global read_only = 1');
    const error = await service.participant.guarantees().catch((each: unknown) => each);
    assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
    assert.equal(error.details.setting, 'read_only');
  });
});
