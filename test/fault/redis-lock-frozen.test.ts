// Locks on a Redis that stops answering, and processes that stop.

import { isCoordinationError } from 'tricord';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ServerHandle } from '../servers/handle.js';
import { startRedis } from '../servers/provider.js';
import { measured } from '../servers/shared.js';
import { aborted, elapsedSince, openLock, startHolder, until } from './redis-lock-stage.js';

const TTL_MS = 2_000;

describe('a frozen redis [redis]', () => {
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  test('a frozen redis: the signal of a held lease aborts before its TTL is over', async () => {
    await using one = openLock(redis.url);
    await (await one.lock.acquire('warm')).release();
    const sentMs = performance.now();
    const lease = await one.lock.acquire('sku:42', { ttlMs: TTL_MS });
    await redis.pause();
    try {
      const reason = await aborted(lease.signal);
      const tookMs = elapsedSince(sentMs);
      measured(
        `frozen redis: lease.signal aborted ${tookMs.toFixed(0)} ms after the acquire was sent (bound ${TTL_MS} ms)`,
      );
      expect(tookMs).toBeLessThanOrEqual(TTL_MS);
      expect(tookMs).toBeGreaterThan(TTL_MS * 0.8);
      expect(isCoordinationError(reason, 'LOCK_LOST')).toBe(true);
      expect(lease.isHeld).toBe(false);
      expect(() => lease.assertHeld()).toThrow();
    } finally {
      await redis.resume();
    }
    expect(await lease.release()).toBe('lost');
  });

  test('a frozen redis: whoever waits is told by its deadline, and later leaves nothing in line', async () => {
    await using one = openLock(redis.url);
    await using two = openLock(redis.url);
    const held = await one.lock.acquire('frozen-wait', { ttlMs: 60_000 });
    const waiting = two.lock.acquire('frozen-wait', { waitMs: 700, ttlMs: 60_000 });
    waiting.catch(() => {});
    await until('a waiter', async () => {
      return (await one.lock.inspect('frozen-wait')).waiters.length === 1;
    });
    await redis.pause();
    const startedMs = performance.now();
    try {
      await expect(waiting).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
      expect(elapsedSince(startedMs)).toBeLessThan(1_500);
    } finally {
      await redis.resume();
    }
    await until('an empty line', async () => {
      return (await one.lock.inspect('frozen-wait')).waiters.length === 0;
    });
    expect(await held.release()).toBe('released');
  });

  test('a frozen redis: an acquire that was given up takes nothing when the server goes on', async () => {
    await using one = openLock(redis.url);
    await (await one.lock.acquire('given-up')).release();
    await redis.pause();
    try {
      const asked = one.lock.acquire('given-up', { waitMs: 300, ttlMs: 60_000 });
      await expect(asked).rejects.toMatchObject({ code: 'LOCK_TIMEOUT' });
    } finally {
      await redis.resume();
    }
    // The buffered acquire runs first, then its cancel; afterwards the resource is free.
    await until('a free resource', async () => {
      const { holders, waiters } = await one.lock.inspect('given-up');
      return holders.length + waiters.length === 0;
    });
    const lease = await one.lock.tryAcquire('given-up');
    expect(lease).toBeDefined();
    await lease?.release();
  });

  test('kill -9 of the holder: the next in line is granted within the TTL', async () => {
    const ttlMs = 1_000;
    await using two = openLock(redis.url);
    const holder = await startHolder(redis.url, 'killed', ttlMs);
    const before = (await two.lock.inspect('killed')).holders[0]?.fencingToken ?? 0n;
    const waiting = two.lock.acquire('killed', { waitMs: 20_000 });
    await until('a waiter', async () => {
      return (await two.lock.inspect('killed')).waiters.length === 1;
    });
    holder.kill('SIGKILL');
    const killedMs = performance.now();
    const lease = await waiting;
    const tookMs = elapsedSince(killedMs);
    measured(`kill -9 of a holder: next grant after ${tookMs.toFixed(0)} ms (TTL ${ttlMs} ms)`);
    expect(tookMs).toBeLessThan(ttlMs + 250);
    expect(lease.fencingToken).toBeGreaterThan(before);
    await lease.release();
  });
});

describe('a redis that restarts without persistence [redis]', () => {
  test('the fence still increases, waiters make progress, and the old lease is lost', async () => {
    await using redis = await startRedis();
    await using one = openLock(redis.url);
    await using two = openLock(redis.url);
    const lease = await one.lock.acquire('restart', { ttlMs: 2_000 });
    const waiting = two.lock.acquire('restart', { waitMs: 15_000, ttlMs: 2_000 });
    await until('a waiter', async () => {
      return (await one.lock.inspect('restart')).waiters.length === 1;
    });
    await redis.kill();
    await redis.restart();
    const restartedMs = performance.now();
    const next = await waiting;
    const tookMs = elapsedSince(restartedMs);
    measured(`restart without persistence: the waiter was granted after ${tookMs.toFixed(0)} ms`);
    expect(next.fencingToken).toBeGreaterThan(lease.fencingToken);
    await aborted(lease.signal);
    expect(await lease.release()).toBe('lost');
    expect(await next.release()).toBe('released');
  });
});
