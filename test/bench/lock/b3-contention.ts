// B3: 2, 16, 64 and 256 clients in separate processes want one resource.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Job, JobResult } from './b3-client-process.js';
import { type Bench, type BenchContext, count } from './context.js';
import { jain, quantile, within } from './measure.js';
import { CONTENDERS, type Contender, TUNING } from './peers.js';
import { ms, rate, type Table } from './report.js';

const PROGRAM = fileURLToPath(new URL('./b3-client-process.ts', import.meta.url));
const CLIENTS = [2, 16, 64, 256];
const PROCESSES_MAX = 4;
const TTL_MS = 10_000;
const PATIENCE_MS = 30_000;

type Answer = 'ready' | 'open' | 'closed' | JobResult;

function next(child: ChildProcess): Promise<Answer> {
  const answered = new Promise<Answer>((resolve) => child.once('message', resolve));
  return within(PATIENCE_MS, answered).then((answer) => {
    if (answer === undefined) throw new Error('a client process did not answer');
    return answer;
  });
}

interface Measured {
  readonly perSecond: number;
  readonly p99: number;
  readonly sentPerGrant: number;
  readonly fairness: number;
}

async function contend(
  processes: readonly ChildProcess[],
  contender: Contender,
  clientCount: number,
  forMs: number,
): Promise<Measured> {
  const used = processes.slice(0, Math.min(clientCount, PROCESSES_MAX));
  const share = clientCount / used.length;
  const resource = `b3:${contender}:${clientCount}`;
  const job: Job = { contender, resource, clientCount: share, ttlMs: TTL_MS, holdMs: 0, forMs };
  const opened = used.map(next);
  for (const each of used) each.send(job);
  await Promise.all(opened);
  const answers = used.map(next);
  for (const each of used) each.send('begin');
  const results = (await Promise.all(answers)) as JobResult[];
  await Promise.all(used.map(next));
  const grants = results.flatMap((result) => result.grants);
  const total = grants.reduce((sum, each) => sum + each, 0);
  return {
    perSecond: (total / forMs) * 1_000,
    p99: quantile(
      results.flatMap((result) => result.waitsMs),
      0.99,
    ),
    sentPerGrant: results.reduce((sum, { sentCount }) => sum + sentCount, 0) / total,
    fairness: jain(grants),
  };
}

async function contention(context: BenchContext): Promise<readonly Table[]> {
  const { redis, peers } = context;
  const processes = Array.from({ length: PROCESSES_MAX }, () =>
    fork(PROGRAM, [redis.url, peers], { execArgv: ['--import', 'tsx'] }),
  );
  try {
    await Promise.all(processes.map(next));
    const tables: Table[] = [];
    for (const clientCount of context.isQuick ? CLIENTS.slice(0, 2) : CLIENTS) {
      const rows: string[][] = [];
      for (const contender of CONTENDERS) {
        const forMs = count(context, 3_000, 500);
        const measured = await contend(processes, contender, clientCount, forMs);
        const { perSecond, p99, sentPerGrant, fairness } = measured;
        const sent = Number.isFinite(sentPerGrant) ? sentPerGrant.toFixed(1) : '–';
        const fair = Number.isNaN(fairness) ? '–' : fairness.toFixed(3);
        rows.push([contender, rate(perSecond), ms(p99), sent, fair]);
      }
      tables.push(tableOf(clientCount, rows));
    }
    return tables;
  } finally {
    for (const each of processes) each.kill('SIGKILL');
  }
}

function tableOf(clientCount: number, rows: readonly (readonly string[])[]): Table {
  const processes = Math.min(clientCount, PROCESSES_MAX);
  return {
    title: `B3: ${clientCount} clients on one resource, Redis`,
    method: `${processes} processes with ${clientCount / processes} locks each, every lock with a connection and a node of its own; they take and release without a pause. Fairness is Jain's index over the clients' grants.`,
    columns: ['lock', 'grants', 'p99 of a wait', 'commands a grant', 'fairness'],
    rows,
    notes: [
      'Commands are those that the clients send, heartbeats included; what a script calls inside the server is not counted.',
      TUNING,
    ],
  };
}

export const bench: Bench = { id: 'B3', run: contention };
