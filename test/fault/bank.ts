// The bank: four resources, several processes that move money and sweep, and everything that can
// happen to processes and connections. Afterwards the books must agree.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { type Random, seededRandom } from '../../src/core/random.js';
import { setupSql as mysqlSetupSql } from '../../src/mysql.js';
import { startMariadb, startPostgres, startRedis } from '../servers/provider.js';
import type { CuttingProxy } from '../servers/proxy.js';
import { audit, quiesce } from './bank-audit.js';
import { ACCOUNTS, type BankUrls, bankTables, OPENING_BALANCE } from './bank-branches.js';
import type { BankProcessConfig } from './bank-process.js';

export interface BankOptions {
  readonly seed: number;
  readonly durationMs: number;
  readonly workerCount?: number;
  /** Whether servers are killed and restarted too. */
  readonly killsServers?: boolean;
}

export interface BankResult {
  readonly transferCount: number;
  readonly told: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly errors: readonly string[];
}

const PROCESS = fileURLToPath(new URL('./bank-process.ts', import.meta.url));
const CONCURRENCY = 4;
const FAULT_EVERY_MS = 400;
/** The connections of a process that is dead are gone after so long. */
const DELIVERED_MS_MAX = 10_000;
const STOPPED_MS_MAX = 2_500;
/** Wall clocks are wrong by up to a day. */
const SKEW_MS_MAX = 86_400_000;

type Servers = Awaited<ReturnType<typeof startServers>>;

/** Runs the bank for a while, lets it come to rest, and compares the books. */
export async function runBank(options: BankOptions): Promise<BankResult> {
  const { seed, durationMs, workerCount = 3, killsServers = false } = options;
  const random = seededRandom(seed);
  await using servers = await startServers();
  const told = new Map<string, string>();
  const faults: Record<string, number> = {};
  const crew = crewOf(servers, random, told);
  for (let index = 0; index < workerCount; index += 1) crew.hire(CONCURRENCY);
  crew.hire(0);
  await crew.isWorking();
  const until = performance.now() + durationMs;
  while (performance.now() < until) {
    await sleep(FAULT_EVERY_MS * (0.5 + random.fraction()));
    const fault = await disturb(servers, crew, random, killsServers);
    faults[fault] = (faults[fault] ?? 0) + 1;
  }
  for (const { proxy } of servers.banks) await proxy.pass();
  await crew.dismiss();
  await delivered(servers);
  const quiet = await quiesce(servers.directUrls);
  const { transferCount, errors } = await audit(servers.directUrls, told);
  const counts: Record<string, number> = {};
  for (const state of told.values()) counts[state] = (counts[state] ?? 0) + 1;
  return { transferCount, told: counts, faults, errors: [...quiet, ...errors] };
}

/**
 * Waits until the proxies have passed on what the dead had sent: a prepare that arrives after the
 * last look of recovery is left to the next sweep, and nobody sweeps any more.
 */
async function delivered({ banks }: Servers): Promise<void> {
  const until = performance.now() + DELIVERED_MS_MAX;
  while (banks.some(({ proxy }) => proxy.openCount > 0)) {
    if (performance.now() > until) throw new Error('connections of the dead are still open');
    await sleep(20);
  }
}

async function disturb(
  servers: Servers,
  crew: Crew,
  random: Random,
  killsServers: boolean,
): Promise<string> {
  const chance = random.fraction();
  const pick = <Item>(items: readonly Item[]): Item =>
    items[Math.floor(random.fraction() * items.length)] as Item;
  const { proxy, server } = pick(servers.banks);
  if (chance < 0.2) {
    crew.kill();
    return 'kill -9';
  }
  if (chance < 0.5) {
    crew.stop(random.fraction() * STOPPED_MS_MAX);
    return 'SIGSTOP';
  }
  if (chance < 0.75) {
    proxy.cut();
    return 'cut';
  }
  if (chance < 0.9 || !killsServers) {
    proxy.freeze('to-client');
    await sleep(300 + 700 * random.fraction());
    proxy.thaw();
    return 'frozen replies';
  }
  await server.kill();
  await server.restart();
  return 'server kill -9';
}

