import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis, type Redis as RedisType } from 'ioredis';
import { afterEach, describe, expect, test } from 'vitest';
import { type Cache, createCache } from '../../src/index.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';
import { startRedis } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const opened: RedisType[] = [];
afterEach(() => {
  for (const client of opened.splice(0)) client.disconnect();
});

/** The options of ioredis that wait longest. */
const PATIENT = { maxRetriesPerRequest: null, enableOfflineQueue: true } as const;

function clientOf(url: string): RedisType {
  const client = new Redis(url, PATIENT);
  client.on('error', () => {});
  opened.push(client);
  return client;
}

function nodeOf(
  url: string,
  { isTiered = false, hardTimeoutMs = 300, timeoutMs = 2_000, hasBreaker = true } = {},
): Cache<string> {
  const driver = redisCache({ client: clientOf(url) });
  const tiers = isTiered ? [memoryCache(), driver] : [driver];
  const breaker = hasBreaker ? {} : false;
  return createCache({ name: 'fault', tiers, ttlMs: 60_000, hardTimeoutMs, timeoutMs, breaker });
}

/** Until memory keeps what it reads, because it hears of changes. */
async function kept(cache: Cache<string>, key: string): Promise<void> {
  await expect.poll(async () => [await cache.get(key), cache.peek(key)][1]).toBeDefined();
}

/** What a promised bound may be exceeded by: the machine's own delays. */
const ALLOWANCE_MS = 200;

const elapsedOf = async (call: () => Promise<unknown>): Promise<number> => {
  const sinceMs = performance.now();
  await call();
  return performance.now() - sinceMs;
};

