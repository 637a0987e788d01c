// `tricord doctor` on real servers: what a dead coordinator left, and what may be done about it.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Diagnosis } from '../../src/cli/diagnosis.js';
import { runProgram } from '../../src/cli/program.js';
import { systemClock } from '../../src/core/clock.js';
import { newTransactionIds } from '../../src/core/ids.js';
import { systemRandom } from '../../src/core/random.js';
import { postgresParticipant } from '../../src/drivers/postgres/participant.js';
import { redisTransactions } from '../../src/drivers/redis/decision-log.js';
import { redisParticipant } from '../../src/drivers/redis/participant.js';
import { sharedDatabase, sharedServer } from '../servers/shared.js';
import { eventually } from './postgres-stage.js';

const LIVENESS_TIMEOUT_MS = 500;
let made = 0;

/** Runs a command line as `tricord` does. */
async function tricord(...args: string[]) {
  let out = '';
  let err = '';
  const output = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
  };
  const code = await runProgram(args, output, '0.0.0');
  return { code, out, err };
}

describe('tricord doctor [redis] [postgresql]', () => {
  let redisUrl: string;
  let ordersUrl: string;
  let pool: pg.Pool;
  let client: Redis;
  const audit = join(tmpdir(), `tricord-audit-${process.pid}-${Date.now()}.jsonl`);
  beforeAll(async () => {
    redisUrl = (await sharedServer('redis')).url;
    ordersUrl = await sharedDatabase('orders');
    pool = new pg.Pool({ connectionString: ordersUrl, max: 20 });
    pool.on('error', () => {});
    client = new Redis(redisUrl);
    await pool.query('create table item (id int primary key)');
    await pool.query('insert into item values (0)');
  });
  afterAll(async () => {
    // The connections of branches whose process "died" are still out: it is not waited for.
    void pool?.end();
    client?.disconnect();
    await rm(audit, { force: true });
  });

  /** What a coordinator leaves that prepared in both, decided or not, and then died. */
  async function orphan(what: 'undecided' | 'decided' | 'alive') {
    made += 1;
    const namespace = `d${systemRandom.token(9)}`;
    const orders = postgresParticipant({ name: 'orders', pool });
    const stock = redisParticipant({ name: 'stock', client });
    const log = redisTransactions({ client, livenessTimeoutMs: LIVENESS_TIMEOUT_MS });
    const [clock, random] = [systemClock, systemRandom];
    const session = log.open({ nodeId: 'shop-7', namespace, clock, random });
    const incarnation = random.token(11);
    await session.register(incarnation);
    const id = newTransactionIds({ namespace, authority: 'redis', incarnation });
    const transactionId = id('order:1', 'shop-7');
    const branchOf = async <Handle>(
      participant: typeof orders | typeof stock,
      number: number,
      work: (handle: Handle) => Promise<unknown>,
    ) => {
      const branchId = `${transactionId}.${number}`;
      const { signal } = new AbortController();
      const context = { transactionId, branchId, timeoutMs: 10_000, signal, clock };
      const branch = await participant.enlist(context);
      await work(branch.handle as Handle);
      const vote = await branch.prepare();
      const evidence = vote.vote === 'yes' ? vote.evidence : '';
      return { branchId, evidence, participant: participant.name };
    };
    const key = `item:${namespace}`;
    const branches = [
      await branchOf<pg.Pool>(orders, 1, async (db) => {
        await db.query('insert into item values ($1)', [made]);
        await db.query('update item set id = 0 where id = 0');
      }),
      await branchOf<{ set(key: string, value: string): Promise<void> }>(stock, 2, (branch) =>
        branch.set(key, 'sold'),
      ),
    ];
    if (what === 'decided') {
      const record = { transactionId, resourceId: 'order:1', nodeId: 'shop-7', branches };
      await session.decide(incarnation, record);
    }
    const about = { namespace, incarnation, transactionId };
    const found = { ...about, id: made, key, branches, orders, stock, session };
    if (what === 'alive') return found;
    await session.close();
    const viewer = log.open({ nodeId: 'viewer', namespace, clock, random });
    await eventually(async () => {
      const statuses = await viewer.incarnations();
      return statuses.every(({ state }) => state === 'silent');
    });
    await viewer.close();
    return found;
  }
  const committedIn = async ({ id, key }: { id: number; key: string }) => ({
    orders: (await pool.query('select 1 from item where id = $1', [id])).rowCount === 1,
    stock: (await client.get(key)) === 'sold',
  });
  const addresses = () => [
    ...['--redis', `stock=${redisUrl}`],
    ...['--postgres', `orders=${ordersUrl}`],
    ...['--log', 'redis', '--liveness-ms', String(LIVENESS_TIMEOUT_MS), '--audit', audit],
  ];
  const doctor = (namespace: string, ...args: string[]) =>
    tricord('doctor', ...addresses(), '--namespace', namespace, ...args);
  const diagnosis = async (namespace: string) => {
    const { out, code } = await doctor(namespace, '--json');
    return { ...(JSON.parse(out) as Diagnosis), code };
  };
  const ours = ({ branches, namespace }: Diagnosis) =>
    branches.filter(({ branchId }) => branchId.split('.')[1] === namespace);
  const lastAudit = async () => {
    const lines = (await readFile(audit, 'utf8')).trimEnd().split('\n');
    return JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
  };

  test('a namespace with nothing left is clean, and exits with 0', async () => {
    const { code, out } = await doctor('empty');
    expect(out).toContain('namespace empty: 0 branches in doubt');
    expect(code).toBe(0);
  });

  test('an undecided branch of a dead coordinator is in doubt, and abort is safe', async () => {
    const left = await orphan('undecided');
    const waiting = pool.query('update item set id = 0 where id = 0');
    try {
      await eventually(async () => {
        const branches = ours(await diagnosis(left.namespace));
        return branches.some(({ blockedSessions }) => blockedSessions === 1);
      });
      const found = await diagnosis(left.namespace);
      expect(found).toMatchObject({ code: 2, errors: [] });
      expect(ours(found)).toMatchObject([
        {
          ...{ participant: 'stock', branchId: left.branches[1]?.branchId, coordinator: 'silent' },
          ...{ decision: 'none', evidence: 'prepared', isInDoubt: true, action: 'abort' },
          ageMs: expect.any(Number),
        },
        {
          ...{ participant: 'orders', branchId: left.branches[0]?.branchId, coordinator: 'silent' },
          ...{ decision: 'none', evidence: 'prepared', isInDoubt: true, action: 'abort' },
          ...{ blockedSessions: 1, vacuumHorizon: expect.any(Number), ageMs: expect.any(Number) },
        },
      ]);
      const { out, code } = await doctor(left.namespace);
      expect(code).toBe(2);
      for (const text of [left.transactionId, 'safe action', 'abort', '2 branches in doubt']) {
        expect(out).toContain(text);
      }
      const args = ['--resolve', left.transactionId, 'abort', '--reason', 'shop-7 is scrapped'];
      const resolved = await doctor(left.namespace, ...args);
      expect(resolved).toMatchObject({ code: 0, out: expect.stringContaining('0 branches in') });
      await waiting;
    } finally {
      await left.orders.abort({ branchId: left.branches[0]?.branchId ?? '', evidence: '' });
      await waiting;
    }
    expect(await committedIn(left)).toEqual({ orders: false, stock: false });
    // Its coordinator may only have been asleep: it decides nothing any more.
    const log = redisTransactions({ client });
    const [nodeId, { namespace, incarnation, transactionId }] = ['late', left];
    const late = log.open({ nodeId, namespace, clock: systemClock, random: systemRandom });
    const record = { transactionId, resourceId: 'order:1', nodeId, branches: left.branches };
    expect(await late.decide(incarnation, record)).toBe('fenced');
    await late.close();
    expect(await lastAudit()).toMatchObject({
      event: 'resolved',
      transactionId: left.transactionId,
      verdict: 'abort',
      reason: 'shop-7 is scrapped',
    });
  });

  test('what was decided is committed, and abort is refused', async () => {
    const left = await orphan('decided');
    const found = await diagnosis(left.namespace);
    expect(found.code).toBe(2);
    expect(ours(found).map(({ decision, action }) => ({ decision, action }))).toEqual([
      { decision: 'commit', action: 'commit' },
      { decision: 'commit', action: 'commit' },
    ]);
    const [branchId = ''] = left.branches.map((each) => each.branchId);
    const refused = await doctor(left.namespace, '--resolve', branchId, 'abort', '--reason', 'no');
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('refused: the log has the decision to commit it');
    expect(await lastAudit()).toMatchObject({ event: 'refused', verdict: 'abort', reason: 'no' });
    const args = ['--resolve', left.transactionId, 'commit', '--reason', 'waited long enough'];
    const resolved = await doctor(left.namespace, ...args);
    expect(resolved).toMatchObject({ code: 0 });
    expect(await committedIn(left)).toEqual({ orders: true, stock: true });
  });

  test('a commit without a decision is refused, as long as no branch has committed', async () => {
    const left = await orphan('undecided');
    const commit = ['--resolve', left.transactionId, 'commit', '--reason', 'I want it'];
    const refused = await doctor(left.namespace, ...commit);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('only abort is safe');
    expect(await committedIn(left)).toEqual({ orders: false, stock: false });
    // Somebody commits one branch by hand: now only commit makes it whole again.
    await left.stock.commit({ branchId: left.branches[1]?.branchId ?? '', evidence: '' });
    const found = await diagnosis(left.namespace);
    expect(ours(found).map(({ participant }) => participant)).toEqual(['orders']);
    const abort = ['--resolve', left.transactionId, 'abort', '--reason', 'undo'];
    expect((await doctor(left.namespace, ...abort)).err).toContain('"stock" has committed it');
    expect(await doctor(left.namespace, ...commit)).toMatchObject({ code: 0 });
    expect(await committedIn(left)).toEqual({ orders: true, stock: true });
  });

  test('what was done by hand against a decision is told apart from what needs nothing', async () => {
    const left = await orphan('decided');
    const [orders, stock] = left.branches.map((each) => each.branchId);
    await pool.query(`commit prepared '${orders}'`);
    await left.stock.abort({ branchId: stock ?? '', evidence: '' });
    const found = await diagnosis(left.namespace);
    expect(found.code).toBe(2);
    expect(ours(found)).toMatchObject([
      {
        ...{ participant: 'orders', decision: 'commit', evidence: 'committed', isInDoubt: false },
        action: 'none: it has committed',
      },
      {
        ...{ participant: 'stock', decision: 'commit', evidence: 'aborted', isInDoubt: true },
        action: 'repair by hand: it was aborted against the decision',
      },
    ]);
    const commit = ['--resolve', left.transactionId, 'commit', '--reason', 'finish it'];
    expect((await doctor(left.namespace, ...commit)).err).toContain(
      'refused: "stock" has aborted it; repair that by hand',
    );
  });

  test('nothing is done that cannot be recorded', async () => {
    const left = await orphan('undecided');
    const abort = ['--resolve', left.transactionId, 'abort', '--reason', 'shop-7 is scrapped'];
    const nowhere = join(tmpdir(), `tricord-no-folder-${process.pid}`, 'audit.jsonl');
    const { code, err } = await doctor(left.namespace, ...abort, '--audit', nowhere);
    expect(code).toBe(1);
    expect(err).toContain(nowhere);
    expect(ours(await diagnosis(left.namespace))).toHaveLength(2);
    expect((await doctor(left.namespace, ...abort)).code).toBe(0);
  });

  test('without the log a branch waits, and nobody resolves it', async () => {
    const left = await orphan('undecided');
    const path = join(tmpdir(), `tricord-without-log-${process.pid}-${Date.now()}.mjs`);
    const shared = globalThis as Record<string, unknown>;
    const { namespace, orders, stock } = left;
    shared.tricordWithoutLog = { participants: [orders, stock], namespace };
    await writeFile(path, 'export const open = () => globalThis.tricordWithoutLog;\n');
    try {
      const { code, out } = await tricord('doctor', path, '--json');
      const found = JSON.parse(out) as Diagnosis;
      expect(code).toBe(2);
      expect(found.errors).toEqual(['no log was given: decisions are not known']);
      const action = 'wait: give the log, or bring it back';
      expect(ours(found)).toMatchObject([
        { decision: 'unknown', evidence: 'prepared', action },
        { decision: 'unknown', evidence: 'prepared', action },
      ]);
      const abort = ['--resolve', left.transactionId, 'abort', '--reason', 'impatience'];
      const refused = await tricord('doctor', path, '--audit', audit, ...abort);
      expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('none was given') });
    } finally {
      delete shared.tricordWithoutLog;
      await rm(path);
      const abort = ['--resolve', left.transactionId, 'abort', '--reason', 'the test is over'];
      expect((await doctor(namespace, ...abort)).code).toBe(0);
    }
  });

  test('a branch of a coordinator that lives waits for it, and nobody resolves it', async () => {
    const left = await orphan('alive');
    try {
      const found = await diagnosis(left.namespace);
      expect(found.code).toBe(0);
      expect(ours(found)).toMatchObject([
        { isInDoubt: false, action: 'wait: its coordinator lives' },
        { isInDoubt: false, action: 'wait: its coordinator lives' },
      ]);
      const abort = ['--resolve', left.transactionId, 'abort', '--reason', 'impatience'];
      const refused = await doctor(left.namespace, ...abort);
      expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('coordinator lives') });
    } finally {
      await left.session.close();
      for (const [index, each] of [left.orders, left.stock].entries()) {
        await each.abort({ branchId: left.branches[index]?.branchId ?? '', evidence: '' });
      }
    }
  });

  test('a branch of another namespace is shown, and left alone', async () => {
    const left = await orphan('undecided');
    try {
      const found = await diagnosis('somebody');
      expect(found.code).toBe(0);
      const branch = found.branches.find(({ branchId }) => branchId.includes(left.transactionId));
      expect(branch?.action).toContain(`leave it alone: it belongs to namespace`);
      const abort = ['--resolve', left.transactionId, 'abort', '--reason', 'tidy'];
      expect((await doctor('somebody', ...abort)).err).toContain('belongs to namespace');
    } finally {
      const abort = ['--resolve', left.transactionId, 'abort', '--reason', 'the test is over'];
      expect((await doctor(left.namespace, ...abort)).code).toBe(0);
    }
  });

  test("a module with the service's own participants is looked at in the same way", async () => {
    const left = await orphan('undecided');
    const path = join(tmpdir(), `tricord-module-${process.pid}-${Date.now()}.mjs`);
    const shared = globalThis as Record<string, unknown>;
    shared.tricordTest = {
      log: redisTransactions({ client, livenessTimeoutMs: LIVENESS_TIMEOUT_MS }),
      participants: [left.orders, left.stock],
      clients: { orders: pool },
      namespace: left.namespace,
    };
    await writeFile(path, 'export const open = () => globalThis.tricordTest;\n');
    try {
      const { code, out } = await tricord('doctor', path);
      expect(code).toBe(2);
      expect(out).toContain(left.transactionId);
    } finally {
      delete shared.tricordTest;
      await rm(path);
      await doctor(left.namespace, '--resolve', left.transactionId, 'abort', '--reason', 'over');
    }
  });

  test('a resource that cannot be reached is an error, and no password is printed', async () => {
    const url = 'postgres://shop:hunter2@127.0.0.1:1/orders';
    const { code, out, err } = await tricord('doctor', '--redis', redisUrl, '--postgres', url);
    expect(code).toBe(1);
    expect(out).toContain('participant "orders" could not be looked at');
    expect(out).toContain('0 branches in doubt, as far as could be looked at');
    expect(out + err).not.toContain('hunter2');
  });

  test('a resolution without a reason, or of nothing, is refused', async () => {
    const wanted = ['--resolve', 'tc1.nothing', 'abort'];
    expect(await doctor('empty', ...wanted)).toMatchObject({
      code: 1,
      err: expect.stringContaining('--reason'),
    });
    const unknown = await doctor('empty', ...wanted, '--reason', 'why not');
    expect(unknown).toMatchObject({ code: 1, err: expect.stringContaining('is not the id of') });
    const half = await doctor('empty', '--resolve', 'tc1.nothing', '--reason', 'x');
    expect(half).toMatchObject({ code: 1, err: expect.stringContaining('commit or') });
  });

  test('without anything to look at it says what to pass', async () => {
    const missing = await tricord('doctor', './nowhere.mjs');
    const message = "module is './nowhere.mjs'; pass the path of a file that is there";
    expect(missing).toMatchObject({ code: 1, err: `tricord: ${message}\n` });
    const { code, err } = await tricord('doctor');
    expect(code).toBe(1);
    expect(err).toContain('nothing to look at');
    expect(err).toContain('--redis, --postgres, --mysql or --zookeeper');
  });
});
