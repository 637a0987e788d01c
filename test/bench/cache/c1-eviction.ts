// C1: the hit rate of eviction policies on traces, beside the optimum.

import { LRUCache } from 'lru-cache';
import { type Cache, createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';
import type { Table } from '../lock/report.js';
import { type Bench, type BenchContext, count } from './context.js';
import {
  lru,
  optimalHitCount,
  type Policy,
  type PolicyFactory,
  s3Fifo,
  sieve,
  wTinyLfu,
} from './eviction/policies.js';
import { traces } from './eviction/traces.js';

const CAPACITY = 1_000;
const SEED = 20_261_130;

/** A real cache of strings, asked through its own interface. */
function tricord(capacity: number): Policy {
  const tiers = [memoryCache({ entriesMax: capacity })];
  const cache: Cache<number> = createCache({ name: 'eviction', tiers, ttlMs: 600_000 });
  return (key) => {
    const name = `key:${key}`;
    if (cache.peek(name) !== undefined) return true;
    // The memory tier takes it before the next line runs.
    cache.set(name, key).catch(() => {});
    return false;
  };
}

function lruCache(capacity: number): Policy {
  const cache = new LRUCache<string, number>({ max: capacity, ttl: 600_000 });
  return (key) => {
    const name = `key:${key}`;
    if (cache.get(name) !== undefined) return true;
    cache.set(name, key);
    return false;
  };
}

const POLICIES: Readonly<Record<string, PolicyFactory>> = {
  'tricord memoryCache (S3-FIFO)': tricord,
  'lru-cache 11': lruCache,
  'LRU, simulated': lru,
  'SIEVE, simulated': sieve,
  'S3-FIFO, simulated': s3Fifo({ promoteAt: 1 }),
  'S3-FIFO, simulated, promoted at two hits': s3Fifo(),
  'S3-FIFO, simulated, small queue of 5 %': s3Fifo({ promoteAt: 1, smallPart: 0.05 }),
  'W-TinyLFU, simulated with exact counts': wTinyLfu,
};

async function hitRates(context: BenchContext): Promise<Table> {
  const requests = count(context, 1_000_000, 200_000);
  const all = traces(requests, CAPACITY, SEED);
  const percent = (hits: number): string => ((100 * hits) / requests).toFixed(1);
  const rows: string[][] = [];
  for (const [name, make] of Object.entries(POLICIES)) {
    const row = [name];
    for (const { keys } of all) {
      const policy = make(CAPACITY);
      let hits = 0;
      for (const key of keys) {
        if (policy(key)) hits += 1;
        // What is stored by a promise is stored before the next request.
        else if (make === tricord) await new Promise(setImmediate);
      }
      row.push(percent(hits));
    }
    rows.push(row);
  }
  const optimum = all.map(({ keys }) => percent(optimalHitCount(keys, CAPACITY)));
  return {
    title: 'C1: hit rate of eviction policies, in percent',
    method: `${CAPACITY} entries, ${requests.toLocaleString('en')} requests a trace, seed ${SEED}. Zipf: 100,000 keys; scan: 30 % of the requests are for keys that come once; shift: a Gaussian over about 1,000 keys, whose centre moves on after each 30,000 or 100,000 requests.`,
    columns: ['policy', ...all.map(({ name }) => name)],
    rows: [...rows, ["Belady's optimum", ...optimum]],
    notes: [
      'S3-FIFO is what tricord ships. W-TinyLFU keeps as much of the skewed traces and more of the loop, and more of a hot set that lasts for 100,000 requests; where it lasts for 30,000 it has not yet learnt what became popular. That worst case decided, and that a hit costs S3-FIFO one small count, where W-TinyLFU hashes the key and moves it.',
    ],
  };
}

export const bench: Bench = { id: 'C1', run: async (context) => [await hitRates(context)] };
