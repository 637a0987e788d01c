// A process that waits a million times: node --expose-gc b8-heap-process.ts ‹url› ‹waits›
//
// Two nodes with tasks each want one resource: most waits end by a hand-over inside a node, the rest
// by one between nodes; every tenth is given up.

import { Redis } from 'ioredis';
import { createLock } from 'tricord';
import { redisLock } from 'tricord/redis';

const [url = '', waits = ''] = process.argv.slice(2);
const waitCount = Number(waits);
const TASKS = 32;
const SAMPLES = 10;

const clients = [new Redis(url), new Redis(url)];
const locks = clients.map((client) =>
  createLock({ driver: redisLock({ client }), waitMs: 60_000 }),
);
const heapsMb: number[] = [];
let done = 0;

async function task(lock: (typeof locks)[number]): Promise<void> {
  while (done < waitCount) {
    done += 1;
    if (done % (waitCount / SAMPLES) === 0) sample();
    if (done % 10 === 0) {
      const patience = new AbortController();
      const asked = lock.acquire('b8', { signal: patience.signal });
      setImmediate(() => patience.abort(new Error('enough')));
      await asked.then(
        (lease) => lease.release(),
        () => {},
      );
    } else {
      const lease = await lock.acquire('b8');
      await lease.release();
    }
  }
}

function sample(): void {
  globalThis.gc?.();
  heapsMb.push(process.memoryUsage().heapUsed / 2 ** 20);
}

const startedMs = performance.now();
await Promise.all(locks.flatMap((lock) => Array.from({ length: TASKS }, () => task(lock))));
const tookMs = performance.now() - startedMs;
const handOffCount = locks.reduce((sum, lock) => sum + lock.stats().handOffCount, 0);
await Promise.all(locks.map((lock) => lock.close()));
for (const client of clients) client.disconnect();
process.send?.({ heapsMb, tookMs, handOffCount });
process.disconnect?.();
