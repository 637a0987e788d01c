// node --expose-gc c5-heap-process.ts ‹what› ‹number›: prints what it costs, in bytes, as JSON.

import { LRUCache } from 'lru-cache';
import { createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';
import { newProduct, TTL_MS } from './workload.js';

const [what, number] = process.argv.slice(2);
const total = Number(number);

function heapBytes(): number {
  for (let pass = 0; pass < 4; pass += 1) globalThis.gc?.();
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  // Typed arrays stand outside the heap, and are in both of the last two.
  return heapUsed + Math.max(external, arrayBuffers);
}

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What so many entries take, keys and values included. */
async function perEntry(): Promise<void> {
  const before = heapBytes();
  let keep: unknown;
  if (what === 'lru-cache') {
    const lru = new LRUCache<string, object>({ max: total, ttl: TTL_MS });
    for (let i = 0; i < total; i += 1) lru.set(`product:${i}`, newProduct(i));
    keep = lru;
  } else {
    const tiers = [memoryCache({ entriesMax: total })];
    const cache = createCache({ name: 'heap', tiers, ttlMs: TTL_MS });
    for (let i = 0; i < total; i += 1) {
      await cache.set(`product:${i}`, newProduct(i));
      if (i % 1_000 === 0) await pause();
    }
    keep = cache;
  }
  await pause();
  const bytes = (heapBytes() - before) / total;
  console.log(JSON.stringify({ bytes, isKept: keep !== undefined }));
}

/** What is left on the heap while so many different keys pass through a cache of 10,000. */
async function flat(): Promise<void> {
  const tiers = [memoryCache({ entriesMax: 10_000 })];
  const cache = createCache<number>({ name: 'flat', tiers, ttlMs: TTL_MS });
  const samples: number[] = [];
  for (let i = 0; i < total; i += 1) {
    if (cache.peek(`key:${i}`) === undefined) await cache.set(`key:${i}`, i);
    if ((i + 1) % Math.floor(total / 10) !== 0) continue;
    await pause();
    samples.push(heapBytes());
  }
  const { evictionCount } = cache.stats();
  console.log(JSON.stringify({ samples, evictionCount }));
}

await (what === 'flat' ? flat() : perEntry());
process.exit(0);
