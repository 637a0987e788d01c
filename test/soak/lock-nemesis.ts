// Locks of several real processes under seeded faults, and what their history says about it.

import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLock, seededRandom } from '../../src/index.js';
import {
  type CheckHistoryOptions,
  checkHistory,
  type HistoryEvent,
  type HistoryRecorder,
  type HistoryViolation,
  readHistory,
  recordHistory,
} from '../../src/testing.js';
import { type NemesisBackend, startBackend } from './lock-backends.js';
import { HEARTBEAT_MS, type NemesisDriver, openDriver } from './lock-drivers.js';
import { type Battlefield, type Fault, nextFault } from './lock-faults.js';
import { type WorkerHandle, workerHandle } from './lock-processes.js';

export interface NemesisOptions {
  readonly driver: NemesisDriver;
  readonly seed: number;
  readonly durationMs: number;
  readonly processCount?: number;
  readonly taskCount?: number;
}

export interface NemesisResult {
  readonly backend: string;
  /** Each kind of fault and how often. */
  readonly faults: Readonly<Record<string, number>>;
  readonly requestCount: number;
  readonly grantCount: number;
  readonly eventCount: number;
  readonly violations: readonly HistoryViolation[];
  /** What processes did by themselves that they should not. */
  readonly failures: readonly string[];
  /** The history's file, for `npm run soak -- check ‹file›`. */
  readonly file: string;
}

const RESOURCES = ['x0', 'x1', 'x2'];
const COUNTED = ['c0'];
/** Faults come in storms, with a calm after each in which order and wake-ups are judged. */
const STORM_MS = 9_000;
const CALM_MS = 9_000;
const PAUSE_MS_MAX = 700;
const FINISH_MS = 60_000;
const QUIESCE_MS = 15_000;
/** What a broken connection and a lost session take to come back, beyond the TTL. */
const RECOVERY_MS = 2 * HEARTBEAT_MS + 1_000;

/** How the histories of the nemesis are judged, also afterwards. */
export const NEMESIS_RULES: CheckHistoryOptions = {
  ttlMs: 2_000,
  // Processes share two processors with the servers and with each other's start.
  settleMs: 1_500,
  wakeUpMsMax: 4_000,
};

/** Runs it, and judges what was written down. The history stays; everything else is gone. */
export async function runNemesis(options: NemesisOptions): Promise<NemesisResult> {
  const { driver, seed, processCount = 4 } = options;
  const file = join(await mkdtemp(join(tmpdir(), 'tricord-nemesis-')), `${driver}-${seed}.jsonl`);
  await using backend = await startBackend(driver);
  using recorder = recordHistory({ file, process: 'nemesis' });
  const workers = await Promise.all(
    Array.from({ length: processCount }, (_, index) => openWorker(backend, options, file, index)),
  );
  const field: Battlefield = {
    ...{ backend, workers, random: seededRandom(seed), now: recorder.now },
  };
  let faults: Record<string, number>;
  try {
    await Promise.all(workers.map((worker) => worker.start()));
    faults = await rage(field, recorder, options.durationMs);
    await Promise.all(workers.map((worker) => worker.finish(FINISH_MS)));
    await quiesce(backend, recorder);
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()));
    for (const proxy of workers.flatMap((worker) => worker.proxies)) await proxy.close();
  }
  const events = await readHistory(file);
  return {
    backend: backend.description,
    faults,
    ...countOf(events),
    violations: checkHistory(events, NEMESIS_RULES),
    failures: workers.flatMap((worker) => worker.failures),
    file,
  };
}

async function openWorker(
  backend: NemesisBackend,
  { driver, seed, taskCount = 4 }: NemesisOptions,
  file: string,
  index: number,
): Promise<WorkerHandle> {
  const proxies = await backend.connect();
  const { ttlMs, hasModes } = backend;
  return workerHandle(index, proxies, (process, life) => ({
    ...{ driver, process, file, ttlMs, taskCount, hasModes, resources: RESOURCES },
    urls: proxies.map(({ url }) => url),
    nodeId: `w${index}`,
    seed: seed + 1_000 * (index + 1) + 100_000 * life,
    counted: COUNTED,
    // Some nodes keep what nobody waits for, and the others feel it.
    retainMs: index % 2 === 0 ? 0 : 300,
  }));
}

/** One fault after another, now and then two at once, with calms between. */
async function rage(
  field: Battlefield,
  recorder: HistoryRecorder,
  durationMs: number,
): Promise<Record<string, number>> {
  const faults: Record<string, number> = {};
  const startedMs = recorder.now();
  const elapsedMs = (): number => recorder.now() - startedMs;
  while (elapsedMs() < durationMs) {
    const isStorm = elapsedMs() % (STORM_MS + CALM_MS) < STORM_MS;
    if (!isStorm) {
      await sleep(100);
      continue;
    }
    const fault = nextFault(field);
    faults[fault.name] = (faults[fault.name] ?? 0) + 1;
    await wreak(fault, field, recorder);
    await sleep(field.random.fraction() * PAUSE_MS_MAX);
  }
  return faults;
}

async function wreak(fault: Fault, field: Battlefield, recorder: HistoryRecorder): Promise<void> {
  const at = recorder.now();
  const { target, afterMs = 0, silentUntilMs, isRevocation = false } = await fault.run(field);
  const heardMs = recorder.now() + field.backend.ttlMs;
  const times = { at, untilMs: heardMs + RECOVERY_MS + afterMs, silentUntilMs };
  const revoked = isRevocation ? { revokedUntilMs: heardMs } : {};
  recorder.fault({ fault: fault.name, target, ...times, ...revoked });
}

/** Waits until nothing is left, as long as that may take, and writes down what is. */
async function quiesce(backend: NemesisBackend, recorder: HistoryRecorder): Promise<void> {
  const proxies = await backend.connect();
  const urls = proxies.map(({ url }) => url);
  const { driver, close } = await openDriver({ driver: backend.driver, urls });
  const lock = createLock({ driver, nodeId: 'observer' });
  const untilMs = recorder.now() + QUIESCE_MS;
  try {
    for (const resource of backend.hasModes ? [...RESOURCES, ...COUNTED] : RESOURCES) {
      for (;;) {
        const inspection = await lock.inspect(resource);
        const isFree = inspection.holders.length + inspection.waiters.length === 0;
        if (isFree || recorder.now() > untilMs) {
          recorder.quiesce(inspection);
          break;
        }
        await sleep(50);
      }
    }
  } finally {
    await lock.close({ drainMs: 0 });
    await close();
    for (const proxy of proxies) await proxy.close();
  }
}

function countOf(events: readonly HistoryEvent[]) {
  const granted = (event: HistoryEvent): boolean =>
    event.event === 'acquired' && event.outcome === 'granted';
  return {
    eventCount: events.length,
    requestCount: events.filter(({ event }) => event === 'acquire').length,
    grantCount: events.filter(granted).length,
  };
}
