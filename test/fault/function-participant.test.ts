// A function participant whose process is killed between effect and reply, whose replies are lost, and
// that is told everything twice and at once.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import {
  type FunctionBranch,
  functionParticipant,
  newTransactionId,
  type Participant,
} from 'tricord';
import { type PostgresBarrierClient, postgresBarrier, setupSql } from 'tricord/postgres';
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { type PostgresHandle, startPostgres } from '../servers/provider.js';
import type { CuttingProxy } from '../servers/proxy.js';

interface Request {
  readonly sku: string;
}
type Db = PostgresBarrierClient<pg.Pool>;

const STOCK = { available: 10, reserved: 0, sold: 0 };
const RESERVED = { available: 9, reserved: 1, sold: 0 };
const SOLD = { available: 9, reserved: 0, sold: 1 };

describe('a function participant under faults [postgresql]', () => {
  let server: PostgresHandle;
  let url: string;
  let admin: pg.Pool;
  beforeAll(async () => {
    server = await startPostgres();
    url = await server.createDatabase('stock');
    admin = new pg.Pool({ connectionString: url, max: 4 });
    await admin.query(setupSql());
    await admin.query('create table stock (available int, reserved int, sold int)');
  });
  beforeEach(async () => {
    await admin.query('truncate stock; insert into stock values (10, 0, 0)');
  });
  afterAll(async () => {
    await admin?.end();
    await server?.[Symbol.asyncDispose]();
  });
  const stock = async () => (await admin.query('select * from stock')).rows[0];
  const open = (connectionString = url, { callTimeoutMs = 5_000, slowness = 0 } = {}) => {
    const pool = new pg.Pool({ connectionString, max: 4 });
    pool.on('error', () => {});
    onTestFinished(async () => {
      await participant.close();
      await pool.end();
    });
    const move = (from: string, to: string) => async (db: Db) => {
      await db.query(`select pg_sleep(${slowness})`);
      await db.query(`update stock set ${from} = ${from} - 1, ${to} = ${to} + 1`);
    };
    const participant: Participant<FunctionBranch<Request>> = functionParticipant<Request, Db>({
      name: 'stock',
      callTimeoutMs,
      barrier: postgresBarrier({ pool }),
      prepare: move('available', 'reserved'),
      commit: move('reserved', 'sold'),
      abort: move('reserved', 'available'),
    });
    return participant;
  };
  const begin = async (participant: ReturnType<typeof open>) => {
    const transactionId = newTransactionId('order:1', 'fault');
    const branchId = `${transactionId}.1`;
    const context = { transactionId, branchId, timeoutMs: 10_000, clock: systemClock };
    const { signal } = new AbortController();
    const branch = await participant.enlist({ ...context, signal });
    await branch.handle.request({ sku: 'sku:42' });
    return { branch, record: { branchId, evidence: '' } };
  };
  const yes = async (participant: ReturnType<typeof open>) => {
    const staged = await begin(participant);
    expect(await staged.branch.prepare()).toMatchObject({ vote: 'yes' });
    return staged;
  };
  /** Kills a process at a point of a step. */
  const killedAt = async (branchId: string, step: string, point: string) => {
    const program = fileURLToPath(new URL('function-owner-process.ts', import.meta.url));
    const args = ['--import', 'tsx', program, url, branchId, step, point];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    onTestFinished(() => void child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
  };

  test.each(['commit', 'abort'] as const)(
    'a %s whose process is killed after its statement, or before its reply, takes effect once',
    async (verb) => {
      for (const point of ['effect', 'reply']) {
        await admin.query('truncate stock; insert into stock values (10, 0, 0)');
        const participant = open();
        const { record } = await yes(participant);
        await killedAt(record.branchId, verb, point);
        await participant[verb](record);
        await participant[verb](record);
        assert.deepEqual(await stock(), verb === 'commit' ? SOLD : STOCK);
        assert.deepEqual(await participant.recover(), []);
      }
    },
  );

  test('a prepare whose process is killed before its reply is found and aborted, with its effect', async () => {
    const participant = open();
    const branchId = `${newTransactionId('order:2', 'fault')}.1`;
    await killedAt(branchId, 'prepare', 'reply');
    assert.deepEqual(await stock(), RESERVED);
    const [found] = await participant.recover();
    assert.equal(found?.branchId, branchId);
    await participant.abort({ branchId, evidence: '' });
    assert.deepEqual(await stock(), STOCK);
  });

  test('a prepare whose process is killed inside its function has done nothing', async () => {
    const participant = open();
    const branchId = `${newTransactionId('order:3', 'fault')}.1`;
    await killedAt(branchId, 'prepare', 'effect');
    await participant.abort({ branchId, evidence: '' });
    assert.deepEqual(await stock(), STOCK);
    assert.deepEqual(await participant.recover(), []);
  });

  test('a commit that is sent eight times at once by two nodes takes effect once', async () => {
    // Slow enough that all of them are there before the first one is done.
    const [one, two] = [open(url, { slowness: 0.2 }), open(url, { slowness: 0.2 })];
    const { record } = await yes(one);
    const all = Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? one : two).commit(record));
    await Promise.all(all);
    assert.deepEqual(await stock(), SOLD);
  });

  test('an abort that overtakes its prepare wins: the prepare is refused and reserves nothing', async () => {
    const participant = open();
    const { branch, record } = await begin(participant);
    await participant.abort(record);
    expect(await branch.prepare()).toMatchObject({
      vote: 'no',
      reason: expect.stringContaining('aborted before'),
    });
    assert.deepEqual(await stock(), STOCK);
    assert.equal(await participant.outcome(record), 'aborted');
  });

  test('an abort and a prepare at the same time leave nothing reserved, whoever is first', async () => {
    const [owner, other] = [open(), open()];
    for (let round = 0; round < 20; round += 1) {
      const { branch, record } = await begin(owner);
      await Promise.allSettled([branch.prepare(), other.abort(record)]);
      await other.abort(record);
      assert.deepEqual(await stock(), STOCK);
    }
  });

  test('a commit and an abort at the same time: one of them wins, the other one says so', async () => {
    const [one, two] = [open(), open()];
    const { record } = await yes(one);
    const ends = await Promise.allSettled([one.commit(record), two.abort(record)]);
    const lost = ends.filter(({ status }) => status === 'rejected');
    assert.equal(lost.length, 1);
    expect(lost[0]).toMatchObject({ reason: { code: 'OUTCOME_CONTRADICTED' } });
    const isCommitted = (await one.outcome(record)) === 'committed';
    assert.deepEqual(await stock(), isCommitted ? SOLD : STOCK);
  });

  test('a function that ends the local transaction itself is refused, and nothing happened', async () => {
    const pool = new pg.Pool({ connectionString: url, max: 1 });
    const participant = functionParticipant<Request, Db>({
      name: 'stock',
      barrier: postgresBarrier({ pool }),
      async prepare(db) {
        await db.query('update stock set reserved = reserved + 1');
        await db.query('commit').catch(() => {});
      },
      commit: () => {},
      abort: () => {},
    });
    const { branch } = await begin(participant);
    expect(await branch.prepare()).toMatchObject({
      vote: 'no',
      cause: { code: 'BRANCH_TAMPERED' },
    });
    assert.deepEqual(await stock(), STOCK);
    await pool.end();
  });

  test('a function that swallows an error of the server has done nothing, and the vote is no', async () => {
    const pool = new pg.Pool({ connectionString: url, max: 1 });
    const participant = functionParticipant<Request, Db>({
      name: 'stock',
      barrier: postgresBarrier({ pool }),
      async prepare(db) {
        await db.query('update stock set reserved = reserved + 1');
        await db.query('select 1 / 0').catch(() => {});
      },
      commit: () => {},
      abort: () => {},
    });
    const { branch } = await begin(participant);
    expect(await branch.prepare()).toMatchObject({
      vote: 'no',
      reason: expect.stringContaining('division by zero'),
    });
    assert.deepEqual(await stock(), STOCK);
    await pool.end();
  });

  describe('behind a bad network', () => {
    let proxy: CuttingProxy;
    let through: URL;
    beforeAll(async () => {
      proxy = await server.proxy();
      through = new URL(url);
      through.port = String(proxy.port);
    });
    afterAll(() => proxy?.close());

    test('a lost reply to the local COMMIT of a prepare is unknown, and its abort undoes it', async () => {
      const participant = open(through.href);
      const { branch } = await begin(participant);
      const lost = proxy.cutAfterForward(Buffer.from('commit\0'));
      await expect(branch.prepare()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
      await lost;
      assert.deepEqual(await stock(), RESERVED);
      await branch.abort();
      assert.deepEqual(await stock(), STOCK);
    });

    test('a lost reply to the local COMMIT of a commit is unknown, and sent again it takes effect once', async () => {
      const participant = open(through.href);
      const { branch, record } = await yes(participant);
      const lost = proxy.cutAfterForward(Buffer.from('commit\0'));
      await expect(branch.commit()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
      await lost;
      await participant.commit(record);
      assert.deepEqual(await stock(), SOLD);
    });

    test('a one-phase commit whose reply was lost is unknown, and evidence tells', async () => {
      const participant = open(through.href);
      const { branch, record } = await begin(participant);
      const lost = proxy.cutAfterForward(Buffer.from('commit\0'));
      expect(await branch.commitOnePhase?.()).toMatchObject({ state: 'unknown' });
      await lost;
      await expect(participant.abort(record)).rejects.toMatchObject({
        code: 'OUTCOME_CONTRADICTED',
      });
      assert.equal(await participant.outcome(record), 'committed');
      assert.deepEqual(await stock(), SOLD);
    });

    test('a connection that is lost before COMMIT has done nothing, and the vote is no', async () => {
      const participant = open(through.href);
      const { branch } = await begin(participant);
      const lost = proxy.cutAfterForward('update stock');
      expect(await branch.prepare()).toMatchObject({ vote: 'no' });
      await lost;
      assert.deepEqual(await stock(), STOCK);
    });
  });
});
