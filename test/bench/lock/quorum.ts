// An uncontended pair over three independent masters: what outliving one of them costs.

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createLock } from 'tricord';
import { redisQuorumLock } from 'tricord/redis';
import { startRedis } from '../../servers/provider.js';
import { type Bench, type BenchContext, count } from './context.js';
import { interleaved, median, repeated, spread, timed, type Variant } from './measure.js';
import type { RedlockModule } from './peers.js';
import { percent, rate, ratio, type Table, us } from './report.js';

const TTL_MS = 30_000;
const PEERS = ['redlock', '@sesamecare-oss/redlock'];

async function overThree(context: BenchContext): Promise<Table> {
  await using first = await startRedis();
  await using second = await startRedis();
  await using third = await startRedis();
  const clients = [first, second, third].map(({ url }) => new Redis(url));
  const lock = createLock({ driver: redisQuorumLock({ clients }) });
  const pairs = count(context, 100, 20);
  const load = createRequire(join(context.peers, 'package.json'));
  const variants: Variant[] = [
    [
      'tricord, redisQuorumLock',
      () =>
        timed(() =>
          repeated(pairs, async () => {
            const lease = await lock.acquire('quorum', { ttlMs: TTL_MS });
            await lease.release();
          }),
        ),
    ],
    ...PEERS.map((name): Variant => {
      const module = load(name) as RedlockModule;
      const redlock = new (module.Redlock ?? module.default)(clients, {});
      const pair = async (): Promise<void> => {
        await (await redlock.acquire([`quorum:${name}`], TTL_MS)).release();
      };
      return [name, () => timed(() => repeated(pairs, pair))];
    }),
  ];
  const results = await interleaved(count(context, 30, 1), variants);
  await lock.close({ drainMs: 0 });
  for (const client of clients) client.disconnect();
  const best = Math.min(...PEERS.map((name) => median(results.get(name) ?? [])));
  return {
    title: 'An uncontended pair over three independent masters, Redis',
    method: `One process, one connection to each; rounds of ${pairs} pairs, interleaved.`,
    columns: ['lock', 'p50 of a pair', 'pairs', 'of the best peer', 'spread'],
    rows: Array.from(results, ([name, took]) => [
      name,
      us((median(took) / pairs) * 1_000),
      rate((pairs / median(took)) * 1_000),
      ratio(best / median(took)),
      percent(spread(took)),
    ]),
    notes: [
      'redisQuorumLock looks, votes and writes its fencing token back to a majority before the lock is handed out, and compares its deadline after that. The peers vote once and have no token.',
    ],
  };
}

export const bench: Bench = { id: 'quorum', run: async (context) => [await overThree(context)] };
