// B4: what it costs to keep 10,000 locks.

import { Redis } from 'ioredis';
import { createLock } from 'tricord';
import { redisLock } from 'tricord/redis';
import { type Bench, type BenchContext, count } from './context.js';
import { sleep } from './measure.js';
import { openClient } from './peers.js';
import { ms, type Table } from './report.js';

const TTL_MS = 9_000;

interface Cost {
  readonly cpuMs: number;
  readonly stallMs: number;
  readonly commands: number;
  readonly lostCount: number;
}

/** CPU of this process, the longest stall of its event loop, and commands, over some time. */
async function during(forMs: number, sent: () => number): Promise<Omit<Cost, 'lostCount'>> {
  const cpu = process.cpuUsage();
  const sentBefore = sent();
  let stallMs = 0;
  let lastMs = performance.now();
  const ticker = setInterval(() => {
    stallMs = Math.max(stallMs, performance.now() - lastMs - 10);
    lastMs = performance.now();
  }, 10);
  await sleep(forMs);
  clearInterval(ticker);
  const { user, system } = process.cpuUsage(cpu);
  return { cpuMs: (user + system) / 1_000, stallMs, commands: sent() - sentBefore };
}

async function tricordCost(context: BenchContext, locks: number, forMs: number): Promise<Cost> {
  const client = new Redis(context.redis.url);
  let sent = 0;
  const send = client.sendCommand.bind(client);
  client.sendCommand = (...values) => {
    sent += 1;
    return send(...values);
  };
  const lock = createLock({ driver: redisLock({ client }), ttlMs: TTL_MS, waitMs: 60_000 });
  const leases = await Promise.all(
    Array.from({ length: locks }, (_, index) => lock.acquire(`b4:${index}`)),
  );
  const cost = await during(forMs, () => sent);
  const lostCount = leases.filter((lease) => !lease.isHeld).length;
  await Promise.all(leases.map((lease) => lease.release()));
  await lock.close();
  client.disconnect();
  return { ...cost, lostCount };
}

async function semaphoreCost(context: BenchContext, locks: number, forMs: number): Promise<Cost> {
  const client = openClient('redis-semaphore', context.redis.url, context.peers, {
    isCounted: true,
  });
  let lostCount = 0;
  const lost = (): void => {
    lostCount += 1;
  };
  const releases = await Promise.all(
    Array.from({ length: locks }, (_, index) => client.guard(`b4s:${index}`, TTL_MS, lost)),
  );
  const cost = await during(forMs, client.sentCount);
  await Promise.all(releases.map((release) => release()));
  await client.close();
  return { ...cost, lostCount };
}

async function renewals(context: BenchContext): Promise<Table> {
  const locks = count(context, 10_000, 500);
  const forMs = count(context, 15_000, 4_000);
  const costs = [
    ['tricord', 'TTL/3', await tricordCost(context, locks, forMs)],
    ['redis-semaphore', '0.8 TTL', await semaphoreCost(context, locks, forMs)],
  ] as const;
  const seconds = forMs / 1_000;
  return {
    title: `B4: ${locks.toLocaleString('en')} held locks in one process, Redis`,
    method: `All are held for ${seconds} s and renewed in the background; TTL ${TTL_MS / 1_000} s. CPU is that of the process, a stall the longest time its event loop was busy at a stretch.`,
    columns: ['lock', 'renewed every', 'CPU', 'commands', 'longest stall', 'lost'],
    rows: costs.map(([name, every, cost]) => [
      name,
      every,
      `${((100 * cost.cpuMs) / forMs).toFixed(1)} % of a core`,
      `${(cost.commands / seconds).toFixed(0)}/s`,
      ms(cost.stallMs),
      String(cost.lostCount),
    ]),
  };
}

export const bench: Bench = { id: 'B4', run: async (context) => [await renewals(context)] };
