// node --import tsx node-process.ts ‹redis url› ‹name›: one node of a cache in memory and Redis, told
// by its parent what to do. All processes of a machine have the same monotonic clock.

import { Redis } from 'ioredis';
import { createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';
import { redisCache } from 'tricord/redis';

/** What the parent asks for. */
export type ToNode =
  | { readonly what: 'stampede'; readonly key: string; readonly callers: number }
  | { readonly what: 'watch'; readonly key: string; readonly from: number; readonly until: number }
  | { readonly what: 'close' };

/** What a node answers; times in nanoseconds of the monotonic clock. */
export interface FromNode {
  readonly what: 'open' | 'stampede' | 'watching' | 'seen';
  readonly loadCount?: number;
  readonly tookMs?: number;
  readonly seenAtNs?: bigint;
}

const LOAD_MS = 20;
/** A watcher gives up after so long. */
const WATCH_MS_MAX = 5_000;

const [url = '', name = ''] = process.argv.slice(2);
const client = new Redis(url);
const cache = createCache<number>({
  name,
  tiers: [memoryCache({ entriesMax: 10_000 }), redisCache({ client })],
  ttlMs: 600_000,
});
const tell = (message: FromNode): void => {
  process.send?.(message);
};

async function stampede(key: string, callers: number): Promise<void> {
  let loadCount = 0;
  const load = async (): Promise<number> => {
    loadCount += 1;
    await new Promise((resolve) => setTimeout(resolve, LOAD_MS));
    return 1;
  };
  const sinceMs = performance.now();
  await Promise.all(Array.from({ length: callers }, () => cache.getOrLoad(key, load)));
  tell({ what: 'stampede', loadCount, tookMs: performance.now() - sinceMs });
}

/** Gets a value into memory, then reads it again and again until it is gone or new. */
async function watch(key: string, from: number, until: number): Promise<void> {
  for (let turn = 0; turn < 1_000 && cache.peek(key) !== from; turn += 1) {
    await cache.getOrLoad(key, () => from);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  tell({ what: 'watching' });
  const sinceMs = performance.now();
  for (;;) {
    const seen = cache.peek(key);
    if (seen === undefined || seen === until) break;
    if (performance.now() - sinceMs > WATCH_MS_MAX) return tell({ what: 'seen' });
    await new Promise(setImmediate);
  }
  tell({ what: 'seen', seenAtNs: process.hrtime.bigint() });
}

process.on('disconnect', () => process.exit(0));
process.on('message', (message: ToNode) => {
  if (message.what === 'stampede') stampede(message.key, message.callers).catch(fail);
  else if (message.what === 'watch') {
    watch(message.key, message.from, message.until).catch(fail);
  } else process.disconnect();
});

function fail(error: unknown): void {
  console.error(error);
  process.exit(1);
}

// The first read opens the connections, which no measurement is to pay for.
await cache.getOrLoad('open', () => 0);
tell({ what: 'open' });
