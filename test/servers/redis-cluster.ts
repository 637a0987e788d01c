// A cluster of six processes: three masters with a replica each.
//
//   await using cluster = await startRedisCluster();
//   const client = new Cluster(cluster.nodes);
//   await cluster.moveSlot(keySlot, { while: load });    // step by step, as redis-cli does
//   await cluster.masterOf(keySlot).kill();               // its replica takes over

import { Redis } from 'ioredis';
import { freePort } from './ports.js';
import { type RedisProcess, startRedisProcess } from './redis-process.js';
import { eventually } from './wire.js';

const SLOTS = 16_384;
const MASTERS = 3;
const NODE_TIMEOUT_MS = 1_000;

export interface RedisCluster extends AsyncDisposable {
  /** For ioredis. */
  readonly nodes: { host: string; port: number }[];
  readonly processes: readonly RedisProcess[];
  /** The master that serves a slot now. */
  masterOf(slot: number): Promise<RedisProcess>;
  /**
   * Moves a slot to another master: importing, migrating, its keys one by one, and then everybody is
   * told. `between` runs after each step, while the slot is half way.
   */
  moveSlot(slot: number, between?: () => Promise<void>): Promise<void>;
}

export async function startRedisCluster(): Promise<RedisCluster> {
  const processes = await Promise.all(Array.from({ length: 2 * MASTERS }, startNode));
  const clients = new Map(
    processes.map((process) => {
      const client = new Redis(process.url, { maxRetriesPerRequest: 1 });
      client.on('error', () => {});
      return [process, client] as const;
    }),
  );
  const call = async (process: RedisProcess, ...words: (string | number)[]): Promise<string> =>
    String(await clients.get(process)?.call('CLUSTER', ...words.map(String)));
  const dispose = async (): Promise<void> => {
    for (const client of clients.values()) client.disconnect();
    await Promise.all(processes.map((process) => process.remove()));
  };
  try {
    await join(processes, call);
  } catch (error) {
    await dispose();
    throw error;
  }
  const masterOf = async (slot: number): Promise<RedisProcess> =>
    eventually(
      async () => {
        for (const process of processes.filter(({ isRunning }) => isRunning)) {
          const lines = (await call(process, 'NODES')).split('\n');
          const mine = lines.find((line) => line.includes('myself,master'));
          if (mine !== undefined && serves(mine, slot)) return process;
        }
        throw new Error(`nobody serves slot ${slot}`);
      },
      { timeoutMs: 20_000 },
    );
  return {
    nodes: processes.map(({ host, port }) => ({ host, port })),
    processes,
    masterOf,
    async moveSlot(slot, between = async () => {}) {
      const source = await masterOf(slot);
      const masters = await mastersOf(processes, call);
      const target = masters.find((process) => process !== source) as RedisProcess;
      const [from, to] = await Promise.all([call(source, 'MYID'), call(target, 'MYID')]);
      await call(target, 'SETSLOT', slot, 'IMPORTING', from);
      await call(source, 'SETSLOT', slot, 'MIGRATING', to);
      await between();
      const client = clients.get(source) as Redis;
      for (;;) {
        const keys = (await client.call('CLUSTER', 'GETKEYSINSLOT', `${slot}`, '1')) as string[];
        if (keys.length === 0) break;
        await client.call(
          'MIGRATE',
          target.host,
          `${target.port}`,
          '',
          '0',
          '5000',
          'KEYS',
          ...keys,
        );
        await between();
      }
      for (const process of [target, source, ...masters])
        await call(process, 'SETSLOT', slot, 'NODE', to);
      await between();
    },
    [Symbol.asyncDispose]: dispose,
  };
}

async function startNode(): Promise<RedisProcess> {
  const bus = await freePort();
  return startRedisProcess(() => ({
    'cluster-enabled': 'yes',
    'cluster-port': `${bus}`,
    'cluster-node-timeout': `${NODE_TIMEOUT_MS}`,
    'cluster-allow-replica-migration': 'no',
    'repl-diskless-sync-delay': '0',
    appendonly: 'no',
  }));
}

type Call = (process: RedisProcess, ...words: (string | number)[]) => Promise<string>;

/** Makes one cluster of the nodes: the first three get the slots, the others follow them. */
async function join(processes: readonly RedisProcess[], call: Call): Promise<void> {
  const masters = processes.slice(0, MASTERS);
  for (const [index, process] of masters.entries()) {
    const first = Math.floor((SLOTS * index) / MASTERS);
    const last = Math.floor((SLOTS * (index + 1)) / MASTERS) - 1;
    await call(process, 'ADDSLOTSRANGE', first, last);
    await call(process, 'SET-CONFIG-EPOCH', index + 1);
  }
  const [seed, ...others] = processes as [RedisProcess, ...RedisProcess[]];
  for (const process of others) {
    const bus = await busOf(process);
    await call(seed, 'MEET', process.host, process.port, bus);
  }
  const all = (pattern: RegExp, count: number) =>
    eventually(
      async () => {
        for (const process of processes) {
          const found = (await call(process, 'NODES')).match(pattern)?.length ?? 0;
          const info = await call(process, 'INFO');
          if (found !== count || !info.includes('cluster_state:ok')) throw new Error('not joined');
        }
      },
      { timeoutMs: 30_000 },
    );
  await all(/ connected/g, processes.length);
  for (const [index, replica] of processes.slice(MASTERS).entries()) {
    await call(replica, 'REPLICATE', await call(masters[index] as RedisProcess, 'MYID'));
  }
  await all(/\bslave\b/g, MASTERS);
  await Promise.all(processes.slice(MASTERS).map(hasLink));
}

async function busOf({ url }: RedisProcess): Promise<string> {
  const client = new Redis(url);
  const [, bus] = (await client.config('GET', 'cluster-port')) as string[];
  client.disconnect();
  return String(bus);
}

async function hasLink({ url }: RedisProcess): Promise<void> {
  const client = new Redis(url);
  try {
    await eventually(
      async () => {
        const info = await client.info('replication');
        if (!info.includes('master_link_status:up')) throw new Error('no link yet');
      },
      { timeoutMs: 20_000 },
    );
  } finally {
    client.disconnect();
  }
}

async function mastersOf(
  processes: readonly RedisProcess[],
  call: Call,
): Promise<readonly RedisProcess[]> {
  const masters: RedisProcess[] = [];
  for (const process of processes.filter(({ isRunning }) => isRunning)) {
    if ((await call(process, 'NODES')).includes('myself,master')) masters.push(process);
  }
  return masters;
}

/** Whether a line of CLUSTER NODES names a slot among those that its node serves. */
function serves(line: string, slot: number): boolean {
  const ranges = line.split(' ').slice(8);
  return ranges.some((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return !range.startsWith('[') && slot >= Number(first) && slot <= Number(last);
  });
}
