import { afterEach, describe, expect, test } from 'vitest';
import { type Cache, createCache, systemClock, systemRandom } from '../../src/index.js';
import { memcachedCache } from '../../src/memcached.js';
import { memoryCache } from '../../src/memory.js';
import { startServer } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
});

function nodeOf(
  servers: string | readonly string[],
  { isTiered = false, hardTimeoutMs = 300, timeoutMs = 2_000 } = {},
): Cache<string> {
  const driver = memcachedCache({ servers });
  const tiers = isTiered ? [memoryCache(), driver] : [driver];
  const cache = createCache<string>({
    name: 'fault',
    tiers,
    ttlMs: 60_000,
    hardTimeoutMs,
    timeoutMs,
  });
  opened.push(cache);
  return cache;
}

function tierOf(servers: string) {
  const node = { name: 'fault', clock: systemClock, random: systemRandom };
  const tier = memcachedCache({ servers }).open(node);
  opened.push(tier);
  return tier;
}

const BOUNDS = { timeoutMs: 2_000 };
/** What a promised bound may be exceeded by: the machine's own delays. */
const ALLOWANCE_MS = 200;

const elapsedOf = async (call: () => Promise<unknown>): Promise<number> => {
  const sinceMs = performance.now();
  await call();
  return performance.now() - sinceMs;
};

describe('a frozen memcached under a cache [memcached]', () => {
  test('a cold getOrLoad is answered by the loader, and warm keys by memory', async () => {
    await using memcached = await startServer('memcached');
    const cache = nodeOf(memcached.url, { isTiered: true });
    await cache.set('warm', 'value');
    await memcached.pause();
    const coldMs = await elapsedOf(async () => {
      expect(await cache.getOrLoad('cold', () => 'source')).toBe('source');
    });
    const warmMs = await elapsedOf(async () => {
      expect(await cache.getOrLoad('warm', () => 'other')).toBe('value');
    });
    measured(
      `frozen memcached: cold getOrLoad answered after ${coldMs.toFixed(0)} ms (bound 300 + ${ALLOWANCE_MS})`,
    );
    expect(coldMs).toBeLessThan(300 + ALLOWANCE_MS);
    expect(warmMs).toBeLessThan(ALLOWANCE_MS);
    await memcached.resume();
    await expect.poll(() => cache.set('later', 'value').then(() => 'stored')).toBe('stored');
    expect(await cache.get('later')).toBe('value');
  });

  test('a write tells that it was not acknowledged, within its time', async () => {
    await using memcached = await startServer('memcached');
    const cache = nodeOf(memcached.url);
    await cache.set('key', 'old');
    await memcached.pause();
    const tookMs = await elapsedOf(() =>
      expect(cache.delete('key', { timeoutMs: 500 })).rejects.toMatchObject({
        code: 'CACHE_TIER_UNREACHABLE',
        details: { tier: 'memcached', keys: ['key'] },
      }),
    );
    expect(tookMs).toBeLessThan(500 + ALLOWANCE_MS);
    await memcached.resume();
  });
});

describe('a memcached that is killed [memcached]', () => {
  test('comes back empty, and a fill of a lease from before is refused', async () => {
    await using memcached = await startServer('memcached');
    const tier = tierOf(memcached.url);
    const token = systemRandom.token(22);
    expect(await tier.lease('key', token, 30_000, BOUNDS)).toMatchObject({ state: 'leader' });
    await memcached.kill();
    await expect(tier.read('key', { ...BOUNDS, withRemaining: false })).rejects.toMatchObject({
      code: expect.stringMatching(/BACKEND_UNAVAILABLE|RESULT_UNKNOWN/),
    });
    await memcached.restart();
    const isBack = (): Promise<string> =>
      tier.clear(BOUNDS).then(
        () => 'back',
        () => 'away',
      );
    await expect.poll(isBack, { timeout: 5_000 }).toBe('back');
    // The numbers of a new server begin again: this lease has the number of the old one.
    const other = systemRandom.token(22);
    expect(await tier.lease('key', other, 30_000, BOUNDS)).toMatchObject({ state: 'leader' });
    const entry = { stored: 'old', ttlMs: 60_000 };
    expect(await tier.fill('key', token, entry, BOUNDS)).toBe('refused');
    expect(await tier.fill('key', other, { ...entry, stored: 'new' }, BOUNDS)).toBe('stored');
    const found = await tier.read('key', { ...BOUNDS, withRemaining: true });
    expect(found?.stored).toBe('new');
  });

  test('one of three takes only its keys along', async () => {
    const servers = await Promise.all([1, 2, 3].map(() => startServer('memcached')));
    const [first] = servers;
    const keys = Array.from({ length: 60 }, (_, index) => `key-${index}`);
    const cache = nodeOf(servers.map(({ url }) => url));
    await cache.setMany(keys.map((key) => [key, 'value'] as const));
    await first?.kill();
    const found = await cache.getMany(keys);
    expect(found.size).toBeGreaterThan(20);
    expect(found.size).toBeLessThan(60);
    for (const key of keys) expect(await cache.getOrLoad(key, () => 'value')).toBe('value');
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  });
});