describe('a frozen redis under a cache [redis]', () => {
  test('a cold getOrLoad is answered by the loader, and warm keys by memory', async () => {
    await using redis = await startRedis();
    const cache = nodeOf(redis.url, { isTiered: true });
    await cache.set('warm', 'value');
    await kept(cache, 'warm');
    await redis.pause();
    const coldMs = await elapsedOf(async () => {
      expect(await cache.getOrLoad('cold', () => 'source')).toBe('source');
    });
    const warmMs = await elapsedOf(async () => {
      expect(await cache.getOrLoad('warm', () => 'other')).toBe('value');
    });
    measured(
      `frozen redis: cold getOrLoad answered after ${coldMs.toFixed(0)} ms (bound 300 + ${ALLOWANCE_MS})`,
    );
    expect(coldMs).toBeLessThan(300 + ALLOWANCE_MS);
    expect(warmMs).toBeLessThan(50);
    await redis.resume();
    expect(await cache.getOrLoad('later', () => 'stored')).toBe('stored');
    await cache.close();
  });

  test('holds a cold getOrLoad up for hardTimeoutMs and 20 ms, the delay of the loop taken off', async () => {
    await using redis = await startRedis();
    const cache = nodeOf(redis.url, { isTiered: true });
    const bare = nodeOf(redis.url, { hasBreaker: false });
    await cache.set('warm', 'value');
    await kept(cache, 'warm');
    await bare.set('any', 'value');
    await redis.pause();
    const overMs: number[] = [];
    const warmMs: number[] = [];
    for (let trial = 0; trial < 7; trial += 1) {
      // A bare timer of the same length, set at the same time, is as late as this machine is now.
      const timing = elapsedOf(() => new Promise((resolve) => setTimeout(resolve, 300)));
      const cold = elapsedOf(() => bare.getOrLoad(`cold ${trial}`, () => 'source'));
      warmMs.push(await elapsedOf(() => cache.getOrLoad('warm', () => 'other')));
      const [timerMs, coldMs] = await Promise.all([timing, cold]);
      overMs.push(coldMs - Math.max(timerMs, 300));
    }
    const median = (values: number[]): number => values.sort((a, b) => a - b)[3] ?? Number.NaN;
    const [over, warm] = [median(overMs), median(warmMs)];
    measured(
      `frozen redis: median of 7 cold getOrLoad ${over.toFixed(1)} ms over a timer of hardTimeoutMs (bound 20), warm ${warm.toFixed(2)} ms`,
    );
    expect(over).toBeLessThan(20);
    expect(warm).toBeLessThan(20);
    await redis.resume();
    await Promise.all([cache.close(), bare.close()]);
  });

  test('is given up by the breaker: cold keys do not wait, and it serves again when it is back', async () => {
    await using redis = await startRedis();
    const cache = nodeOf(redis.url, { isTiered: true });
    await cache.set('warm', 'value');
    await kept(cache, 'warm');
    await redis.pause();
    const cold = (key: string) => elapsedOf(() => cache.getOrLoad(key, () => 'source'));
    const timesMs = await Promise.all(Array.from({ length: 10 }, (_, i) => cold(`cold ${i}`)));
    expect(Math.max(...timesMs)).toBeLessThan(300 + ALLOWANCE_MS);
    const longestMs = Math.max(...timesMs).toFixed(0);
    measured(
      `frozen redis: the slowest of 10 cold getOrLoad at once took ${longestMs} ms (bound 300)`,
    );
    expect(cache.stats().tiers[1]?.breaker).toBe('open');
    const afterMs = await cold('cold afterwards');
    measured(`frozen redis: with the breaker open a cold getOrLoad took ${afterMs.toFixed(1)} ms`);
    expect(afterMs).toBeLessThan(ALLOWANCE_MS);
    expect(cache.peek('warm')).toBe('value');
    await redis.resume();
    await expect
      .poll(async () => [await cache.get('any'), cache.stats().tiers[1]?.breaker][1], {
        timeout: 5_000,
      })
      .toBe('closed');
    expect(await cache.getOrLoad('later', () => 'stored')).toBe('stored');
    await cache.close();
  });

  test('a write is told within its time that it was not acknowledged', async () => {
    await using redis = await startRedis();
    const cache = nodeOf(redis.url);
    await cache.set('key', 'old');
    await redis.pause();
    const error = { code: 'CACHE_TIER_UNREACHABLE', details: { tier: 'redis', keys: ['key'] } };
    for (const write of [() => cache.set('key', 'new'), () => cache.delete('key')]) {
      const ms = await elapsedOf(() => expect(write()).rejects.toMatchObject(error));
      expect(ms).toBeLessThan(2_000 + ALLOWANCE_MS);
    }
    await redis.resume();
    await cache.delete('key');
    expect(await cache.get('key')).toBeUndefined();
    await cache.close();
  });

  test('a close ends what is in flight, long before its own time is up', async () => {
    await using redis = await startRedis();
    const cache = nodeOf(redis.url, { timeoutMs: 20_000, hardTimeoutMs: 20_000 });
    await cache.set('key', 'old');
    await redis.pause();
    const calls = [cache.get('key'), cache.set('key', 'new'), cache.delete('other')];
    const ended = Promise.allSettled(calls);
    const ms = await elapsedOf(async () => {
      await cache.close({ drainMs: 300 });
      await ended;
    });
    measured(
      `frozen redis: close ended a read and two writes after ${ms.toFixed(0)} ms (drain 300)`,
    );
    expect(ms).toBeLessThan(300 + ALLOWANCE_MS);
    const [get, ...writes] = await ended;
    expect(get).toMatchObject({ reason: { code: 'CLOSED' } });
    for (const write of writes) {
      expect(write).toMatchObject({ reason: { code: 'CACHE_TIER_UNREACHABLE' } });
    }
    await redis.resume();
  });

  test('thousands of calls without an answer do not pile up: further ones fail at once', async () => {
    await using redis = await startRedis();
    const cache = nodeOf(redis.url, { hardTimeoutMs: 200 });
    await cache.get('connected');
    await redis.pause();
    const get = (i: number) => cache.get(`key ${i}`);
    await Promise.all(Array.from({ length: 1_500 }, (_, i) => get(i)));
    const ms = await elapsedOf(() => get(0));
    expect(ms).toBeLessThan(50);
    await redis.resume();
    const sinceMs = performance.now();
    await cache.set('key', 'value');
    while ((await cache.get('key')) !== 'value') {
      expect(performance.now() - sinceMs).toBeLessThan(5_000);
      await sleep(10);
    }
    await cache.close();
  });
});

