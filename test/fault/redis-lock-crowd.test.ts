// Many waiters, many leases, and how many commands they take.

import type { Redis } from 'ioredis';
import { type Lease, lockId, systemClock, systemRandom } from 'tricord';
import { redisLock } from 'tricord/redis';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { GrantRequest } from '../../src/lock/driver.js';
import { lockNode } from '../../src/lock/node.js';
import type { ServerHandle } from '../servers/handle.js';
import { startRedis } from '../servers/provider.js';
import { measured } from '../servers/shared.js';
import { elapsedSince, openLock, until } from './redis-lock-stage.js';

/** How many scripts the server has run. */
async function scriptCount(client: Redis): Promise<number> {
  const info = await client.info('commandstats');
  const counts = [...info.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)];
  return counts.reduce((sum, [, calls]) => sum + Number(calls), 0);
}

/** A crowd in one process keeps it busy for seconds: that is no fault of the server's. */
const PATIENT = { replyTimeoutMs: 60_000 } as const;

describe('a crowd [redis]', () => {
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  test('a thousand nodes wait for one resource, and each gets its turn in the order of arrival', async () => {
    const count = 1_000;
    await using admin = openLock(redis.url, { driver: PATIENT });
    const driver = redisLock({ client: admin.client, ...PATIENT, heartbeatMs: 10_000 });
    const backends = Array.from({ length: count }, (_, index) =>
      driver.open(lockNode({ nodeId: `n${index}`, clock: systemClock, random: systemRandom })),
    );
    const { signal } = new AbortController();
    const request = (index: number): GrantRequest => ({
      ...{ resource: 'crowd', owner: lockId('crowd', `n${index}`), mode: 'exclusive', permits: 1 },
      ...{ capacity: 1, ttlMs: 120_000, tokens: 1, wait: true, signal },
    });
    const held = await admin.lock.acquire('crowd', { ttlMs: 120_000 });
    const served: number[] = [];
    const turns = backends.map(async (backend, index) => {
      const grant = await backend.acquire(request(index));
      served.push(index);
      if (grant !== undefined) await backend.release(grant);
    });
    await until(
      'all of them in line',
      async () => {
        return (await admin.lock.inspect('crowd')).waiters.length === count;
      },
      60_000,
    );
    const order = (await admin.lock.inspect('crowd')).waiters.map(({ owner }) => owner);
    const startedMs = performance.now();
    await held.release();
    await Promise.all(turns);
    const tookMs = elapsedSince(startedMs);
    measured(`1,000 waiters were served in ${tookMs.toFixed(0)} ms`);
    expect(served.map((index) => lockId('crowd', `n${index}`))).toEqual(order);
    const { holders, waiters } = await admin.lock.inspect('crowd');
    expect([...holders, ...waiters]).toEqual([]);
    for (const backend of backends) await backend.close();
  });

  test('a grant takes at most four commands, however many nodes contend', async () => {
    await using admin = openLock(redis.url);
    for (const nodeCount of [2, 16]) {
      const nodes = Array.from({ length: nodeCount }, () =>
        openLock(redis.url, { driver: { heartbeatMs: 10_000 } }),
      );
      for (const { lock } of nodes) await (await lock.acquire('warm')).release();
      const roundCount = Math.ceil(64 / nodeCount);
      const before = await scriptCount(admin.client);
      await Promise.all(
        nodes.map(async ({ lock }) => {
          for (let round = 0; round < roundCount; round += 1) {
            // Longer than a grant that is pushed lasts, so that each is renewed.
            const lease = await lock.acquire(`contended-${nodeCount}`, { ttlMs: 60_000 });
            await new Promise((resolve) => setTimeout(resolve, 1));
            await lease.release();
          }
        }),
      );
      const perGrant = ((await scriptCount(admin.client)) - before) / (roundCount * nodeCount);
      measured(`commands a grant, ${nodeCount} nodes: ${perGrant.toFixed(2)}`);
      expect(perGrant).toBeLessThanOrEqual(4);
      for (const node of nodes) await node[Symbol.asyncDispose]();
    }
  });

  test('ten thousand held leases are renewed a hundred a command, and all stay held', async () => {
    const count = 10_000;
    const ttlMs = 15_000;
    await using one = openLock(redis.url, { driver: PATIENT });
    await using admin = openLock(redis.url);
    await (await one.lock.acquire('warm')).release();
    const leases: Lease[] = [];
    while (leases.length < count) {
      const names = Array.from({ length: 500 }, (_, index) => `held-${leases.length + index}`);
      const waitMs = 60_000;
      const asked = names.map((resource) => one.lock.acquire(resource, { ttlMs, waitMs }));
      leases.push(...(await Promise.all(asked)));
    }
    const before = await scriptCount(admin.client);
    const startedMs = performance.now();
    let slowestMs = 0;
    while (elapsedSince(startedMs) < ttlMs + 3_000) {
      const sentMs = performance.now();
      await admin.client.ping();
      slowestMs = Math.max(slowestMs, elapsedSince(sentMs));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const commands = (await scriptCount(admin.client)) - before;
    measured(
      `10,000 leases for ${ttlMs + 3_000} ms: ${commands} commands; another client waited for ${slowestMs.toFixed(0)} ms at most`,
    );
    expect(leases.filter(({ isHeld }) => isHeld).length).toBe(count);
    // Four periods of a third of the TTL, a hundred a command, and rests of batches.
    expect(commands).toBeLessThan(((4 * count) / 100) * 3);
    await Promise.all(leases.map((lease) => lease.release()));
  });
});
