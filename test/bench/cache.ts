// What the cache costs over what it stands on, as ratios within one run.
//
//   npx tsx test/bench/cache.ts
//
// Method: the variants of a row run in turn, many short rounds each, so that all see the same
// weather; a row shows the median of the rounds' rates and the ratio to its floor.

import { Redis } from 'ioredis';
import { type Cache, createCache } from '../../src/index.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';
import { startRedis } from '../servers/provider.js';

interface Variant {
  readonly name: string;
  /** Does the work so many times. */
  readonly run: (count: number) => Promise<void> | void;
}

const ROUNDS = 31;
const KEYS = Array.from({ length: 1_000 }, (_, i) => `sku:${i}`);
const PRODUCT = {
  name: 'Espresso machine',
  price: 249.9,
  tags: ['kitchen', 'sale'],
  stock: { berlin: 4, lyon: 11 },
  text: 'x'.repeat(160),
};

const keyAt = (i: number): string => KEYS[i % KEYS.length] as string;

async function row(title: string, count: number, variants: readonly Variant[]): Promise<void> {
  const rates = variants.map((): number[] => []);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [index, { run }] of variants.entries()) {
      const sinceMs = performance.now();
      await run(count);
      // The first rounds warm up the compiler and the connection.
      if (round >= 6) rates[index]?.push((count / (performance.now() - sinceMs)) * 1_000);
    }
  }
  const medians = rates.map((each) => each.sort((a, b) => a - b)[each.length >> 1] ?? 0);
  console.log(`\n${title}`);
  for (const [index, { name }] of variants.entries()) {
    const rate = Math.round(medians[index] ?? 0).toLocaleString('en');
    const ratio = ((medians[index] ?? 0) / (medians[0] ?? 1)).toFixed(2);
    console.log(`  ${name.padEnd(38)} ${rate.padStart(12)} /s   ${ratio}`);
  }
}

/** Runs one asynchronous call after the other, or so many in flight. */
const calls = (inFlight: number, call: (i: number) => Promise<unknown>): Variant['run'] =>
  inFlight === 1
    ? async (count) => {
        for (let i = 0; i < count; i += 1) await call(i);
      }
    : async (count) => {
        for (let i = 0; i < count; i += inFlight) {
          await Promise.all(Array.from({ length: inFlight }, (_, j) => call(i + j)));
        }
      };

async function memoryRows(): Promise<void> {
  const cache = createCache<typeof PRODUCT>({ name: 'l1', tiers: [memoryCache()], ttlMs: 600_000 });
  await cache.setMany(KEYS.map((key) => [key, PRODUCT] as const));
  const map = new Map(KEYS.map((key) => [key, PRODUCT]));
  const bare = async (key: string) => map.get(key);
  const load = () => PRODUCT;
  await row('L1 hit, asynchronous', 100_000, [
    { name: 'bare async Map get', run: calls(1, (i) => bare(keyAt(i))) },
    { name: 'get', run: calls(1, (i) => cache.get(keyAt(i))) },
    { name: 'getOrLoad', run: calls(1, (i) => cache.getOrLoad(keyAt(i), load)) },
  ]);
  let seen = 0;
  const count = (value: unknown): void => {
    if (value !== undefined) seen += 1;
  };
  await row('L1 hit, synchronous', 200_000, [
    {
      name: 'bare Map get',
      run(n) {
        for (let i = 0; i < n; i += 1) count(map.get(keyAt(i)));
      },
    },
    {
      name: 'peek',
      run(n) {
        for (let i = 0; i < n; i += 1) count(cache.peek(keyAt(i)));
      },
    },
  ]);
  if (seen === 0) throw new Error('nothing was read');
  await cache.close();
}

async function redisRows(url: string): Promise<void> {
  for (const enableAutoPipelining of [false, true]) {
    const client = new Redis(url, { enableAutoPipelining });
    const driver = redisCache({ client });
    const cache: Cache<typeof PRODUCT> = createCache({
      name: 'l2',
      tiers: [driver],
      ttlMs: 600_000,
    });
    await cache.setMany(KEYS.map((key) => [key, PRODUCT] as const));
    const text = JSON.stringify(PRODUCT);
    for (const key of KEYS) await client.set(key, text);
    const raw = async (key: string): Promise<unknown> => JSON.parse(String(await client.get(key)));
    const how = enableAutoPipelining ? 'auto-pipelining' : 'plain client';
    for (const inFlight of [1, 64]) {
      await row(`L2 hit, ${inFlight} in flight, ${how}`, inFlight === 1 ? 500 : 6_400, [
        { name: 'raw GET and JSON.parse', run: calls(inFlight, (i) => raw(keyAt(i))) },
        { name: 'get', run: calls(inFlight, (i) => cache.get(keyAt(i))) },
      ]);
    }
    let fresh = 0;
    const load = async () => PRODUCT;
    const naive = async (key: string): Promise<unknown> => {
      const found = await client.get(key);
      if (found !== null) return JSON.parse(found);
      const value = await load();
      await client.set(key, JSON.stringify(value), 'PX', 600_000);
      return value;
    };
    for (const inFlight of [1, 64]) {
      await row(`miss and fill, ${inFlight} in flight, ${how}`, inFlight === 1 ? 200 : 1_280, [
        { name: 'naive GET, load, SET', run: calls(inFlight, () => naive(`naive:${fresh++}`)) },
        {
          name: 'getOrLoad with a lease',
          run: calls(inFlight, () => cache.getOrLoad(`miss:${fresh++}`, load)),
        },
      ]);
    }
    await cache.close();
    client.disconnect();
  }
}

console.log(
  `node ${process.version}, ${ROUNDS - 6} rounds each, value of ${JSON.stringify(PRODUCT).length} bytes`,
);
await memoryRows();
const redis = await startRedis();
console.log(`\nredis ${redis.version}`);
await redisRows(redis.url);
await redis[Symbol.asyncDispose]();
