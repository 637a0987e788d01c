// A quorum lock whose nodes die, freeze, forget, or come late.

import { Redis } from 'ioredis';
import { createLock, isCoordinationError, type Lock } from 'tricord';
import { type RedisQuorumLockOptions, redisQuorumLock } from 'tricord/redis';
import { afterAll, describe, expect, test } from 'vitest';
import { type ServerHandle, startRedis } from '../servers/provider.js';
import { freshPrefix, measured } from '../servers/shared.js';
import { aborted, elapsedSince, until } from './redis-lock-stage.js';

type Options = Omit<RedisQuorumLockOptions, 'clients'>;

describe('redisQuorumLock whose nodes fail [redis]', () => {
  const opened: (() => Promise<unknown>)[] = [];
  afterAll(async () => {
    for (const close of opened.reverse()) await close();
  });

  async function masters(count = 3): Promise<ServerHandle[]> {
    const servers = await Promise.all(Array.from({ length: count }, () => startRedis()));
    opened.push(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
    return servers;
  }

  /** A lock of one more process. */
  function lockOn(urls: readonly string[], options: Options = {}): Lock {
    const clients = urls.map((url) => new Redis(url, { retryStrategy: () => 50 }));
    for (const client of clients) client.on('error', () => {});
    const lock = createLock({ driver: redisQuorumLock({ clients, ...options }), waitMs: 5_000 });
    opened.push(async () => {
      await lock.close({ drainMs: 0 });
      for (const client of clients) client.disconnect();
    });
    return lock;
  }

  const urlsOf = (servers: readonly ServerHandle[]): string[] => servers.map(({ url }) => url);

  test('one of three nodes may be frozen: locks are granted, renewed, handed over and released', async () => {
    const servers = await masters();
    const [one, other] = [lockOn(urlsOf(servers)), lockOn(urlsOf(servers))];
    await (await one.acquire('stock')).release();
    await servers[1]?.pause();
    const started = performance.now();
    const lease = await one.acquire('stock', { ttlMs: 1_500 });
    const tookMs = elapsedSince(started);
    measured(`redisQuorumLock with one frozen node: acquired in ${tookMs.toFixed(0)} ms`);
    expect(tookMs).toBeLessThan(1_000);
    const next = other.acquire('stock');
    // Longer than its TTL: it is renewed on the two that are left.
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    lease.assertHeld();
    expect(await lease.release()).toBe('released');
    const taken = await next;
    expect(taken.fencingToken).toBeGreaterThan(lease.fencingToken);
    await servers[1]?.resume();
    await taken.release();
  });

  test('without a majority it says so in time, and a held lease ends before its TTL', async () => {
    const servers = await masters();
    const lock = lockOn(urlsOf(servers), { replyTimeoutMs: 500 });
    const sent = performance.now();
    const lease = await lock.acquire('stock', { ttlMs: 1_200 });
    await servers[0]?.kill();
    await servers[2]?.kill();
    await aborted(lease.signal);
    expect(elapsedSince(sent)).toBeGreaterThan(0);
    expect(lease.isHeld).toBe(false);
    const started = performance.now();
    const refused = await lock.acquire('other', { ttlMs: 1_000 }).catch((error: unknown) => error);
    expect(isCoordinationError(refused, 'BACKEND_UNAVAILABLE')).toBe(true);
    expect(String(refused)).toContain('1 of 3 nodes take part, and 2 are needed');
    expect(elapsedSince(started)).toBeLessThan(3_000);
  });

  test('a node that restarts empty stays out for the longest TTL, so nobody gets what is held', async () => {
    const servers = await masters();
    const ttlMsMax = 3_000;
    const [one, other] = [
      lockOn(urlsOf(servers), { ttlMsMax }),
      lockOn(urlsOf(servers), { ttlMsMax }),
    ];
    await (await one.acquire('warm up', { ttlMs: 1_000 })).release();
    // Held on the first two nodes only, and not renewed.
    await servers[2]?.kill();
    const lease = await one.acquire('stock', { ttlMs: 2_500, renew: false });
    await servers[2]?.restart();
    await servers[1]?.kill();
    await servers[1]?.restart();
    const restarted = performance.now();
    // Nodes 2 and 3 are empty now. Together they would be a majority.
    let heldAtOnce = false;
    const taken = await other
      .acquire('stock', { ttlMs: 1_000, waitMs: 20_000 })
      .catch((error) => error);
    if (!isCoordinationError(taken)) {
      heldAtOnce = lease.isHeld;
      await taken.release();
    }
    expect(heldAtOnce).toBe(false);
    expect(isCoordinationError(taken) ? taken.message : '').toMatch(
      /lost their state and stay out for [1-4] s more/,
    );
    await until('both are back', async () => {
      const lock = await other.tryAcquire('stock', { ttlMs: 1_000 }).catch(() => undefined);
      await lock?.release();
      if (lock !== undefined) expect(lock.fencingToken).toBeGreaterThan(lease.fencingToken);
      return lock !== undefined;
    });
    expect(elapsedSince(restarted)).toBeGreaterThan(ttlMsMax - 1_000);
  });

  test('a marker that an RDB brought back does not admit the node: its run id is of an earlier life', async () => {
    const servers = await masters();
    const ttlMsMax = 60_000;
    const lock = lockOn(urlsOf(servers), { ttlMsMax });
    await (await lock.acquire('stock', { ttlMs: 1_000 })).release();
    for (const server of servers.slice(1)) {
      const client = new Redis(server.url);
      await client.config('SET', 'save', '3600 1');
      await client.save();
      client.disconnect();
      await server.restart();
    }
    const refused = await lock.acquire('stock', { ttlMs: 1_000 }).catch((error: unknown) => error);
    expect(String(refused)).toContain('2 lost their state and stay out for');
  });

  test('a lease that is held on outlives the restart of every node, one after another', async () => {
    const servers = await masters();
    const ttlMsMax = 1_500;
    const lock = lockOn(urlsOf(servers), { ttlMsMax, nodeTimeoutMs: 100 });
    const lease = await lock.acquire('leader', { ttlMs: 1_000 });
    for (const server of servers) {
      await server.kill();
      await server.restart();
      const backMs = performance.now();
      await until('it is back in service', () => elapsedSince(backMs) > 2 * ttlMsMax);
      lease.assertHeld();
    }
    expect(await lease.release()).toBe('released');
  });

  test('new nodes begin at once when all are reached, and wait when one is not', async () => {
    const servers = await masters();
    const namespace = freshPrefix('new');
    const started = performance.now();
    const lock = lockOn(urlsOf(servers), { namespace });
    await (await lock.acquire('stock')).release();
    expect(elapsedSince(started)).toBeLessThan(3_000);
    await servers[2]?.kill();
    const partial = lockOn(urlsOf(servers), { namespace: freshPrefix('new'), replyTimeoutMs: 300 });
    const refused = await partial.acquire('stock').catch((error: unknown) => error);
    expect(String(refused)).toContain('0 of 3 nodes take part');
  });

  test('a lost reply of a vote costs no TTL, and leaves nothing behind', async () => {
    const servers = await masters();
    const proxies = await Promise.all(servers.map((server) => server.proxy()));
    opened.push(async () => {
      for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
    });
    const direct = lockOn(urlsOf(servers));
    await (await direct.acquire('warm up')).release();
    const lock = lockOn(proxies.map(({ url }) => url));
    await (await lock.acquire('warm up')).release();
    const lost = [proxies[0]?.cutAfterForward('{stock}'), proxies[1]?.cutAfterForward('{stock}')];
    const started = performance.now();
    const lease = await lock.acquire('stock', { ttlMs: 30_000 });
    await Promise.all(lost);
    measured(
      `redisQuorumLock with two lost votes: acquired in ${elapsedSince(started).toFixed(0)} ms`,
    );
    expect(elapsedSince(started)).toBeLessThan(5_000);
    await lease.release();
    await until('it is free for others', async () => {
      const taken = await direct.tryAcquire('stock');
      await taken?.release();
      return taken !== undefined;
    });
  });

  test('many that try at the same moment do not hang in a tie', async () => {
    const servers = await masters();
    const locks = Array.from({ length: 8 }, () => lockOn(urlsOf(servers)));
    await (await (locks[0] as Lock).acquire('warm up')).release();
    const started = performance.now();
    for (let round = 0; round < 5; round += 1) {
      const leases = locks.map(async (lock) => {
        const lease = await lock.acquire(`tie ${round}`, { waitMs: 20_000 });
        await lease.release();
      });
      await Promise.all(leases);
    }
    const grants = 5 * locks.length;
    measured(
      `redisQuorumLock: ${grants} grants among 8 that came at once in ${elapsedSince(started).toFixed(0)} ms`,
    );
  });

  test('five nodes tolerate two', async () => {
    const servers = await masters(5);
    const lock = lockOn(urlsOf(servers));
    await (await lock.acquire('stock')).release();
    await servers[0]?.kill();
    await servers[3]?.pause();
    const lease = await lock.acquire('stock', { ttlMs: 3_000 });
    expect(await lease.release()).toBe('released');
    await servers[3]?.resume();
  });
});
