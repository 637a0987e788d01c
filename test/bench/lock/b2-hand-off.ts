// B2: from one holder's release to the grant of the one that waits, after holds of 20 and 400 ms.

import { Redis } from 'ioredis';
import { type Bench, type BenchContext, count } from './context.js';
import { median, quantile, repeated, sleep } from './measure.js';
import { type Client, CONTENDERS, openClient, TUNING } from './peers.js';
import { ms, ratio, type Table } from './report.js';

const TTL_MS = 30_000;
const HOLDS_MS = [20, 400];
const TIMES = new Map([
  [20, 30],
  [400, 8],
]);
const FLOOR = 'bare PUBLISH';

async function handOver(one: Client, two: Client, resource: string, holdMs: number) {
  const release = await one.acquire(resource, TTL_MS);
  let grantedMs = 0;
  const waiting = two.acquire(resource, TTL_MS).then((held) => {
    grantedMs = performance.now();
    return held;
  });
  await sleep(holdMs);
  const releasedMs = performance.now();
  const released = release();
  const [next] = await Promise.all([waiting, released]);
  await next();
  return grantedMs - releasedMs;
}

/** A publish on one connection, heard on another: what no hand-off can be faster than. */
async function publisher(url: string) {
  const [sender, listener] = [new Redis(url), new Redis(url)] as const;
  let heard = (): void => {};
  listener.on('message', () => heard());
  await listener.subscribe('floor');
  return {
    async publish(): Promise<number> {
      const arrived = new Promise<number>((resolve) => {
        heard = () => resolve(performance.now());
      });
      const sentMs = performance.now();
      await sender.publish('floor', 'x');
      return (await arrived) - sentMs;
    },
    close() {
      sender.disconnect();
      listener.disconnect();
    },
  };
}

async function handOff(context: BenchContext): Promise<Table> {
  const { redis, peers } = context;
  const floor = await publisher(redis.url);
  const pairs = CONTENDERS.map((name) => {
    const open = () => openClient(name, redis.url, peers);
    return { name, one: open(), two: open(), took: new Map<number, number[]>() };
  });
  const published = new Map<number, number[]>();
  for (const holdMs of HOLDS_MS) {
    published.set(holdMs, []);
    for (const pair of pairs) pair.took.set(holdMs, []);
    await repeated(count(context, TIMES.get(holdMs) ?? 1, 1) + 1, async (index) => {
      // Together, in another order each time: while one holds, so do the others.
      const took = await Promise.all(
        pairs.map(({ one, two, name }, number) =>
          sleep(7 * ((index + number) % pairs.length)).then(() =>
            handOver(one, two, `b2:${name}`, holdMs),
          ),
        ),
      );
      for (const [number, pair] of pairs.entries()) {
        if (index > 0) pair.took.get(holdMs)?.push(took[number] ?? Number.NaN);
      }
      // After as long a silence: code and connections that rested are slower.
      await repeated(2, async () => {
        await sleep(holdMs);
        published.get(holdMs)?.push(await floor.publish());
      });
    });
  }
  floor.close();
  for (const { one, two } of pairs) await Promise.all([one.close(), two.close()]);
  const cells = (took: ReadonlyMap<number, number[]>): string[] =>
    HOLDS_MS.flatMap((holdMs) => {
      const values = took.get(holdMs) ?? [];
      return [ms(median(values)), ms(quantile(values, 0.99))];
    });
  const rows = pairs.map(({ name, took }) => [
    name,
    ...cells(took),
    ...HOLDS_MS.map((holdMs) =>
      ratio(median(took.get(holdMs) ?? []) / median(published.get(holdMs) ?? [])),
    ),
  ]);
  return {
    title: 'B2: hand-off to one waiter, Redis',
    method:
      'From the call of release to the grant, two clients on connections of their own in one process; the waiter asks when the hold begins. The bare PUBLISH comes after a silence of the same length.',
    columns: ['lock', 'p50, 20 ms held', 'p99', 'p50, 400 ms held', 'p99', 'of a publish', 'and'],
    rows: [[FLOOR, ...cells(published), ratio(1), ratio(1)], ...rows],
    notes: [TUNING],
  };
}

export const bench: Bench = { id: 'B2', run: async (context) => [await handOff(context)] };
