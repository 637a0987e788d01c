// C3: Redis: hits, misses with a lease, and batches.

import { Redis } from 'ioredis';
import { createCache } from 'tricord';
import { redisCache } from 'tricord/redis';
import { startRedis } from '../../servers/provider.js';
import { interleaved } from '../lock/measure.js';
import type { Table } from '../lock/report.js';
import { type Bench, type BenchContext, count } from './context.js';
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

const COLUMNS = ['', 'call', 'rate', 'of raw'];

function open(url: string, enableAutoPipelining: boolean) {
  const client = new Redis(url, { enableAutoPipelining });
  const cache = createCache<Product>({
    ...{ name: 'c3', ttlMs: TTL_MS },
    tiers: [redisCache({ client })],
  });
  return {
    client,
    cache,
    how: enableAutoPipelining ? 'auto-pipelining' : 'plain client',
  };
}

async function hits(context: BenchContext, url: string): Promise<Table> {
  const rows: string[][] = [];
  for (const isPipelined of [false, true]) {
    const { client, cache, how } = open(url, isPipelined);
    await cache.setMany(KEYS.map((key) => [key, PRODUCT] as const));
    for (const key of KEYS) await client.set(key, JSON.stringify(PRODUCT));
    const raw = async (key: string): Promise<unknown> => JSON.parse(String(await client.get(key)));
    const load = (): Product => PRODUCT;
    for (const inFlight of [1, 64]) {
      const times = count(context, inFlight === 1 ? 400 : 6_400, 128);
      const results = await interleaved(count(context, 25, 2), [
        variant(
          'GET and JSON.parse',
          calls(times, inFlight, (i) => raw(keyAt(i))),
        ),
        variant(
          'tricord get',
          calls(times, inFlight, (i) => cache.get(keyAt(i))),
        ),
        variant(
          'tricord getOrLoad',
          calls(times, inFlight, (i) => cache.getOrLoad(keyAt(i), load)),
        ),
      ]);
      rows.push(...ratedRows(`${inFlight} in flight, ${how}`, times, results));
    }
    await cache.close();
    client.disconnect();
  }
  return {
    title: 'C3: a hit in Redis',
    method: `The same 1,000 keys, no memory before Redis; ioredis 6.0.0. Raw: \`JSON.parse(await client.get(key))\`.`,
    columns: COLUMNS,
    rows,
    notes: [
      'tricord reads the keys of one turn of the event loop with one MGET, whatever the client does, and does not decode a text again that it decoded last time for that key: raw parses each.',
    ],
  };
}

const ACQUIRE = `local value = redis.call('get', KEYS[1])
if value then return value end
return redis.call('set', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0`;
const FILL = `if redis.call('get', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'PX', ARGV[3])
return redis.call('del', KEYS[2])`;

interface LeastClient {
  leaseAcquire(key: string, lease: string, token: string, leaseMs: number): Promise<unknown>;
  leaseFill(
    key: string,
    lease: string,
    token: string,
    value: string,
    ttlMs: number,
  ): Promise<unknown>;
}

/** The commands of the floor, sent by their hash. */
function leastClient(client: Redis): LeastClient {
  client.defineCommand('leaseAcquire', { numberOfKeys: 2, lua: ACQUIRE });
  client.defineCommand('leaseFill', { numberOfKeys: 2, lua: FILL });
  return client as unknown as LeastClient;
}

/** A floor: what no miss with a lease can do without. */
async function leastLease(client: LeastClient, key: string, load: () => Promise<Product>) {
  const token = `token of ${key}`;
  await client.leaseAcquire(key, `${key}:l`, token, 3_000);
  const value = await load();
  await client.leaseFill(key, `${key}:l`, token, JSON.stringify(value), TTL_MS);
  return value;
}

async function misses(context: BenchContext, url: string): Promise<Table> {
  const rows: string[][] = [];
  let fresh = 0;
  for (const isPipelined of [false, true]) {
    const { client, cache, how } = open(url, isPipelined);
    const least = leastClient(client);
    const load = async (): Promise<Product> => PRODUCT;
    const naive = async (key: string): Promise<unknown> => {
      const found = await client.get(key);
      if (found !== null) return JSON.parse(found);
      const value = await load();
      await client.set(key, JSON.stringify(value), 'PX', TTL_MS);
      return value;
    };
    const next = (kind: string): string => {
      fresh += 1;
      return `${kind}:${fresh}`;
    };
    // The rounds are few: none of them may pay for the compiler.
    for (const inFlight of [1, 64]) {
      const warm = count(context, 6_400, 64);
      await calls(warm, inFlight, () => naive(next('naive')))();
      await calls(warm, inFlight, () => cache.getOrLoad(next('miss'), load))();
    }
    for (const inFlight of [1, 64]) {
      const times = count(context, inFlight === 1 ? 150 : 1_280, 64);
      const results = await interleaved(count(context, 25, 2), [
        variant(
          'GET, load, SET',
          calls(times, inFlight, () => naive(next('naive'))),
        ),
        variant(
          'the least with a lease: two scripts',
          calls(times, inFlight, () => leastLease(least, next('least'), load)),
        ),
        variant(
          'tricord getOrLoad, with a lease',
          calls(times, inFlight, () => cache.getOrLoad(next('miss'), load)),
        ),
      ]);
      rows.push(...ratedRows(`${inFlight} in flight, ${how}`, times, results));
    }
    await cache.close();
    client.disconnect();
  }
  return {
    title: 'A miss in Redis',
    method:
      'Keys that nobody asked for before; the loader answers at once, so that nothing but the cache is measured. After 6,400 misses of each.',
    columns: COLUMNS,
    rows,
    notes: [
      'The floor is a miss that does with two scripts the least that a lease needs, with nothing around it: no single flight, no bounds, no copy, no check of generations.',
      'The naive miss is two commands and no protection. tricord’s is three: it looks, wins the lease, and fills with it, and copies, freezes and counts the value. After eight misses in a row, as here, it expects another one and does not look before.',
    ],
  };
}

async function batches(context: BenchContext, url: string): Promise<Table> {
  const { client, cache } = open(url, false);
  await cache.setMany(KEYS.map((key) => [key, PRODUCT] as const));
  for (const key of KEYS) await client.set(key, JSON.stringify(PRODUCT));
  const keysFrom = (i: number): string[] =>
    Array.from({ length: 100 }, (_, j) => keyAt(i * 100 + j));
  const raw = async (keys: string[]): Promise<unknown> =>
    (await client.mget(keys)).map((text) => JSON.parse(String(text)));
  const times = count(context, 100, 10);
  const results = await interleaved(count(context, 25, 2), [
    variant(
      'MGET and JSON.parse',
      calls(times, 1, (i) => raw(keysFrom(i))),
    ),
    variant(
      'tricord getMany',
      calls(times, 1, (i) => cache.getMany(keysFrom(i))),
    ),
  ]);
  await cache.close();
  client.disconnect();
  return {
    title: 'A batch of 100 from Redis',
    method: 'Batches one after the other, all of them hits.',
    columns: COLUMNS,
    rows: ratedRows('100 keys', times, results),
  };
}

export const bench: Bench = {
  id: 'C3',
  async run(context) {
    await using redis = await startRedis();
    const { url } = redis;
    return [await hits(context, url), await misses(context, url), await batches(context, url)];
  },
};
