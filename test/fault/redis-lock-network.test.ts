// Locks on Redis behind a network that loses replies and cuts connections.

import { seededRandom } from 'tricord';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ServerHandle } from '../servers/handle.js';
import { startRedis } from '../servers/provider.js';
import { freshPrefix, measured } from '../servers/shared.js';
import { elapsedSince, openLock, type StagedClientOptions, until } from './redis-lock-stage.js';

/** How a client goes on after a cut: sends again by itself, or reports an error. */
const CLIENTS: readonly (readonly [name: string, options: StagedClientOptions])[] = [
  ['a client at its defaults', {}],
  ['a client that never sends again', { autoResendUnfulfilledCommands: false }],
  ['a client that fails fast', { maxRetriesPerRequest: 0, enableOfflineQueue: false }],
  ['a client with auto-pipelining', { enableAutoPipelining: true }],
];
const LONG_TTL_MS = 30_000;
/** A cut, a reconnect and another send, on a busy machine; far below the TTL. */
const RECOVERY_MS_MAX = 2_000;

describe('a lost reply [redis]', () => {
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  for (const [name, client] of CLIENTS) {
    test(`lost reply: an acquire that was granted is told so without waiting for a TTL (${name})`, async () => {
      await using proxy = await redis.proxy();
      await using one = openLock(proxy.url, { client });
      const resource = freshPrefix('acquire');
      await (await one.lock.acquire('warm')).release();
      const lost = proxy.cutAfterForward(resource);
      const sentMs = performance.now();
      const lease = await one.lock.acquire(resource, { ttlMs: LONG_TTL_MS });
      const tookMs = elapsedSince(sentMs);
      await lost;
      measured(
        `lost reply of an acquire, ${name}: ${tookMs.toFixed(0)} ms (TTL ${LONG_TTL_MS} ms)`,
      );
      expect(tookMs).toBeLessThan(RECOVERY_MS_MAX);
      const { holders, waiters } = await one.lock.inspect(resource);
      expect(holders.map((holder) => holder.fencingToken)).toEqual([lease.fencingToken]);
      expect(waiters).toEqual([]);
      expect(await lease.release()).toBe('released');
    });

    test(`lost reply: a release that took effect is told as released (${name})`, async () => {
      await using proxy = await redis.proxy();
      await using one = openLock(proxy.url, { client });
      const resource = freshPrefix('release');
      const lease = await one.lock.acquire(resource, { ttlMs: LONG_TTL_MS });
      await (await one.lock.acquire('warm')).release();
      const lost = proxy.cutAfterForward(resource);
      const sentMs = performance.now();
      const answer = await lease.release();
      const tookMs = elapsedSince(sentMs);
      await lost;
      measured(`lost reply of a release, ${name}: ${tookMs.toFixed(0)} ms`);
      expect(answer).toBe('released');
      expect(tookMs).toBeLessThan(RECOVERY_MS_MAX);
      expect((await one.lock.inspect(resource)).holders).toEqual([]);
    });

    test(`lost reply: whoever was put in line is granted once (${name})`, async () => {
      await using proxy = await redis.proxy();
      await using holder = openLock(redis.url);
      await using one = openLock(proxy.url, { client });
      const resource = freshPrefix('queued');
      await (await one.lock.acquire('warm')).release();
      const held = await holder.lock.acquire(resource, { ttlMs: LONG_TTL_MS });
      const lost = proxy.cutAfterForward(resource);
      const waiting = one.lock.acquire(resource, { ttlMs: LONG_TTL_MS });
      await lost;
      await until('one waiter', async () => {
        return (await holder.lock.inspect(resource)).waiters.length === 1;
      });
      await held.release();
      const lease = await waiting;
      const { holders, waiters } = await holder.lock.inspect(resource);
      expect(holders.map((party) => party.fencingToken)).toEqual([lease.fencingToken]);
      expect(waiters).toEqual([]);
      await lease.release();
    });
  }
});

