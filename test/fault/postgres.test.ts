// PostgreSQL as a participant when replies are lost, connections cut and servers gone.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { isCoordinationError } from 'tricord';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { eventually, type PostgresStage, postgresStage } from '../integration/postgres-stage.js';
import { type PostgresHandle, startPostgres } from '../servers/provider.js';
import type { CuttingProxy } from '../servers/proxy.js';
import { measured } from '../servers/shared.js';

const refuses = (expected: string, work: Promise<unknown>) =>
  expect(work).rejects.toMatchObject({ code: expected });

describe('a participant behind a bad network [postgresql]', () => {
  let server: PostgresHandle;
  let proxy: CuttingProxy;
  let stage: PostgresStage;
  let lastId = 0;
  const nextId = () => {
    lastId += 1;
    return lastId;
  };
  beforeAll(async () => {
    server = await startPostgres();
    const url = await server.createDatabase('orders');
    proxy = await server.proxy();
    const through = new URL(url);
    through.port = String(proxy.port);
    stage = postgresStage(through.href, { adminUrl: url, callTimeoutMs: 1_500 });
    await stage.sql('create table item (id int primary key)');
  });
  afterAll(async () => {
    await stage?.close();
    await proxy?.close();
    await server?.[Symbol.asyncDispose]();
  });
  const written = async (timeoutMs = 10_000) => {
    const id = nextId();
    const staged = await stage.begin({ timeoutMs });
    await staged.db.query('insert into item values ($1)', [id]);
    return { ...staged, id };
  };
  const isThere = async (id: number) =>
    (await stage.sql('select 1 from item where id = $1', [id])).rowCount === 1;
  /** No client in an unknown state is back in the pool: each that is there works. */
  const poolIsClean = async () => {
    const results = await Promise.all([1, 2, 3, 4].map(() => stage.pool.query('select 1 as n')));
    assert.ok(results.every(({ rows }) => rows[0].n === 1));
    const { rows } = await stage.sql(
      "select 1 from pg_stat_activity where datname = current_database() and state like 'idle in%'",
    );
    assert.deepEqual(rows, [], 'a connection was left inside a transaction');
  };

  test('a lost reply to PREPARE is unknown, and its abort leaves nothing prepared', async () => {
    const { branch, branchId, id } = await written();
    const lost = proxy.cutAfterForward('prepare transaction');
    await refuses('RESULT_UNKNOWN', branch.prepare());
    await lost;
    assert.deepEqual(await stage.prepared(), [branchId], 'PREPARE did take effect');
    await branch.abort();
    assert.deepEqual(await stage.prepared(), []);
    assert.equal(await isThere(id), false);
    await poolIsClean();
  });

  test('a lost reply to COMMIT PREPARED is unknown, and evidence settles it', async () => {
    const { branch, branchId, id } = await written();
    const vote = await branch.prepare();
    assert.equal(vote.vote, 'yes');
    const record = { branchId, evidence: vote.vote === 'yes' ? vote.evidence : '' };
    const lost = proxy.cutAfterForward('commit prepared');
    await refuses('RESULT_UNKNOWN', branch.commit());
    await lost;
    assert.equal(await stage.participant.outcome(record), 'committed');
    await stage.participant.commit(record);
    assert.equal(await isThere(id), true);
    await poolIsClean();
  });

  test("a lost reply to the participant's own COMMIT PREPARED is unknown, and sent again", async () => {
    const { branch, branchId, id } = await written();
    const vote = await branch.prepare();
    const record = { branchId, evidence: vote.vote === 'yes' ? vote.evidence : '' };
    const lost = proxy.cutAfterForward('commit prepared');
    await refuses('RESULT_UNKNOWN', stage.participant.commit(record));
    await lost;
    await stage.participant.commit(record);
    await branch.commit();
    assert.equal(await isThere(id), true);
  });

  test('a lost reply to a one-phase COMMIT is resolved to committed by evidence', async () => {
    const { branch, id } = await written();
    const lost = proxy.cutAfterForward(Buffer.from('commit\0'));
    assert.deepEqual(await branch.commitOnePhase?.(), { state: 'committed' });
    await lost;
    assert.equal(await isThere(id), true);
    await poolIsClean();
  });

  test('a one-phase COMMIT that never reached the server is resolved to aborted by evidence', async () => {
    const { branch, id } = await written();
    const pid = await pidOf(stage);
    // The session ends between the question for the xid and COMMIT, as by a server's crash.
    const ended = proxy.cutAfterForward('pg_current_xact_id_if_assigned');
    const outcome = await branch.commitOnePhase?.();
    await ended;
    assert.equal(outcome?.state, 'aborted');
    await eventually(async () => !(await isRunning(stage, pid)));
    assert.equal(await isThere(id), false);
    await poolIsClean();
  });

  test('a session that the administrator ended makes the vote no, and the process lives on', async () => {
    const { branch, id } = await written();
    await stage.sql('select pg_terminate_backend($1)', [await pidOf(stage)]);
    // No, or unknown when PREPARE was sent before the news of the end had come; never yes.
    const answer = await branch.prepare().then(
      ({ vote }) => vote,
      (error) => error.code,
    );
    assert.match(answer, /^(no|RESULT_UNKNOWN)$/);
    await branch.abort();
    assert.deepEqual(await stage.prepared(), []);
    assert.equal(await isThere(id), false);
    await poolIsClean();
  });

  test('a frozen network at PREPARE is unknown within the time-out, and recovery ends the branch', async () => {
    const { branch, branchId, id } = await written();
    const startedAt = performance.now();
    proxy.freeze('to-client');
    await refuses('RESULT_UNKNOWN', branch.prepare());
    const tookMs = performance.now() - startedAt;
    measured(
      `prepare on a frozen connection was unknown after ${tookMs.toFixed(0)} ms (bound 1500)`,
    );
    assert.ok(tookMs < 2_000);
    await assert.rejects(branch.abort(), 'nobody answers');
    proxy.thaw();
    await stage.participant.abort({ branchId, evidence: '' });
    assert.deepEqual(await stage.prepared(), []);
    assert.equal(await isThere(id), false);
    await poolIsClean();
  });

  test('a branch that another session holds busy (55000) is finished as soon as that lets go', async () => {
    const { branch, branchId, id } = await written();
    const vote = await branch.prepare();
    const record = { branchId, evidence: vote.vote === 'yes' ? vote.evidence : '' };
    const text = `commit prepared '${branchId}'`;
    const senders = async () =>
      (await stage.sql('select 1 from pg_stat_activity where query = $1', [text])).rowCount;
    // A synchronous standby that never answers keeps COMMIT PREPARED at its branch.
    await waitForStandby(stage, 'nobody');
    const first = stage.sql(text);
    try {
      await eventually(async () => (await senders()) === 1);
      const busy = stage.sql(`rollback prepared '${branchId}'`);
      await expect(busy).rejects.toMatchObject({ code: '55000' });
      const second = stage.participant.commit(record);
      await eventually(async () => (await senders()) === 2);
      await waitForStandby(stage, '');
      await second;
    } finally {
      await waitForStandby(stage, '');
      await first;
    }
    await branch.commit();
    await refuses('OUTCOME_CONTRADICTED', stage.participant.abort(record));
    assert.equal(await isThere(id), true);
    await poolIsClean();
  });

  test('a body that still waits for a frozen server is let go with an error at abort', async () => {
    const { branch, db } = await written();
    proxy.freeze();
    const stuck = db.query('select 1').then(
      () => 'answered',
      (error: Error) => error.message,
    );
    await branch.abort();
    assert.notEqual(await stuck, 'answered');
    proxy.thaw();
    await poolIsClean();
  });

  test('an unreachable server refuses enlist and every call with BACKEND_UNAVAILABLE', async () => {
    proxy.refuse();
    proxy.cut();
    await eventually(() => stage.pool.idleCount === 0);
    await refuses('BACKEND_UNAVAILABLE', stage.begin());
    await refuses('BACKEND_UNAVAILABLE', stage.participant.recover());
    await refuses('BACKEND_UNAVAILABLE', stage.participant.commit({ branchId: 'x', evidence: '' }));
    await proxy.pass();
    assert.deepEqual(await stage.participant.recover(), []);
  });
});

