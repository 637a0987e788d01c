// What one process of the lock's nemesis does: takes, looks, releases, gives up, and survives.

import {
  createLock,
  isCoordinationError,
  type Lock,
  type Random,
  seededRandom,
} from '../../src/index.js';
import { recordHistory } from '../../src/testing/history-record.js';
import { openDriver, type WorkerPlace } from './lock-drivers.js';

export interface WorkerConfig extends WorkerPlace {
  /** This life of this process, as it stands in the history. */
  readonly process: string;
  /** Stays the same over lives, as a pod's name does. */
  readonly nodeId: string;
  readonly seed: number;
  /** The history's file, shared by all processes. */
  readonly file: string;
  readonly ttlMs: number;
  readonly taskCount: number;
  /** Taken by one, or by many readers. */
  readonly resources: readonly string[];
  /** Taken by `CAPACITY` permits, where the driver counts. */
  readonly counted: readonly string[];
  /** Whether the driver has readers, permits and downgrades. */
  readonly hasModes: boolean;
  /** Keeps what nobody waits for, so long. */
  readonly retainMs: number;
}

export const CAPACITY = 3;
const WAIT_MS = 30_000;
const THINK_MS_MAX = 80;
const HOLD_MS_MAX = 15;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Works until `stopped` says so, and resolves when everything that it began has ended. */
export async function work(config: WorkerConfig, stopped: () => boolean): Promise<void> {
  using recorder = recordHistory({ file: config.file, process: config.process });
  const { driver, close } = await openDriver(config);
  const { nodeId, ttlMs, retainMs } = config;
  const plain = createLock({ driver, nodeId, ttlMs, waitMs: WAIT_MS, retainMs });
  const lock = recorder.lock(plain);
  const tasks = Array.from({ length: config.taskCount }, async (_, task) => {
    const random = seededRandom(config.seed + task);
    while (!stopped()) {
      await turn(lock, config, random);
      await sleep(random.fraction() * THINK_MS_MAX);
    }
  });
  await Promise.all(tasks);
  await plain.close({ drainMs: 1_000 });
  await close();
}

/** One request and what becomes of it. Errors with a code are the weather; all else is a defect. */
async function turn(lock: Lock, config: WorkerConfig, random: Random): Promise<void> {
  try {
    await deedOf(config, random)(lock, config, random);
  } catch (error) {
    const isImpatience = error instanceof Error && error.message === IMPATIENCE;
    if (!isImpatience && !isCoordinationError(error)) throw error;
    // Nobody hammers a backend that is down.
    await sleep(random.fraction() * 100);
  }
}

type Deed = (lock: Lock, config: WorkerConfig, random: Random) => Promise<void>;

/** The deeds, and how often they are done in comparison. */
const DEEDS: readonly (readonly [weight: number, needsModes: boolean, deed: Deed])[] = [
  [40, false, takeInTurn],
  [10, false, tryOnce],
  [12, false, giveUp],
  [2, false, holdLong],
  [3, false, holdUnrenewed],
  [5, false, takeSeveral],
  [15, true, read],
  [5, true, writeThenRead],
  [12, true, takePermits],
];

function deedOf({ hasModes }: WorkerConfig, random: Random): Deed {
  const deeds = DEEDS.filter(([, needsModes]) => hasModes || !needsModes);
  let at = random.fraction() * deeds.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, , deed] of deeds) {
    at -= weight;
    if (at < 0) return deed;
  }
  return takeInTurn;
}

const oneOf = (resources: readonly string[], random: Random): string =>
  resources[Math.floor(random.fraction() * resources.length)] ?? '';

/** What a lease of any kind lets its holder do. */
interface Held {
  readonly isHeld: boolean;
  release(): Promise<unknown>;
}

/** Holds for a while, looking now and then: what it claims is what the checker judges. */
async function use(lease: Held, holdMs: number): Promise<void> {
  const untilMs = performance.now() + holdMs;
  do {
    await sleep(Math.min(holdMs, 100));
  } while (lease.isHeld && performance.now() < untilMs);
  await lease.release();
}

async function takeInTurn(lock: Lock, { resources }: WorkerConfig, random: Random) {
  await use(await lock.acquire(oneOf(resources, random)), random.fraction() * HOLD_MS_MAX);
}

async function tryOnce(lock: Lock, { resources }: WorkerConfig, random: Random) {
  const lease = await lock.tryAcquire(oneOf(resources, random));
  if (lease !== undefined) await use(lease, random.fraction() * HOLD_MS_MAX);
}

const IMPATIENCE = 'ran out of patience';

async function giveUp(lock: Lock, { resources }: WorkerConfig, random: Random) {
  const patience = new AbortController();
  const timer = setTimeout(
    () => patience.abort(new Error(IMPATIENCE)),
    random.fraction() * THINK_MS_MAX,
  );
  try {
    const lease = await lock.acquire(oneOf(resources, random), { signal: patience.signal });
    await use(lease, random.fraction() * HOLD_MS_MAX);
  } finally {
    clearTimeout(timer);
  }
}

async function holdLong(lock: Lock, { resources, ttlMs }: WorkerConfig, random: Random) {
  await use(await lock.acquire(oneOf(resources, random)), random.fraction() * 1.5 * ttlMs);
}

async function holdUnrenewed(lock: Lock, { resources, ttlMs }: WorkerConfig, random: Random) {
  const options = { renew: false, ttlMs: Math.ceil(ttlMs / 2) };
  const lease = await lock.acquire(oneOf(resources, random), options);
  await use(lease, random.fraction() * ttlMs);
}

async function takeSeveral(lock: Lock, { resources }: WorkerConfig, random: Random) {
  const set = await lock.acquire([oneOf(resources, random), oneOf(resources, random)]);
  await use(set, random.fraction() * HOLD_MS_MAX);
}

async function read(lock: Lock, { resources }: WorkerConfig, random: Random) {
  const lease = await lock.acquire(oneOf(resources, random), { mode: 'shared' });
  await use(lease, random.fraction() * HOLD_MS_MAX);
}

async function writeThenRead(lock: Lock, { resources }: WorkerConfig, random: Random) {
  const lease = await lock.acquire(oneOf(resources, random));
  await sleep(random.fraction() * HOLD_MS_MAX);
  const reading = await lease.downgrade().catch(async (error: unknown) => {
    await lease.release();
    throw error;
  });
  await use(reading, random.fraction() * HOLD_MS_MAX);
}

async function takePermits(lock: Lock, { counted }: WorkerConfig, random: Random) {
  const permits = 1 + Math.floor(random.fraction() * CAPACITY);
  const lease = await lock.acquire(oneOf(counted, random), { permits, capacity: CAPACITY });
  await use(lease, random.fraction() * HOLD_MS_MAX);
}