/** The processes of the bank. */
interface Crew {
  hire(concurrency: number): void;
  /** Kills one without warning; another takes its place. */
  kill(): void;
  stop(forMs: number): void;
  /** Resolves when the first transfer has been answered. */
  isWorking(): Promise<void>;
  /** Kills all of them. */
  dismiss(): Promise<void>;
}

function crewOf(servers: Servers, random: Random, told: Map<string, string>): Crew {
  const all = new Set<ChildProcess>();
  const living = new Map<ChildProcess, number>();
  const ends: Promise<unknown>[] = [];
  let begin = (): void => {};
  const working = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const hire = (concurrency: number): void => {
    const config: BankProcessConfig = {
      urls: servers.urls,
      seed: Math.floor(random.fraction() * 2 ** 31),
      concurrency,
      skewMs: Math.floor((2 * random.fraction() - 1) * SKEW_MS_MAX),
    };
    const child = spawn(process.execPath, ['--import', 'tsx', PROCESS, JSON.stringify(config)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    all.add(child);
    ends.push(new Promise((resolve) => child.once('close', resolve)));
    createInterface({ input: child.stdout }).on('line', (line) => {
      // One that is only starting has nothing to lose yet: it is left alone until it works.
      if (line === 'ready' && all.has(child)) living.set(child, concurrency);
      const [id, state] = line.split(' ');
      if (id === undefined || state === undefined) return;
      told.set(id, state);
      if (state === 'committed') begin();
    });
  };
  const any = (): ChildProcess | undefined => {
    const some = [...living.keys()];
    return some[Math.floor(random.fraction() * some.length)];
  };
  return {
    hire,
    kill() {
      const child = any();
      if (child === undefined) return;
      const concurrency = living.get(child) ?? 0;
      living.delete(child);
      all.delete(child);
      child.kill('SIGKILL');
      hire(concurrency);
    },
    stop(forMs) {
      const child = any();
      child?.kill('SIGSTOP');
      setTimeout(() => child?.kill('SIGCONT'), forMs);
    },
    isWorking: () => working,
    async dismiss() {
      for (const child of all) child.kill('SIGKILL');
      await Promise.all(ends);
    },
  };
}

async function startServers() {
  const started = await Promise.all([
    startPostgres({ maxPreparedTransactions: 100 }),
    startPostgres({ maxPreparedTransactions: 100 }),
    startMariadb(),
    startRedis({ appendonly: 'always', config: { 'maxmemory-policy': 'noeviction' } }),
  ]);
  const [north, south, maria, redis] = started;
  const directUrls: BankUrls = {
    north: await north.createDatabase('bank'),
    south: await south.createDatabase('bank'),
    maria: await maria.createDatabase('bank'),
    redis: redis.url,
  };
  for (const url of [directUrls.north, directUrls.south]) {
    const pool = new pg.Pool({ connectionString: url, max: 1 });
    for (const statement of bankTables('')) await pool.query(statement);
    await pool.end();
  }
  const ledger = mysql.createPool({ uri: directUrls.maria, multipleStatements: true });
  await ledger.query(mysqlSetupSql());
  for (const statement of bankTables('engine=InnoDB')) await ledger.query(statement);
  await ledger.end();
  const client = new Redis(redis.url);
  for (let id = 0; id < ACCOUNTS; id += 1) await client.set(`account:${id}`, OPENING_BALANCE);
  client.disconnect();
  const proxies = await Promise.all(started.map((server) => server.proxy()));
  const names = ['north', 'south', 'maria', 'redis'] as const;
  const urls = Object.fromEntries(
    names.map((name, index) => [name, through(directUrls[name], proxies[index])]),
  ) as BankUrls;
  return {
    urls,
    directUrls,
    banks: started.map((server, index) => ({ server, proxy: proxies[index] as CuttingProxy })),
    async [Symbol.asyncDispose]() {
      await Promise.allSettled(proxies.map((proxy) => proxy.close()));
      await Promise.allSettled(started.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}

function through(url: string, proxy: CuttingProxy | undefined): string {
  const address = new URL(url);
  if (proxy !== undefined) address.host = `${proxy.host}:${proxy.port}`;
  return address.href;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