describe('a PostgreSQL server that is killed [postgresql]', () => {
  test('a prepared branch survives SIGKILL of the server and is committed after its restart', async () => {
    await using server = await startPostgres();
    const url = await server.createDatabase('orders');
    const stage = postgresStage(url);
    onTestFinished(() => stage.close());
    await stage.sql('create table item (id int primary key)');
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
    const { rows } = await stage.sql('select id from item');
    assert.deepEqual(rows, [{ id: 1 }]);
  });
});

/** Makes every commit of the server wait for a standby of that name; of none by ''. */
async function waitForStandby(stage: PostgresStage, name: string): Promise<void> {
  await stage.sql(`alter system set synchronous_standby_names = '${name}'`);
  await stage.sql('select pg_reload_conf()');
  await eventually(async () => {
    const { rows } = await stage.sql('show synchronous_standby_names');
    return rows[0].synchronous_standby_names === name;
  });
}

describe('a process that is killed while its branch waits [postgresql]', () => {
  test('leaves a session that ends with the time of the transaction, not never', async () => {
    await using server = await startPostgres();
    const url = await server.createDatabase('orders');
    const stage = postgresStage(url);
    onTestFinished(() => stage.close());
    await stage.sql('create table item (id int primary key, n int)');
    await stage.sql('insert into item values (1, 0)');
    const holder = await stage.begin({ timeoutMs: 30_000 });
    await holder.db.query('update item set n = 1 where id = 1');
    const program = fileURLToPath(new URL('postgres-waiter-process.ts', import.meta.url));
    const waiter = spawn(process.execPath, ['--import', 'tsx', program, url, '3000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    onTestFinished(() => void waiter.kill('SIGKILL'));
    const [line] = await once(waiter.stdout, 'data');
    const pid = Number(String(line));
    const waits = "select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'";
    await eventually(async () => (await stage.sql(waits, [pid])).rowCount === 1);
    waiter.kill('SIGKILL');
    await once(waiter, 'exit');
    const startedAt = performance.now();
    // A backend in a lock wait does not look whether its client is still there.
    assert.equal(await isRunning(stage, pid), true);
    await eventually(async () => !(await isRunning(stage, pid)), 8_000);
    const tookMs = performance.now() - startedAt;
    measured(`the session of a killed waiter ended after ${tookMs.toFixed(0)} ms (bound 3000)`);
    assert.ok(tookMs < 4_000);
    await holder.branch.abort();
  });
});

describe('a PostgreSQL server with other settings [postgresql]', () => {
  test('max_prepared_transactions = 0 is refused before anything, with the way to change it', async () => {
    await using server = await startPostgres({ maxPreparedTransactions: 0 });
    const stage = postgresStage(server.url);
    onTestFinished(() => stage.close());
    for (const call of [() => stage.begin(), () => stage.participant.guarantees()]) {
      const error = await call().catch((each: unknown) => each);
      assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
      assert.equal(error.details.setting, 'max_prepared_transactions');
      assert.equal(error.details.found, '0');
      assert.match(error.message, /ALTER SYSTEM SET max_prepared_transactions/);
    }
    assert.equal(stage.pool.totalCount, stage.pool.idleCount, 'the client is back in the pool');
  });

  test('no more branches are begun than slots are left, and the next one as soon as one is free', async () => {
    await using server = await startPostgres({ maxPreparedTransactions: 3 });
    const stage = postgresStage(server.url, { max: 8 });
    onTestFinished(() => stage.close());
    await stage.sql('create table item (id int)');
    await stage.sql("begin; insert into item values (0); prepare transaction 'somebody-elses'");
    const [first] = await Promise.all([stage.begin(), stage.begin()]);
    const refused = await stage.begin().catch((each: unknown) => each);
    assert.ok(isCoordinationError(refused, 'PARTICIPANT_FULL'));
    assert.equal(refused.retryable, true);
    assert.equal(refused.details.slotsMax, 3);
    await stage.sql("rollback prepared 'somebody-elses'");
    await stage.begin();
    await refuses('PARTICIPANT_FULL', stage.begin());
    await first.branch.abort();
    await stage.begin();
    await stage.sweep();
  });

  test('a slot that others took meanwhile makes the vote no, not an error', async () => {
    await using server = await startPostgres({ maxPreparedTransactions: 1 });
    const stage = postgresStage(server.url);
    onTestFinished(() => stage.close());
    await stage.sql('create table item (id int)');
    const { branch, db } = await stage.begin();
    await db.query('insert into item values (1)');
    await stage.sql("begin; insert into item values (0); prepare transaction 'somebody-elses'");
    expect(await branch.prepare()).toMatchObject({
      vote: 'no',
      reason: expect.stringContaining('53200'),
    });
  });

  test('guarantees tell what the settings promise, and refuse fsync = off', async () => {
    await using server = await startPostgres({ config: { synchronous_commit: 'off' } });
    const stage = postgresStage(server.url);
    onTestFinished(() => stage.close());
    const weak = await stage.participant.guarantees();
    assert.equal(weak.survives, 'process');
    assert.match(weak.warnings.join(' '), /synchronous_commit = off/);
    assert.deepEqual(weak.refusals, []);
    await using unsafe = await startPostgres({ config: { fsync: 'off', full_page_writes: 'off' } });
    const other = postgresStage(unsafe.url);
    onTestFinished(() => other.close());
    const refused = await other.participant.guarantees();
    assert.equal(refused.survives, 'process');
    assert.match(refused.refusals?.join(' ') ?? '', /fsync = off.*set fsync = on/);
    assert.equal(refused.settings.max_prepared_transactions, '64');
  });
});

async function pidOf(stage: PostgresStage): Promise<number> {
  const { rows } = await stage.sql(
    "select pid from pg_stat_activity where datname = current_database() and state = 'idle in transaction'",
  );
  assert.equal(rows.length, 1);
  return rows[0].pid;
}

async function isRunning(stage: PostgresStage, pid: number): Promise<boolean> {
  const { rowCount } = await stage.sql('select 1 from pg_stat_activity where pid = $1', [pid]);
  return (rowCount ?? 0) > 0;
}
