// B5: kill -9 of the holder, and how long the one that waits has to wait.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Bench, type BenchContext, count } from './context.js';
import { median, sleep } from './measure.js';
import { CONTENDERS, type Contender, openClient } from './peers.js';
import { ms, type Table } from './report.js';

const PROGRAM = fileURLToPath(new URL('./b5-holder-process.ts', import.meta.url));
const TTL_MS = 2_000;
const WAITS_FOR_MS = 1_000;

async function killHolder({ redis, peers }: BenchContext, name: Contender, trial: number) {
  const resource = `b5:${name}:${trial}`;
  const args = [redis.url, peers, name, resource, String(TTL_MS)];
  const holder = fork(PROGRAM, args, { execArgv: ['--import', 'tsx'] });
  await new Promise((resolve) => holder.once('message', resolve));
  const client = openClient(name, redis.url, peers);
  const waiting = client.acquire(resource, TTL_MS).then(async (release) => {
    const grantedMs = performance.now();
    await release();
    return grantedMs;
  });
  await sleep(WAITS_FOR_MS);
  holder.kill('SIGKILL');
  const killedMs = performance.now();
  const tookMs = (await waiting) - killedMs;
  await client.close();
  return tookMs;
}

async function killed(context: BenchContext): Promise<Table> {
  const names = CONTENDERS.filter((name) => !name.endsWith('tuned'));
  const took = new Map<Contender, number[]>(names.map((name) => [name, []]));
  for (let trial = 0; trial < count(context, 5, 1); trial += 1) {
    for (const name of names) took.get(name)?.push(await killHolder(context, name, trial));
  }
  return {
    title: 'B5: the holder is killed with SIGKILL, Redis',
    method: `From the kill to the grant of one that waits; TTL ${TTL_MS / 1_000} s, renewed until the kill. What is left of the TTL at the kill is the floor: between ${ms(TTL_MS / 3)} and ${ms(TTL_MS)}.`,
    columns: ['lock', 'median', 'longest'],
    rows: names.map((name) => [
      name,
      ms(median(took.get(name) ?? [])),
      ms(Math.max(...(took.get(name) ?? []))),
    ]),
  };
}

export const bench: Bench = { id: 'B5', run: async (context) => [await killed(context)] };
