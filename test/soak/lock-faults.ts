// What the lock's nemesis does to processes, connections and servers. All of it is undone at its end.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Random } from '../../src/index.js';
import type { CuttingProxy } from '../servers/proxy.js';
import type { NemesisBackend } from './lock-backends.js';
import type { WorkerHandle } from './lock-processes.js';

/** Where faults happen. */
export interface Battlefield {
  readonly backend: Omit<NemesisBackend, 'driver' | 'hasModes'>;
  readonly workers: readonly WorkerHandle[];
  readonly random: Random;
  /** The axis of the history. */
  now(): number;
}

/** What was done. */
export interface Done {
  /** A process's name in the history, or `backend`. */
  readonly target: string;
  /** How long its effects last after it is undone, in milliseconds, beyond what every fault needs. */
  readonly afterMs?: number;
  /** Until when nobody was answered. */
  readonly silentUntilMs?: number;
  /** It took leases from holders that had not heard of it. */
  readonly isRevocation?: boolean;
}

export interface Fault {
  readonly name: string;
  readonly weight: number;
  isPossible(field: Battlefield): boolean;
  run(field: Battlefield): Promise<Done>;
}

const always = (): boolean => true;
const between = ({ random }: Battlefield, min: number, max: number): number =>
  min + random.fraction() * (max - min);
const pick = <T>(field: Battlefield, from: readonly T[]): T =>
  from[Math.floor(field.random.fraction() * from.length)] as T;

/** A fault of the network between one process and one server. */
function network(
  name: string,
  weight: number,
  act: (proxy: CuttingProxy, field: Battlefield) => Promise<void>,
): Fault {
  return {
    name,
    weight,
    isPossible: always,
    async run(field) {
      const worker = pick(field, field.workers);
      const proxy = pick(field, worker.proxies);
      await act(proxy, field);
      await proxy.pass();
      return { target: worker.process };
    },
  };
}

const NETWORK: readonly Fault[] = [
  network('cut', 6, async (proxy) => proxy.cut()),
  network('refuse', 3, async (proxy, field) => {
    proxy.refuse();
    proxy.cut();
    await sleep(between(field, 50, 1_500));
  }),
  network('freeze connection', 4, async (proxy, field) => {
    proxy.freeze(pick(field, ['to-server', 'to-client', undefined]));
    await sleep(between(field, 100, 2 * field.backend.ttlMs));
  }),
  network('drop replies', 4, async (proxy, field) => {
    proxy.dropReplies();
    await sleep(between(field, 50, 1_500));
  }),
  network('slow connection', 3, async (proxy, field) => {
    proxy.delay(between(field, 5, 300), pick(field, ['to-server', 'to-client', undefined]));
    await sleep(between(field, 300, 2_000));
  }),
  network('lost reply', 10, async (proxy, field) => {
    const nth = 1 + Math.floor(between(field, 0, 10));
    await Promise.race([proxy.cutAfterForward(() => true, nth), sleep(1_000)]);
  }),
];

const PROCESSES: readonly Fault[] = [
  {
    name: 'kill',
    weight: 6,
    isPossible: always,
    async run(field) {
      const worker = pick(field, field.workers);
      const target = worker.process;
      await worker.kill();
      await sleep(between(field, 0, 500));
      await worker.start();
      return { target };
    },
  },
  {
    name: 'stop',
    weight: 6,
    isPossible: always,
    async run(field) {
      const worker = pick(field, field.workers);
      worker.signal('SIGSTOP');
      await sleep(between(field, 100, 2 * field.backend.ttlMs));
      worker.signal('SIGCONT');
      return { target: worker.process };
    },
  },
];

const SERVERS: readonly Fault[] = [
  {
    name: 'freeze',
    weight: 4,
    isPossible: always,
    async run(field) {
      const server = pick(field, field.backend.servers);
      await server.pause();
      await sleep(between(field, 100, 2 * field.backend.ttlMs));
      const silentUntilMs = field.now();
      await server.resume();
      const isSilent = field.backend.isSilentWithoutOne;
      const afterMs = isSilent ? 0 : field.backend.recoveryMs;
      return { target: 'backend', afterMs, ...(isSilent ? { silentUntilMs } : {}) };
    },
  },
  {
    name: 'restart',
    weight: 3,
    isPossible: always,
    async run(field) {
      const server = pick(field, field.backend.servers);
      await (field.random.fraction() < 0.5 ? server.kill() : server.stop());
      await sleep(between(field, 0, 1_000));
      await server.restart();
      return { target: 'backend', afterMs: field.backend.recoveryMs };
    },
  },
  {
    name: 'isolate',
    weight: 4,
    isPossible: ({ backend }) => backend.isolate !== undefined,
    async run(field) {
      const join = field.backend.isolate?.((count) => Math.floor(between(field, 0, count)));
      await sleep(between(field, 100, 2 * field.backend.ttlMs));
      await join?.();
      return { target: 'backend', afterMs: field.backend.recoveryMs };
    },
  },
  {
    name: 'kill session',
    weight: 6,
    isPossible: ({ backend }) => backend.killSession !== undefined,
    async run(field) {
      const choose = (count: number) => Math.floor(between(field, 0, count));
      const target = (await field.backend.killSession?.(choose)) ?? 'backend';
      return { target, isRevocation: true };
    },
  },
];

const FAULTS = [...NETWORK, ...PROCESSES, ...SERVERS];

/** One of the faults that are possible here, by their weights, and of others. */
export function nextFault(field: Battlefield, others: readonly Fault[] = []): Fault {
  const possible = [...FAULTS, ...others].filter((fault) => fault.isPossible(field));
  let at = field.random.fraction() * possible.reduce((sum, { weight }) => sum + weight, 0);
  for (const fault of possible) {
    at -= fault.weight;
    if (at < 0) return fault;
  }
  return possible[0] as Fault;
}