describe('a redis that is down under a cache [redis]', () => {
  test('getOrLoad goes on with the loader, writes are told, and all is well when it is back', async () => {
    await using redis = await startRedis();
    const cache = nodeOf(redis.url);
    expect(await cache.getOrLoad('before', () => 'value')).toBe('value');
    await redis.kill();
    const ms = await elapsedOf(async () => {
      const reads = Array.from({ length: 20 }, () => cache.getOrLoad('cold', () => 'source'));
      expect(new Set(await Promise.all(reads))).toEqual(new Set(['source']));
    });
    measured(
      `dead redis: 20 cold getOrLoad answered after ${ms.toFixed(0)} ms (bound 300 + ${ALLOWANCE_MS})`,
    );
    expect(ms).toBeLessThan(300 + ALLOWANCE_MS);
    expect(cache.stats().loadCount).toBe(2);
    await expect(cache.delete('before')).rejects.toMatchObject({ code: 'CACHE_TIER_UNREACHABLE' });
    await redis.restart();
    await cache.set('after', 'value', { timeoutMs: 10_000 });
    expect(await cache.get('after')).toBe('value');
    await cache.close();
  });

  test('a cache can be created, used and closed without a server ever being there', async () => {
    const cache = nodeOf('redis://127.0.0.1:1');
    expect(await cache.getOrLoad('key', () => 'source')).toBe('source');
    expect(await cache.get('key')).toBeUndefined();
    await cache.close();
  });
});

describe('a reply of redis to a cache that is lost [redis]', () => {
  const lost = async (script: string, act: (cache: Cache<string>) => Promise<void>) => {
    await using redis = await startRedis();
    await using proxy = await redis.proxy();
    const direct = nodeOf(redis.url);
    const cache = nodeOf(proxy.url, { timeoutMs: 5_000, hardTimeoutMs: 1_000 });
    // So that the scripts are known and the next request is the one that is cut.
    await cache.set('warm', 'up');
    await cache.getOrLoad('warm up', () => 'up');
    const cut = proxy.cutAfterForward(script);
    await act(cache);
    await cut;
    const value = await direct.get('key');
    await Promise.all([cache.close(), direct.close()]);
    return value;
  };

  test('of a delete: it is sent again and acknowledged', async () => {
    const value = await lost('{key}', async (cache) => cache.delete('key'));
    expect(value).toBeUndefined();
  });

  test('of a set: it is acknowledged and stored', async () => {
    const value = await lost('{key}', async (cache) => cache.set('key', 'value'));
    expect(value).toBe('value');
  });

  test('of a read or a lease: the caller gets its value, and nobody an old one', async () => {
    const value = await lost('{key}', async (cache) => {
      expect(await cache.getOrLoad('key', () => 'source')).toBe('source');
    });
    expect([undefined, 'source']).toContain(value);
  });

  test('of the fill: the caller gets the loaded value', async () => {
    const value = await lost('"source"', async (cache) => {
      expect(await cache.getOrLoad('key', () => 'source')).toBe('source');
    });
    expect(value).toBe('source');
  });
});

describe('a node that dies while it loads [redis]', () => {
  test('keeps the others waiting for its lease only, then one of them loads', async () => {
    await using redis = await startRedis();
    const cache = nodeOf(redis.url, { timeoutMs: 10_000 });
    const client = clientOf(redis.url);
    // What a dead node leaves: a lease of this generation of the cache that nobody renews.
    const claims = 'tricord:default:cache-claim:fault:';
    const other = cache.getOrLoad('other', () => new Promise<string>(() => {})).catch(() => {});
    await expect.poll(() => client.get(`${claims}{other}`)).not.toBeNull();
    const claim = await client.get(`${claims}{other}`);
    await client.set(`${claims}{key}`, `${claim?.slice(0, 24)}${'x'.repeat(22)}`, 'PX', 1_500);
    let loads = 0;
    const load = () => {
      loads += 1;
      return 'value';
    };
    const ms = await elapsedOf(async () => {
      const reads = Array.from({ length: 10 }, () => cache.getOrLoad('key', load));
      expect(new Set(await Promise.all(reads))).toEqual(new Set(['value']));
    });
    measured(`dead leader: its followers had a value after ${ms.toFixed(0)} ms (lease 1500)`);
    expect(loads).toBe(1);
    expect(ms).toBeGreaterThan(1_000);
    expect(ms).toBeLessThan(2_500);
    await cache.close({ drainMs: 0 });
    await other;
  });
});

describe('a process with a closed cache [redis]', () => {
  test('ends by itself, also when redis is frozen', async () => {
    await using redis = await startRedis();
    for (const isFrozen of [false, true]) {
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', 'test/fault/cache-process.ts', redis.url],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      let output = '';
      child.stdout.on('data', (chunk) => {
        output += chunk;
      });
      const exited = once(child, 'exit');
      while (!output.includes('following')) await sleep(10);
      if (isFrozen) await redis.pause();
      const [code] = await Promise.race([exited, sleep(8_000).then(() => ['it did not end'])]);
      child.kill('SIGKILL');
      await redis.resume();
      expect(code).toBe(0);
      expect(output).toContain('closed');
    }
  });
});
