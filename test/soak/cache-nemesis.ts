// Caches of several real processes under seeded faults, and what their history says about it.

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../src/index.js';
import {
  type CacheHistoryEvent,
  type CacheHistoryRecorder,
  type CacheHistoryViolation,
  checkCacheHistory,
  readCacheHistory,
  recordCacheHistory,
} from '../../src/testing.js';
import { type CacheBackend, startCacheBackend } from './cache-backends.js';
import type { CacheNemesisDriver } from './cache-drivers.js';
import { type CacheWorkerConfig, makeSource } from './cache-worker.js';
import { type Battlefield, type Fault, nextFault } from './lock-faults.js';
import { type WorkerHandle, workerHandle } from './lock-processes.js';

export interface CacheNemesisOptions {
  readonly driver: CacheNemesisDriver;
  readonly seed: number;
  readonly durationMs: number;
  readonly processCount?: number;
  readonly taskCount?: number;
}

export interface CacheNemesisResult {
  readonly backend: string;
  /** Each kind of fault and how often. */
  readonly faults: Readonly<Record<string, number>>;
  readonly readCount: number;
  /** Reads that were answered a value. */
  readonly answerCount: number;
  readonly writeCount: number;
  readonly acknowledgedCount: number;
  readonly violations: readonly CacheHistoryViolation[];
  /** What processes did by themselves that they should not. */
  readonly failures: readonly string[];
  /** The history's file, for `npm run soak -- check ‹file›`. */
  readonly file: string;
}

const PROGRAM = new URL('./cache-worker-process.ts', import.meta.url);
const KEYS = Array.from({ length: 12 }, (_, index) => `key${index}`);
const PAUSE_MS_MAX = 900;
const FINISH_MS = 60_000;

/** Runs it, and judges what was written down. The history stays; everything else is gone. */
export async function runCacheNemesis(options: CacheNemesisOptions): Promise<CacheNemesisResult> {
  const { driver, seed, processCount = 4 } = options;
  const folder = await mkdtemp(join(tmpdir(), 'tricord-cache-nemesis-'));
  const file = join(folder, `${driver}-${seed}.jsonl`);
  makeSource(join(folder, 'source'), KEYS);
  await using backend = await startCacheBackend(driver);
  using recorder = recordCacheHistory({ file, process: 'nemesis' });
  const workers = await Promise.all(
    Array.from({ length: processCount }, (_, index) => openWorker(backend, options, folder, index)),
  );
  const random = seededRandom(seed);
  const field: Battlefield = { backend, workers, random, now: recorder.now };
  let faults: Record<string, number>;
  try {
    await Promise.all(workers.map((worker) => worker.start()));
    faults = await rage(field, faultsOf(backend), recorder, options.durationMs);
    await Promise.all(workers.map((worker) => worker.finish(FINISH_MS)));
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()));
    for (const proxy of workers.flatMap((worker) => worker.proxies)) await proxy.close();
  }
  const events = await readCacheHistory(file);
  return {
    backend: backend.description,
    faults,
    ...countOf(events),
    violations: checkCacheHistory(events, { isLinearizable: driver === 'redis-strict' }),
    failures: workers.flatMap((worker) => worker.failures),
    file,
  };
}

async function openWorker(
  backend: CacheBackend,
  { driver, seed, processCount = 4, taskCount = 4 }: CacheNemesisOptions,
  folder: string,
  index: number,
): Promise<WorkerHandle> {
  const proxies = await backend.connect();
  const configOf = (process: string, life: number): CacheWorkerConfig => ({
    ...{ driver, process, taskCount, keys: KEYS },
    file: join(folder, `${driver}-${seed}.jsonl`),
    folder: join(folder, 'source'),
    urls: proxies.map(({ url }) => url),
    seed: seed + 1_000 * (index + 1) + 100_000 * life,
    ownKeys: KEYS.filter((_, key) => key % processCount === index),
    // Some have memory before the shared tier, and the others write without it.
    isTracked: index % 2 === 0,
  });
  return workerHandle(index, proxies, configOf, PROGRAM);
}

/** What happens to caches in particular. */
function faultsOf({ evict, killConnections }: CacheBackend): readonly Fault[] {
  const kill = (name: string, which: 'pubsub' | 'normal'): Fault => ({
    name,
    weight: 5,
    isPossible: () => killConnections !== undefined,
    async run() {
      await killConnections?.(which).catch(() => {});
      return { target: 'backend' };
    },
  });
  return [
    kill('kill listening connections', 'pubsub'),
    kill('kill connections', 'normal'),
    {
      name: 'evict',
      weight: 6,
      isPossible: () => evict !== undefined,
      async run({ random }) {
        await evict?.(() => random.fraction()).catch(() => {});
        return { target: 'backend' };
      },
    },
  ];
}

/** One fault after another, with short pauses between. */
async function rage(
  field: Battlefield,
  others: readonly Fault[],
  recorder: CacheHistoryRecorder,
  durationMs: number,
): Promise<Record<string, number>> {
  const faults: Record<string, number> = {};
  const startedMs = recorder.now();
  while (recorder.now() - startedMs < durationMs) {
    const fault = nextFault(field, others);
    faults[fault.name] = (faults[fault.name] ?? 0) + 1;
    const at = recorder.now();
    const { target } = await fault.run(field);
    // Only who was stopped stood still; the others are judged as ever.
    const stood = fault.name === 'stop' ? target : `${target} (${fault.name})`;
    recorder.fault({ fault: fault.name, target: stood, at, untilMs: recorder.now() });
    await sleep(field.random.fraction() * PAUSE_MS_MAX);
  }
  return faults;
}

function countOf(events: readonly CacheHistoryEvent[]) {
  const answered = (event: CacheHistoryEvent): boolean =>
    event.event === 'answer' && event.outcome === 'value';
  const acknowledged = (event: CacheHistoryEvent): boolean =>
    event.event === 'written' && event.outcome === 'acknowledged';
  return {
    readCount: events.filter(({ event }) => event === 'read').length,
    answerCount: events.filter(answered).length,
    writeCount: events.filter(({ event }) => event === 'write').length,
    acknowledgedCount: events.filter(acknowledged).length,
  };
}
