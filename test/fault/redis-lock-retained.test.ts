// A lock that a node retains without using it: the first who asks gets it at once from a node that
// lives, and within the TTL from one that is dead or frozen.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ServerHandle } from '../servers/handle.js';
import { startRedis } from '../servers/provider.js';
import { measured } from '../servers/shared.js';
import { elapsedSince, openLock, startRetainer, until } from './redis-lock-stage.js';

describe('a lock that is retained [redis]', () => {
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  const handedOver = async (
    resource: string,
    ttlMs: number,
    stop: NodeJS.Signals | undefined,
  ): Promise<number> => {
    const retainer = await startRetainer(redis.url, resource, ttlMs);
    await using other = openLock(redis.url);
    try {
      const before = (await other.lock.inspect(resource)).holders[0]?.fencingToken ?? 0n;
      expect(before, 'it is retained').toBeGreaterThan(0n);
      if (stop !== undefined) retainer.kill(stop);
      const askedMs = performance.now();
      const lease = await other.lock.acquire(resource, { waitMs: 20_000, ttlMs });
      const tookMs = elapsedSince(askedMs);
      expect(lease.fencingToken).toBeGreaterThan(before);
      await lease.release();
      return tookMs;
    } finally {
      retainer.kill('SIGKILL');
    }
  };

  test('a retaining process gives it up when somebody asks, long before its TTL', async () => {
    const tookMs = await handedOver('alive', 20_000, undefined);
    measured(`retained by a living process: handed over after ${tookMs.toFixed(0)} ms (TTL 20000)`);
    expect(tookMs).toBeLessThan(5_000);
  });

  for (const [name, signal] of [
    ['dead', 'SIGKILL'],
    ['frozen', 'SIGSTOP'],
  ] as const) {
    test(`a retaining process that is ${name} delays who asks by its TTL at most`, async () => {
      const ttlMs = 1_500;
      const tookMs = await handedOver(name, ttlMs, signal);
      measured(
        `retained by a ${name} process: granted after ${tookMs.toFixed(0)} ms (TTL ${ttlMs})`,
      );
      expect(tookMs).toBeLessThan(ttlMs + 500);
    });
  }

  test('a notice that was lost with the inbox is made up for when the inbox is back', async () => {
    await using one = openLock(redis.url);
    await using two = openLock(redis.url);
    await (await one.lock.acquire('notice', { ttlMs: 60_000, retainMs: 600_000 })).release();
    await until('both inboxes open', async () => {
      return (await two.client.pubsub('CHANNELS')).length >= 1;
    });
    // Nobody may hear messages: the notice of the waiter is lost, and a renewal is 20 s away.
    await two.client.acl('SETUSER', 'default', 'resetchannels');
    try {
      // The server closes connections that listen to what they may hear no more.
      await until('nobody listening', async () => {
        return (await two.client.pubsub('CHANNELS')).length === 0;
      });
      const asked = two.lock.acquire('notice', { waitMs: 15_000, ttlMs: 60_000 });
      await until('a waiter', async () => {
        return (await two.lock.inspect('notice')).waiters.length === 1;
      });
      await two.client.acl('SETUSER', 'default', 'allchannels');
      const allowedMs = performance.now();
      // Who was refused tries again after its next connection.
      await two.client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
      await (await asked).release();
      measured(`lost notice of a retained lock: ${elapsedSince(allowedMs).toFixed(0)} ms`);
    } finally {
      await two.client.acl('SETUSER', 'default', 'allchannels');
    }
  });
});
