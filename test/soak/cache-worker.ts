// What one process of the cache's nemesis does: reads through the cache, and writes to a source.
//
// The source is a folder with a file for each key, which holds the newest version. A key is written by
// one process only, so that versions grow; everybody loads it, slowly, to be overtaken.

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isCoordinationError, type Random, seededRandom } from '../../src/index.js';
import { recordCacheHistory } from '../../src/testing.js';
import { type CachePlace, type OpenedCache, openCache, type Versioned } from './cache-drivers.js';

export interface CacheWorkerConfig extends CachePlace {
  /** This life of this process, as it stands in the history. */
  readonly process: string;
  readonly seed: number;
  /** The history's file, shared by all processes. */
  readonly file: string;
  /** The source. */
  readonly folder: string;
  readonly taskCount: number;
  readonly keys: readonly string[];
  /** The keys that this process writes. */
  readonly ownKeys: readonly string[];
}

const LOAD_MS_MAX = 30;
const COMMIT_MS_MAX = 15;
const THINK_MS_MAX = 12;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Works until `stopped` says so, and resolves when everything that it began has ended. */
export async function work(config: CacheWorkerConfig, stopped: () => boolean): Promise<void> {
  using recorder = recordCacheHistory({ file: config.file, process: config.process });
  const opened = openCache(config);
  const desk: Desk = { config, opened, recorder, busy: new Set() };
  const tasks = Array.from({ length: config.taskCount }, async (_, task) => {
    const random = seededRandom(config.seed + task);
    while (!stopped()) {
      await turn(desk, random);
      await sleep(random.fraction() * THINK_MS_MAX);
    }
  });
  await Promise.all(tasks);
  await opened.close();
}

interface Desk {
  readonly config: CacheWorkerConfig;
  readonly opened: OpenedCache;
  readonly recorder: ReturnType<typeof recordCacheHistory>;
  /** Keys that are being written: one write after another. */
  readonly busy: Set<string>;
}

/** One deed. Errors with a code are the weather; all else is a defect. */
async function turn(desk: Desk, random: Random): Promise<void> {
  try {
    await deed(desk, random);
  } catch (error) {
    if (!isCoordinationError(error)) throw error;
    // Nobody hammers a backend that is down.
    await sleep(random.fraction() * 50);
  }
}

const oneOf = (keys: readonly string[], random: Random): string =>
  keys[Math.floor(random.fraction() * keys.length)] ?? '';
const versionOf = ({ version }: Versioned): number => version;

async function deed(desk: Desk, random: Random): Promise<void> {
  const { config, opened, recorder } = desk;
  const { cache, stalenessMs } = opened;
  const dice = random.fraction();
  if (dice >= 0.85) return write(desk, random);
  const key = oneOf(config.keys, random);
  const read = (call: () => Promise<Versioned | undefined>) =>
    recorder.read(key, stalenessMs, call, versionOf);
  if (dice < 0.1) await read(() => cache.get(key));
  else if (dice < 0.2) {
    // A crowd, which shares a flight and comes at different moments of it.
    const ask = () => cache.getOrLoad(key, () => load(config, key, random));
    const late = async (ms: number) => {
      await sleep(ms);
      await read(ask);
    };
    await Promise.all([read(ask), late(random.fraction() * LOAD_MS_MAX), late(LOAD_MS_MAX)]);
  } else await read(() => cache.getOrLoad(key, () => load(config, key, random)));
}

/** Reads the source, and takes its time to hand out what it has read. */
async function load({ folder }: CacheWorkerConfig, key: string, random: Random) {
  const version = currentVersion(folder, key);
  await sleep(random.fraction() * LOAD_MS_MAX);
  return { version };
}

async function write(desk: Desk, random: Random): Promise<void> {
  const { config, opened, recorder, busy } = desk;
  const { cache } = opened;
  const key = oneOf(config.ownKeys, random);
  if (key === '' || busy.has(key)) return;
  busy.add(key);
  const version = currentVersion(config.folder, key) + 1;
  const commit = async (): Promise<void> => {
    await sleep(random.fraction() * COMMIT_MS_MAX);
    commitVersion(config.folder, key, version, config.process);
    await sleep(random.fraction() * COMMIT_MS_MAX);
  };
  const dice = random.fraction();
  try {
    await recorder.write(key, version, async () => {
      // Of a strict cache only `update` orders the source too.
      if (dice < 0.4 || config.driver === 'redis-strict') await cache.update(key, commit);
      else {
        await commit();
        await (dice < 0.8 ? cache.delete(key) : cache.set(key, { version }));
      }
    });
  } finally {
    busy.delete(key);
  }
}

export function currentVersion(folder: string, key: string): number {
  return Number(readFileSync(join(folder, key), 'utf8'));
}

/** All of it or nothing: by a file of another name. */
function commitVersion(folder: string, key: string, version: number, process: string): void {
  const draft = join(folder, `.${key}.${process}`);
  writeFileSync(draft, String(version));
  renameSync(draft, join(folder, key));
}

/** The source, with every key at version 0. */
export function makeSource(folder: string, keys: readonly string[]): void {
  mkdirSync(folder, { recursive: true });
  for (const key of keys) commitVersion(folder, key, 0, 'first');
}