describe('a waiter without its messages [redis]', () => {
  const heartbeatMs = 500;
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());

  const wakesWithin = async (
    url: string,
    { boundMs, heartbeatMs }: { readonly boundMs: number; readonly heartbeatMs: number },
    breakIt: () => Promise<void>,
  ) => {
    await using holder = openLock(redis.url, { driver: { heartbeatMs } });
    await using one = openLock(url, { driver: { heartbeatMs } });
    const resource = freshPrefix('wake');
    const held = await holder.lock.acquire(resource, { ttlMs: LONG_TTL_MS });
    const waiting = one.lock.acquire(resource, { ttlMs: LONG_TTL_MS });
    await until('a waiter', async () => {
      return (await holder.lock.inspect(resource)).waiters.length === 1;
    });
    await breakIt();
    const releasedMs = performance.now();
    await held.release();
    const lease = await waiting;
    const tookMs = elapsedSince(releasedMs);
    expect(tookMs).toBeLessThan(boundMs);
    await lease.release();
    return tookMs;
  };

  test('a cut subscriber connection asks for its waiters as soon as it is back', async () => {
    await using admin = openLock(redis.url);
    const bounds = { heartbeatMs: 10_000, boundMs: 3_000 };
    const tookMs = await wakesWithin(redis.url, bounds, async () => {
      // The holder listens as well as the waiter; both must, else it is not the waiter that is cut.
      await until('two subscribers', async () => {
        return (await admin.client.pubsub('CHANNELS')).length === 2;
      });
      expect(await admin.client.call('CLIENT', 'KILL', 'TYPE', 'pubsub')).toBe(2);
    });
    measured(
      `cut subscriber: woken after ${tookMs.toFixed(0)} ms (heartbeat ${bounds.heartbeatMs} ms)`,
    );
  });

  test('a user that may neither publish nor subscribe still waits in line', async () => {
    await using admin = openLock(redis.url);
    const rules = ['on', '>secret', '~*', '+@all', '-subscribe', '-publish', 'resetchannels'];
    await admin.client.acl('SETUSER', 'mute', ...rules);
    const url = redis.url.replace('redis://', 'redis://mute:secret@');
    const tookMs = await wakesWithin(
      url,
      { heartbeatMs, boundMs: heartbeatMs + 400 },
      async () => {},
    );
    measured(`no permission to subscribe: woken after ${tookMs.toFixed(0)} ms`);
  });

  test('storms of aborts leave nobody in line, no holder, and no key that stays', async () => {
    const seed = Math.floor(performance.now() * 1_000) % 2 ** 31;
    console.log(`seed ${seed}`);
    const random = seededRandom(seed);
    const driver = { namespace: freshPrefix('storm'), resendWindowMs: 1_000, heartbeatMs };
    const resources = Array.from({ length: 5 }, (_, index) => `storm-${index}`);
    await using admin = openLock(redis.url, { driver });
    const held = await Promise.all(resources.map((resource) => admin.lock.acquire(resource)));
    const nodes = Array.from({ length: 20 }, () => openLock(redis.url, { driver }));
    const endings = { granted: 0, aborted: 0 };
    const ask = async (index: number): Promise<void> => {
      const node = nodes[index % nodes.length];
      const resource = resources[index % resources.length] ?? '';
      const signal = AbortSignal.timeout(Math.floor(random.fraction() * 200));
      const asked = node?.lock.acquire(resource, { ttlMs: 1_000, signal });
      const lease = await asked?.catch(() => undefined);
      endings[lease === undefined ? 'aborted' : 'granted'] += 1;
      await lease?.release();
    };
    const storm = Array.from({ length: 600 }, (_, index) => ask(index));
    await new Promise((resolve) => setTimeout(resolve, 120));
    await Promise.all(held.map((lease) => lease.release()));
    await Promise.all(storm);
    measured(`storm: ${endings.granted} granted and ${endings.aborted} aborted of 600`);
    expect(endings.aborted).toBeGreaterThan(100);
    for (const resource of resources) {
      await until(`${resource} free`, async () => {
        const { holders, waiters } = await admin.lock.inspect(resource);
        return holders.length + waiters.length === 0;
      });
    }
    for (const node of nodes) await node[Symbol.asyncDispose]();
    const pattern = `tricord:${driver.namespace}:*`;
    const fieldsOf = (key: string): Promise<string[]> => admin.client.hkeys(key);
    await until('the tombstones gone', async () => {
      // Whoever comes next takes those away that are old enough.
      for (const resource of resources) await (await admin.lock.acquire(resource)).release();
      const fields = await Promise.all((await admin.client.keys(pattern)).map(fieldsOf));
      return fields.every((names) => names.length === 1);
    });
    for (const key of await admin.client.keys(pattern)) {
      expect(await admin.client.pttl(key), key).toBeGreaterThan(0);
      expect(await fieldsOf(key), key).toEqual(['r']);
    }
  });
});
