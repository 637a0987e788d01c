// B6: how late a holder hears that its lease is lost: on a frozen server, and after SIGSTOP.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { startRedis } from '../../servers/provider.js';
import { type Bench, type BenchContext, count } from './context.js';
import { median, repeated, sleep, within } from './measure.js';
import { type Contender, openClient } from './peers.js';
import { ms, type Table } from './report.js';

const TTL_MS = 2_000;
const PATIENCE_MS = 12_000;
const NAMES: readonly Contender[] = [
  'tricord',
  'redis-semaphore',
  'redlock',
  '@sesamecare-oss/redlock',
];

/** All hold on one server, which freezes once for all of them. */
async function freeze(context: BenchContext): Promise<ReadonlyMap<Contender, number>> {
  await using server = await startRedis();
  const clients = NAMES.map((name) => openClient(name, server.url, context.peers));
  const lostMs = new Map<Contender, number>();
  let frozenMs = 0;
  const told = NAMES.map(
    (name, index) =>
      new Promise<void>((resolve, reject) => {
        const lost = (): void => {
          // A holder may be told more than once; the first counts.
          if (!lostMs.has(name)) lostMs.set(name, performance.now() - frozenMs);
          resolve();
        };
        clients[index]?.guard(`b6:${name}`, TTL_MS, lost).catch(reject);
      }),
  );
  // Some renewals have passed when it freezes.
  await sleep(TTL_MS * 1.5);
  await server.pause();
  frozenMs = performance.now();
  await within(context.isQuick ? TTL_MS * 2 : PATIENCE_MS, Promise.all(told));
  await server.resume();
  for (const client of clients) await client.close();
  return lostMs;
}

async function frozenServer(context: BenchContext): Promise<Table> {
  const trials: ReadonlyMap<Contender, number>[] = [];
  await repeated(count(context, 2, 1), async () => void trials.push(await freeze(context)));
  const rows = NAMES.map((name) => {
    const told = trials.map((trial) => trial.get(name) ?? Number.POSITIVE_INFINITY);
    const shown = (value: number): string =>
      Number.isFinite(value) ? ms(value) : `not within ${ms(PATIENCE_MS)}`;
    const lateMs = Math.max(...told) - TTL_MS;
    return [name, shown(median(told)), Number.isFinite(lateMs) ? ms(Math.max(0, lateMs)) : '–'];
  });
  return {
    title: 'B6: the server freezes under a held lock, Redis',
    method: `From the freeze (SIGSTOP) to the library's own signal that the lock is lost; TTL ${TTL_MS / 1_000} s, renewed until then. No lease can outlive the freeze by more than its TTL: what comes later is late.`,
    columns: ['lock', 'told after', 'late at worst'],
    rows,
  };
}

const PROGRAM = fileURLToPath(new URL('./b6-stopped-process.ts', import.meta.url));
const LEASES = 100;
const SHORT_TTL_MS = 500;

async function stoppedProcess({ redis, isQuick }: BenchContext): Promise<Table> {
  const args = [redis.url, String(LEASES), String(SHORT_TTL_MS)];
  const holder = fork(PROGRAM, args, { execArgv: ['--import', 'tsx'] });
  const answer = () => new Promise<unknown>((resolve) => holder.once('message', resolve));
  await answer();
  let [checked, falseHeld] = [0, 0];
  await repeated(isQuick ? 1 : 10, async (index) => {
    const held = answer();
    holder.send('go');
    await held;
    const seen = answer();
    // Stopped early in the lease, late, and across its end.
    await sleep(40 * index);
    holder.kill('SIGSTOP');
    await sleep(SHORT_TTL_MS + 50);
    holder.kill('SIGCONT');
    const result = (await seen) as { readonly falseHeld: number; readonly checked: number };
    checked += result.checked;
    falseHeld += result.falseHeld;
  });
  holder.kill('SIGKILL');
  return {
    title: 'B6: the holder is stopped with SIGSTOP across its TTL, Redis',
    method: `${LEASES} leases at a time, TTL ${SHORT_TTL_MS} ms; the process does nothing but call \`assertHeld()\` in a loop that lets no timer run. False: it passes at a moment at which another may hold the lock.`,
    columns: ['lock', 'leases', 'false held'],
    rows: [['tricord', String(checked), String(falseHeld)]],
    notes: ['The peers have no such check.'],
  };
}

export const bench: Bench = {
  id: 'B6',
  run: async (context) => [await frozenServer(context), await stoppedProcess(context)],
};
