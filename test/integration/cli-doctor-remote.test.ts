// `tricord doctor` on what a service left: its resources are named `service/resource`, as in records.

import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Diagnosis } from '../../src/cli/diagnosis.js';
import { runProgram } from '../../src/cli/program.js';
import { systemClock } from '../../src/core/clock.js';
import { newTransactionIds } from '../../src/core/ids.js';
import { systemRandom } from '../../src/core/random.js';
import { redisTransactions } from '../../src/drivers/redis/decision-log.js';
import { redisParticipant } from '../../src/drivers/redis/participant.js';
import { callIdOf, remoteBranchId } from '../../src/transaction/branch-id.js';
import { sharedServer } from '../servers/shared.js';
import { eventually } from './postgres-stage.js';

const LIVENESS_TIMEOUT_MS = 500;
const audit = join(tmpdir(), `tricord-audit-remote-${process.pid}-${Date.now()}.jsonl`);
let redisUrl: string;
let client: Redis;

beforeAll(async () => {
  redisUrl = (await sharedServer('redis')).url;
  client = new Redis(redisUrl);
});
afterAll(async () => {
  client?.disconnect();
  await rm(audit, { force: true });
});

async function doctor(named: string, namespace: string, ...args: string[]) {
  let out = '';
  const write = (text: string) => {
    out += text;
  };
  const liveness = ['--liveness-ms', String(LIVENESS_TIMEOUT_MS)];
  const where = ['--redis', `${named}=${redisUrl}`, '--log', 'redis', '--namespace', namespace];
  const line = ['doctor', ...where, ...liveness, '--audit', audit, ...args];
  const code = await runProgram(line, { out: write, err: write }, '0.0.0');
  return { code, out };
}

async function branchesOf(named: string, namespace: string) {
  const { out, code } = await doctor(named, namespace, '--json');
  const { branches } = JSON.parse(out) as Diagnosis;
  const ours = branches.filter(({ branchId }) => branchId.split('.')[1] === namespace);
  const rows = ours.map(({ branchId, participant, decision, evidence, action }) => ({
    ...{ branchId, participant, decision, evidence, action },
  }));
  return { code, rows: rows.sort((a, b) => (a.branchId < b.branchId ? -1 : 1)) };
}

test('of a call that was taken over, what was decided is committed, and the rest rolled back', async () => {
  const namespace = `r${systemRandom.token(9)}`;
  const stock = redisParticipant({ name: 'stock', client });
  const log = redisTransactions({ client, livenessTimeoutMs: LIVENESS_TIMEOUT_MS });
  const node = { namespace, clock: systemClock, random: systemRandom };
  const session = log.open({ nodeId: 'shop-7', ...node });
  const incarnation = systemRandom.token(11);
  await session.register(incarnation);
  const transactionId = newTransactionIds({ namespace, authority: 'redis', incarnation })(
    'order:1',
    'shop-7',
  );
  const prepared = async (attempt: number) => {
    const branchId = remoteBranchId(callIdOf(transactionId, 0), attempt, 0);
    const { signal } = new AbortController();
    const place = { transactionId, branchId, timeoutMs: 10_000, signal, clock: systemClock };
    const branch = await stock.enlist(place);
    await branch.handle.set(`${namespace}:${attempt}`, 'sold');
    const vote = await branch.prepare();
    return { branchId, evidence: vote.vote === 'yes' ? vote.evidence : '' };
  };
  const left = await prepared(1);
  const voted = { ...(await prepared(2)), participant: 'inventory/stock' };
  const record = { transactionId, resourceId: 'order:1', nodeId: 'shop-7', branches: [voted] };
  await session.decide(incarnation, record);
  await session.close();
  const viewer = log.open({ nodeId: 'viewer', ...node });
  await eventually(async () => {
    const statuses = await viewer.incarnations();
    return statuses.every(({ state }) => state === 'silent');
  });

  expect(await branchesOf('inventory/stock', namespace)).toEqual({
    code: 2,
    rows: [
      {
        ...{ branchId: left.branchId, participant: 'inventory/stock' },
        ...{ decision: 'none', evidence: 'prepared', action: 'abort' },
      },
      {
        ...{ branchId: voted.branchId, participant: 'inventory/stock' },
        ...{ decision: 'commit', evidence: 'prepared', action: 'commit' },
      },
    ],
  });
  const commit = ['--resolve', transactionId, 'commit', '--reason', 'the service is gone'];
  const resolved = await doctor('inventory/stock', namespace, ...commit);
  expect(resolved.out).toContain(`${left.branchId} in "inventory/stock": aborted`);
  expect(resolved.out).toContain(`${voted.branchId} in "inventory/stock": committed`);
  expect(await client.mget(`${namespace}:1`, `${namespace}:2`)).toEqual([null, 'sold']);

  // The record stays until the service has let the call go: it asks for the decision.
  const about = { branchId: voted.branchId, participant: 'inventory/stock', decision: 'commit' };
  expect(await branchesOf('inventory/stock', namespace)).toEqual({
    code: 0,
    rows: [{ ...about, evidence: 'committed', action: 'none: it has committed' }],
  });
  // A name without the service may be any resource: nothing is asked of it.
  const action = 'name this participant, too: inventory/stock=…';
  expect(await branchesOf('stock', namespace)).toEqual({
    code: 2,
    rows: [{ ...about, evidence: 'unknown', action }],
  });
  await viewer.close();
});
