// C4: Memcached, beside memjs.

import { createCache } from 'tricord';
import { memcachedCache } from 'tricord/memcached';
import { startServer } from '../../servers/provider.js';
import { interleaved } from '../lock/measure.js';
import type { Table } from '../lock/report.js';
import { type Bench, type BenchContext, count } from './context.js';
import { installPeers, openMemjs } from './peers.js';
import {
  calls,
  KEYS,
  keyAt,
  newProduct,
  PRODUCT,
  type Product,
  ratedRows,
  TTL_MS,
  variant,
} from './workload.js';

/** More keys than a cache remembers texts of, so that none is known again when its turn comes. */
const OTHERS_COUNT = 8_000;

async function hits(context: BenchContext): Promise<Table> {
  await using server = await startServer('memcached');
  await using peers = await installPeers();
  const memjs = openMemjs(peers.folder, server.address);
  const tiers = [memcachedCache({ servers: server.address })];
  const cache = createCache<Product>({ name: 'c4', tiers, ttlMs: TTL_MS });
  await cache.setMany(KEYS.map((key) => [key, PRODUCT] as const));
  for (const key of KEYS) await memjs.set(key, JSON.stringify(PRODUCT));
  const othersCount = count(context, OTHERS_COUNT, 400);
  for (let from = 0; from < othersCount; from += 400) {
    const some = Array.from({ length: 400 }, (_, i) => from + i);
    await cache.setMany(some.map((i) => [`other:${i}`, newProduct(i)] as const));
  }
  let turn = 0;
  const nextOther = (): string => {
    turn += 1;
    return `other:${turn % othersCount}`;
  };
  const raw = async (key: string): Promise<unknown> => JSON.parse(String(await memjs.get(key)));
  const rows: string[][] = [];
  for (const inFlight of [1, 64]) {
    const times = count(context, inFlight === 1 ? 400 : 6_400, 128);
    const results = await interleaved(count(context, 25, 2), [
      variant(
        'memjs get and JSON.parse',
        calls(times, inFlight, (i) => raw(keyAt(i))),
      ),
      variant(
        'tricord get',
        calls(times, inFlight, (i) => cache.get(keyAt(i))),
      ),
      variant(
        'tricord get, each text a new one',
        calls(times, inFlight, () => cache.get(nextOther())),
      ),
    ]);
    rows.push(...ratedRows(`${inFlight} in flight`, times, results));
  }
  await cache.close();
  memjs.close();
  return {
    title: 'C4: a hit in Memcached',
    method: `memcached ${server.version}, one connection; memjs 1.3.2 is the npm client that is used most.`,
    columns: ['', 'call', 'rate', 'of memjs'],
    rows,
    notes: [
      'tricord does not decode a text again that is the same as last time for its key: memjs with JSON.parse parses each. The last row goes through 8,000 keys with a value each, more than are remembered, so that each text is decoded.',
    ],
  };
}

export const bench: Bench = { id: 'C4', run: async (context) => [await hits(context)] };
