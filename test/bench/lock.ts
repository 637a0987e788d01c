// npm run bench:lock
//
// Measures the built package, as users run it: what tsx makes of the sources is slower by half.
//
// 1. Uncontended acquire and release on Redis, through createLock and through the driver alone,
//    against SET NX PX and a scripted release on the same connection.
// 2. The hand-off from a holder to one waiter of another client, against a bare PUBLISH.
// Variants are interleaved in small rounds, so that a busy machine is unkind to all of them alike;
// ratios are of medians over rounds. The server is started here; TRICORD_BENCH_ROUNDS sets how long.

import { Redis } from 'ioredis';
import { createLock, lockId, systemClock, systemRandom } from 'tricord';
import { redisLock } from 'tricord/redis';
import type { GrantRequest, LockNode } from '../../src/lock/driver.js';
import { startRedis } from '../servers/provider.js';

const ROUNDS = Number(process.env.TRICORD_BENCH_ROUNDS ?? 60);
const PAIRS_A_ROUND = 100;
const HANDOFFS_A_ROUND = 10;
const TTL_MS = 30_000;
const RELEASE =
  "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

const quantile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? Number.NaN;
const median = (values: readonly number[]): number => quantile(values, 0.5);

async function timed(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await work();
  return performance.now() - startedMs;
}

async function repeated(times: number, work: (index: number) => Promise<unknown>): Promise<void> {
  for (let index = 0; index < times; index += 1) await work(index);
}

/** Runs the variants in turn, and answers the microseconds a pair of each round. */
async function interleaved(
  variants: Readonly<Record<string, (index: number) => Promise<unknown>>>,
): Promise<Record<string, number[]>> {
  const results: Record<string, number[]> = {};
  for (const [name, pair] of Object.entries(variants)) {
    await repeated(PAIRS_A_ROUND, pair);
    results[name] = [];
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const [name, pair] of Object.entries(variants)) {
      const tookMs = await timed(() => repeated(PAIRS_A_ROUND, pair));
      results[name]?.push((tookMs / PAIRS_A_ROUND) * 1_000);
    }
  }
  return results;
}

async function uncontended(url: string): Promise<void> {
  const client = new Redis(url);
  const lock = createLock({ driver: redisLock({ client }) });
  const node = benchNode();
  const backend = redisLock({ client }).open(node);
  const { signal } = new AbortController();
  const request: GrantRequest = {
    resource: 'driver',
    owner: lockId('driver', 'bench'),
    mode: 'exclusive',
    permits: 1,
    capacity: 1,
    ttlMs: TTL_MS,
    tokens: 1,
    wait: true,
    signal,
  };
  const sha1 = String(await client.script('LOAD', RELEASE));
  const noop = String(await client.script('LOAD', "return 'R'"));
  const results = await interleaved({
    raw: async (index) => {
      await client.set('raw', `owner.${index}`, 'PX', TTL_MS, 'NX');
      await client.evalsha(sha1, 1, 'raw', `owner.${index}`);
    },
    'two empty scripts': async (index) => {
      await client.evalsha(noop, 1, 'raw', `owner.${index}`);
      await client.evalsha(noop, 1, 'raw', `owner.${index}`);
    },
    driver: async () => {
      const grant = await backend.acquire(request);
      if (grant !== undefined) await backend.release(grant);
    },
    lock: async () => {
      const lease = await lock.acquire('engine', { ttlMs: TTL_MS });
      await lease.release();
    },
  });
  const raw = median(results.raw ?? []);
  console.log(`uncontended acquire + release, ${ROUNDS} rounds of ${PAIRS_A_ROUND} pairs`);
  for (const [name, values] of Object.entries(results)) {
    const us = median(values);
    const perSecond = Math.round(1e6 / us);
    console.log(
      `  ${name.padEnd(18)} ${us.toFixed(1).padStart(7)} µs a pair ${String(perSecond).padStart(7)}/s   ratio to raw ${(raw / us).toFixed(3)}`,
    );
  }
  await lock.close();
  await backend.close();
  client.disconnect();
}

/** A node as createLock makes one. */
function benchNode(): LockNode {
  let grants = 0;
  const incarnation = systemRandom.token(11);
  return {
    nodeId: 'bench',
    incarnation,
    clock: systemClock,
    random: systemRandom,
    nextGrantId() {
      grants += 1;
      return `${incarnation}.${grants.toString(36)}`;
    },
  };
}

async function handOff(url: string): Promise<void> {
  const clients = [new Redis(url), new Redis(url), new Redis(url)] as const;
  const [one, two] = [clients[0], clients[1]].map((client) =>
    createLock({ driver: redisLock({ client }) }),
  );
  if (one === undefined || two === undefined) throw new Error('two locks are needed');
  let heard = (): void => {};
  clients[2].on('message', () => heard());
  await clients[2].subscribe('bench');
  const took = { 'hand-off': [] as number[], 'bare publish': [] as number[] };

  const handOnce = async (): Promise<void> => {
    const held = await one.acquire('handed', { ttlMs: TTL_MS });
    const waiting = two.acquire('handed', { ttlMs: TTL_MS });
    while ((await one.inspect('handed')).waiters.length === 0);
    let grantedMs = 0;
    const granted = waiting.then((lease) => {
      grantedMs = performance.now();
      return lease;
    });
    const releasedMs = performance.now();
    await Promise.all([held.release(), granted]);
    took['hand-off'].push(grantedMs - releasedMs);
    await (await granted).release();
  };
  const publishOnce = async (): Promise<void> => {
    let heardMs = 0;
    const arrival = new Promise<void>((resolve) => {
      heard = () => {
        heardMs = performance.now();
        resolve();
      };
    });
    const sentMs = performance.now();
    await Promise.all([clients[0].publish('bench', 'x'), arrival]);
    took['bare publish'].push(heardMs - sentMs);
  };
  await repeated(HANDOFFS_A_ROUND, async () => {
    await handOnce();
    await publishOnce();
  });
  took['hand-off'] = [];
  took['bare publish'] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await repeated(HANDOFFS_A_ROUND, handOnce);
    await repeated(HANDOFFS_A_ROUND, publishOnce);
  }
  const base = median(took['bare publish']);
  console.log(`hand-off to one waiter, ${ROUNDS * HANDOFFS_A_ROUND} times`);
  for (const [name, values] of Object.entries(took)) {
    console.log(
      `  ${name.padEnd(18)} p50 ${median(values).toFixed(3)} ms   p99 ${quantile(values, 0.99).toFixed(3)} ms   p50 ratio to publish ${(median(values) / base).toFixed(2)}`,
    );
  }
  await Promise.all([one.close(), two.close()]);
  for (const client of clients) client.disconnect();
}

await using server = await startRedis();
console.log(`redis ${server.version}, node ${process.version}`);
await uncontended(server.url);
await handOff(server.url);
