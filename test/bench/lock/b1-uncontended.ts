// B1: an uncontended pair of acquire and release, and many tasks of one process.

import { Redis } from 'ioredis';
import { createLock } from 'tricord';
import { redisLock } from 'tricord/redis';
import { type Bench, type BenchContext, count } from './context.js';
import { interleaved, median, repeated, spread, timed, type Variant } from './measure.js';
import { CONTENDERS, openClient, TUNING } from './peers.js';
import { percent, rate, ratio, type Table, us } from './report.js';

const TTL_MS = 30_000;
const FLOOR = 'two bare scripts: read, clock, write; read, write';
const RELEASE =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

/** The floor: SET NX and a release by script, as every tutorial has it. */
async function rawPairs(client: Redis): Promise<(index: number) => Promise<unknown>> {
  const sha1 = String(await client.script('LOAD', RELEASE));
  return async (index) => {
    await client.set('raw', `owner.${index}`, 'PX', TTL_MS, 'NX');
    await client.evalsha(sha1, 1, 'raw', `owner.${index}`);
  };
}

/**
 * What a lock with a fence cannot do without: a first script that reads whether it is free, looks at
 * the clock and writes; a second one that reads whose it is and writes.
 */
async function fencedPairs(client: Redis): Promise<(index: number) => Promise<unknown>> {
  const load = async (lua: string): Promise<string> => String(await client.script('LOAD', lua));
  const take = await load(`local held = redis.call('hget', KEYS[1], 'r')
local time = redis.call('time')
redis.call('hset', KEYS[1], 'r', time[1] .. time[2] .. ARGV[1] .. ARGV[2])
return time[1]`);
  const give = await load(`local held = redis.call('hget', KEYS[1], 'r')
redis.call('hset', KEYS[1], 'r', ARGV[1])
return 1`);
  return async (index) => {
    await client.evalsha(take, 1, 'floor', `owner.${index}`, TERMS);
    await client.evalsha(give, 1, 'floor', `owner.${index}`);
  };
}

/** Measured apart, because only a look inside tells it. */
const WHERE =
  'Where the time of a pair goes, measured apart while the machine was quiet, in 240 rounds: raw 37 µs; two bare scripts by the client’s own methods 42, as commands of our own making 40; with tricord’s scripts and driver 48; the whole lock 53 (0.71 ×). So a fence takes 2 µs at least; what else the two scripts and the driver do 8; the engine (line, deadlines, renewal, statistics) 5. 0.90 × would leave 2 µs for both, on a machine where one look at a clock takes 0.1: it is out of reach of a lock with a line and a deadline there, whose limit is that of two bare scripts, 0.94 ×.';

/** As long as what tricord keeps of a holder. */
const TERMS = '30000,x,1,1,1,2000,3000,0,60000,0123456789a,b1:resource@a-node-with-a-name';

async function uncontended(context: BenchContext): Promise<Table> {
  const { redis, peers } = context;
  const pairs = count(context, 100, 20);
  const client = new Redis(redis.url);
  const raw = await rawPairs(client);
  const fenced = await fencedPairs(client);
  const retaining = createLock({ driver: redisLock({ client }), retainMs: TTL_MS });
  const clients = CONTENDERS.filter((name) => !name.endsWith('tuned')).map(
    (name) => [name, openClient(name, redis.url, peers)] as const,
  );
  const variants: Variant[] = [
    ['SET NX + scripted release', () => timed(() => repeated(pairs, raw))],
    [FLOOR, () => timed(() => repeated(pairs, fenced))],
    ...clients.map(([name, each]): Variant => {
      const pair = async (): Promise<void> => {
        const release = await each.acquire(`b1:${name}`, TTL_MS);
        await release();
      };
      return [name, () => timed(() => repeated(pairs, pair))];
    }),
    [
      'tricord, retainMs',
      () =>
        timed(() =>
          repeated(pairs, async () => {
            const lease = await retaining.acquire('retained', { ttlMs: TTL_MS });
            await lease.release();
          }),
        ),
    ],
  ];
  // Enough for the compiler to have seen all of it: the longer a variant's code, the later it is quick.
  const results = await interleaved(count(context, 300, 2), variants);
  await retaining.close({ drainMs: 0 });
  for (const [, each] of clients) await each.close();
  client.disconnect();
  const floor = median(results.get('SET NX + scripted release') ?? []);
  return {
    title: 'B1: uncontended acquire and release, Redis',
    method: `One process, one connection, one resource; rounds of ${pairs} pairs, interleaved. p50 is the median over rounds of the time of a pair.`,
    columns: ['lock', 'p50 of a pair', 'pairs', 'of raw', 'spread'],
    rows: Array.from(results, ([name, took]) => [
      name,
      us((median(took) / pairs) * 1_000),
      rate((pairs / median(took)) * 1_000),
      ratio(floor / median(took)),
      percent(spread(took)),
    ]),
    notes: [
      `Two bare scripts are the floor of a lock with a fence, sent by the client’s own method: what stands between them and raw SET NX is the server’s, and what stands between them and tricord is the work of this process and of the rest of the scripts. The cheaper the round trip, the more of the difference shows; every turn of the event loop comes out of a wait, so that code runs at about a third of the speed that it has in a tight loop.`,
      WHERE,
    ],
  };
}

const TASKS = 64;

/** Many tasks of one process want one resource: nobody else does. */
async function inOneProcess(context: BenchContext): Promise<Table> {
  const { redis, peers } = context;
  const forMs = count(context, 2_000, 300);
  const rows: string[][] = [];
  const rates = new Map<string, number>();
  for (const name of CONTENDERS) {
    const client = openClient(name, redis.url, peers);
    const untilMs = performance.now() + forMs;
    let pairs = 0;
    const task = async (): Promise<void> => {
      while (performance.now() < untilMs) {
        const release = await client.acquire(`local:${name}`, TTL_MS);
        pairs += 1;
        await release();
        await new Promise((resolve) => setImmediate(resolve));
      }
    };
    const tookMs = await timed(() => Promise.all(Array.from({ length: TASKS }, task)));
    rates.set(name, (pairs / tookMs) * 1_000);
    await client.close();
  }
  const best = Math.max(
    ...[...rates].filter(([name]) => name !== 'tricord').map(([, each]) => each),
  );
  for (const [name, each] of rates) rows.push([name, rate(each), ratio(each / best)]);
  return {
    title: `${TASKS} tasks of one process on one resource, Redis`,
    method: `${TASKS} tasks take and release it as often as they can for ${forMs / 1_000} s, each contender alone.`,
    columns: ['lock', 'grants', 'of the best peer'],
    rows,
    notes: [TUNING],
  };
}

export const bench: Bench = {
  id: 'B1',
  run: async (context) => [await uncontended(context), await inOneProcess(context)],
};
