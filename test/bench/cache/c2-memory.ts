// C2: a hit in the process's memory.

import { LRUCache } from 'lru-cache';
import { createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';
import { interleaved } from '../lock/measure.js';
import type { Table } from '../lock/report.js';
import { type Bench, type BenchContext, count } from './context.js';
import { installPeers, memoryPeers } from './peers.js';
import {
  calls,
  KEYS,
  keyAt,
  PRODUCT,
  type Product,
  ratedRows,
  TTL_MS,
  variant,
} from './workload.js';

const ROUNDS = 41;

async function asynchronous(context: BenchContext): Promise<Table> {
  const times = count(context, 50_000, 5_000);
  const cache = createCache<Product>({ name: 'c2', tiers: [memoryCache()], ttlMs: TTL_MS });
  await cache.setMany(KEYS.map((key) => [key, PRODUCT] as const));
  const map = new Map(KEYS.map((key) => [key, PRODUCT]));
  const bare = async (key: string) => map.get(key);
  const load = () => PRODUCT;
  await using peers = await installPeers();
  const others = await memoryPeers(peers.folder);
  for (const { set } of others) for (const key of KEYS) await set(key, PRODUCT);
  const results = await interleaved(count(context, ROUNDS, 3), [
    variant(
      'bare async Map get',
      calls(times, 1, (i) => bare(keyAt(i))),
    ),
    variant(
      'tricord get',
      calls(times, 1, (i) => cache.get(keyAt(i))),
    ),
    variant(
      'tricord getOrLoad',
      calls(times, 1, (i) => cache.getOrLoad(keyAt(i), load)),
    ),
  ]);
  const few = Math.floor(times / 25);
  const slow = await interleaved(count(context, 15, 2), [
    variant(
      'bare async Map get',
      calls(few, 1, (i) => bare(keyAt(i))),
    ),
    ...others.map(({ name, get }) =>
      variant(
        name,
        calls(few, 1, (i) => get(keyAt(i))),
      ),
    ),
  ]);
  await cache.close();
  for (const { close } of others) await close();
  const rows = [...ratedRows('get', times, results), ...ratedRows('others', few, slow)];
  return {
    title: 'C2: a hit in memory, asynchronous',
    method: `One call after the other over 1,000 keys with TTL, a value of ${JSON.stringify(PRODUCT).length} bytes; rounds of ${times} calls (${few} for the other libraries), interleaved. tricord hands out frozen values.`,
    columns: ['', 'call', 'rate', 'of the bare Map'],
    rows,
    notes: [`Others: ${peers.versions}; memory alone.`],
  };
}

async function synchronous(context: BenchContext): Promise<Table> {
  const times = count(context, 100_000, 5_000);
  const cache = createCache<Product>({ name: 'c2s', tiers: [memoryCache()], ttlMs: TTL_MS });
  await cache.setMany(KEYS.map((key) => [key, PRODUCT] as const));
  const lru = new LRUCache<string, Product>({ max: 10_000, ttl: TTL_MS });
  for (const key of KEYS) lru.set(key, PRODUCT);
  let seen = 0;
  const loop = (get: (key: string) => unknown) => async (): Promise<number> => {
    const sinceMs = performance.now();
    for (let i = 0; i < times; i += 1) if (get(keyAt(i)) !== undefined) seen += 1;
    return performance.now() - sinceMs;
  };
  const results = await interleaved(count(context, ROUNDS * 2, 3), [
    ['lru-cache get, with TTL', loop((key) => lru.get(key))],
    ['tricord peek', loop((key) => cache.peek(key))],
  ]);
  if (seen === 0) throw new Error('nothing was read');
  await cache.close();
  return {
    title: 'A hit in memory, synchronous',
    method: `The same keys and values; rounds of ${times} calls, interleaved.`,
    columns: ['', 'call', 'rate', 'of lru-cache'],
    rows: ratedRows('peek', times, results),
  };
}

export const bench: Bench = {
  id: 'C2',
  run: async (context) => [await asynchronous(context), await synchronous(context)],
};
