// One redis-server process of a group: a replica set, a set of sentinels, a cluster.
//
// Groups run from programs only: their members find each other by the addresses that they announce,
// which are those of this machine. Where there is only Docker, installing redis-server is enough;
// the error that `findPrograms` throws says so.

import { appendFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine } from './handle.js';
import { processEngine } from './process-engine.js';
import { redisRecipe } from './redis.js';
import { findPrograms } from './source.js';
import { noteVersion } from './versions.js';
import { ask, eventually } from './wire.js';

/** One process, which can be killed, frozen and restarted at its address. */
export interface RedisProcess extends Engine {
  readonly url: string;
}

/** Where a process will be, for its settings. */
export interface Place {
  readonly host: string;
  readonly port: number;
  readonly folder: string;
}

interface ProcessOptions {
  /** Lines that stand in a file, because they cannot be arguments. */
  readonly configFile?: string;
  readonly isSentinel?: boolean;
}

/** Starts redis-server with settings that may depend on its place, and waits until it answers. */
export async function startRedisProcess(
  settings: (place: Place) => Readonly<Record<string, string>>,
  { configFile = '', isSentinel = false }: ProcessOptions = {},
): Promise<RedisProcess> {
  const { server } = await findPrograms(redisRecipe);
  const engine = await processEngine('redis', async ({ host, port, folder }) => {
    const place = join(folder, 'data');
    await mkdir(place);
    const file = join(folder, 'redis.conf');
    await appendFile(file, configFile);
    const own = settings({ host, port, folder });
    const values = {
      bind: host,
      port: `${port}`,
      dir: place,
      ...(isSentinel ? {} : { save: '' }),
      ...own,
    };
    const args = Object.entries(values).flatMap(([name, value]) => [`--${name}`, value]);
    return { command: server, args: [file, ...(isSentinel ? ['--sentinel'] : []), ...args] };
  });
  const url = `redis://${engine.host}:${engine.port}`;
  await engine.start();
  const bounds = { timeoutMs: 20_000, isHopeless: () => !engine.isRunning };
  if (isSentinel) await eventually(() => ask(engine, 'PING\r\n', isPong), bounds);
  else noteVersion('redis', await eventually(() => redisRecipe.probe(url), bounds), 'binaries');
  return Object.assign(engine, { url });
}

const isPong = (answer: string): boolean => answer.includes('PONG');