describe('a memcached behind a bad network [memcached]', () => {
  test('a fill whose reply was lost is unknown, and is not stored twice over an invalidation', async () => {
    await using memcached = await startServer('memcached');
    await using proxy = await memcached.proxy();
    const near = tierOf(proxy.url);
    const far = tierOf(memcached.url);
    const token = systemRandom.token(22);
    await near.lease('key', token, 30_000, BOUNDS);
    const cut = proxy.cutAfterForward('value-that-is-lost');
    const entry = { stored: 'value-that-is-lost', ttlMs: 60_000 };
    await expect(near.fill('key', token, entry, BOUNDS)).rejects.toMatchObject({
      code: 'RESULT_UNKNOWN',
    });
    await cut;
    await far.invalidate('key', undefined, BOUNDS);
    expect(await near.fill('key', token, entry, BOUNDS)).toBe('refused');
    expect(await far.read('key', { ...BOUNDS, withRemaining: false })).toBeUndefined();
  });

  test('a fill goes on over a new connection, because its lease is known by its token', async () => {
    await using memcached = await startServer('memcached');
    await using proxy = await memcached.proxy();
    const tier = tierOf(proxy.url);
    const token = systemRandom.token(22);
    await tier.lease('key', token, 30_000, BOUNDS);
    await proxy.cut();
    await proxy.pass();
    const entry = { stored: 'value', ttlMs: 60_000 };
    const fill = (): Promise<string> =>
      tier.fill('key', token, entry, BOUNDS).catch(() => 'no connection');
    await expect.poll(fill, { timeout: 5_000 }).toBe('stored');
  });

  test('a request is never sent after its time', async () => {
    await using memcached = await startServer('memcached');
    await using proxy = await memcached.proxy();
    await proxy.freeze();
    const tier = tierOf(proxy.url);
    const late = tier.hold('key', systemRandom.token(22), 60_000, { timeoutMs: 100 });
    await expect(late).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
    await proxy.thaw();
    const far = tierOf(memcached.url);
    await expect
      .poll(() =>
        tier.clear(BOUNDS).then(
          () => 'done',
          () => 'not yet',
        ),
      )
      .toBe('done');
    const lease = await far.lease('key', systemRandom.token(22), 30_000, BOUNDS);
    expect(lease).toMatchObject({ state: 'leader' });
  });
});

describe('what a memcached refuses [memcached]', () => {
  test('a value that is larger than -I is not stored, is told, and stops nobody', async () => {
    await using memcached = await startServer('memcached');
    const tier = tierOf(memcached.url);
    const token = systemRandom.token(22);
    await tier.lease('key', token, 30_000, BOUNDS);
    const entry = { stored: 'x'.repeat(2_000_000), ttlMs: 60_000 };
    await expect(tier.fill('key', token, entry, BOUNDS)).rejects.toMatchObject({
      code: 'BACKEND_UNSUPPORTED',
      details: { setting: '-I (largest item)' },
    });
    expect(await tier.lease('key', systemRandom.token(22), 30_000, BOUNDS)).toMatchObject({
      state: 'leader',
    });
  });

  test('what another program wrote is told, and not taken for a value', async () => {
    await using memcached = await startServer('memcached');
    const tier = tierOf(memcached.url);
    await tier.hold('key', systemRandom.token(22), 1_000, BOUNDS);
    await tier.clear(BOUNDS);
    const { connect } = await import('node:net');
    const [host = '', port = ''] = memcached.url.split(':');
    const write = (data: string, flags: number) =>
      new Promise<void>((resolve) => {
        const socket = connect(Number(port), host, () => {
          socket.end(`ms tricord:default:fault:k:key ${data.length} F${flags}\r\n${data}\r\n`, () =>
            resolve(),
          );
          socket.resume();
        });
      });
    const readKey = () =>
      tier.read('key', { ...BOUNDS, withRemaining: false }).then(
        () => 'nothing',
        (error) => error.code,
      );
    await write('2aaaaaaaaaaabc', 1);
    await expect.poll(readKey).toBe('UPGRADE_NEEDED');
    await write('hello', 1);
    await expect.poll(readKey).toBe('DATA_CORRUPT');
  });
});
