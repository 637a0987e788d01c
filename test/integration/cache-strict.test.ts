import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import {
  type Cache,
  type CacheOptions,
  cacheParticipant,
  createCache,
  newTransactionId,
  systemClock,
  v8Codec,
} from '../../src/index.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';
import { freshPrefix, onServer } from '../servers/shared.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const LEASE_MS = 300;

function nodeOf(url: string, name: string, options: Partial<CacheOptions<number>> = {}) {
  const client = new Redis(url);
  client.on('error', () => {});
  const tiers = [memoryCache(), redisCache({ client })];
  const cache: Cache<number> = createCache({
    ...{ name, tiers, ttlMs: 60_000, consistency: 'strict', strictLeaseMs: LEASE_MS },
    ...options,
  });
  cleanups.push(() => cache.close().then(() => client.disconnect()));
  return { cache, client };
}

/** How long something took, in milliseconds. */
async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const sinceMs = performance.now();
  await work();
  return performance.now() - sinceMs;
}

onServer('redis', 'a strict cache', (redis) => {
  test('a hit in memory asks nobody, and lives no longer than its lease', async () => {
    const { cache } = nodeOf(redis.url, freshPrefix('strict'));
    await cache.set('key', 1);
    expect(await cache.get('key')).toBe(1);
    expect(cache.peek('key')).toBe(1);
    await expect.poll(() => cache.peek('key'), { interval: 5, timeout: 2_000 }).toBeUndefined();
    expect(await cache.get('key')).toBe(1);
  });

  test.each<[string, (cache: Cache<number>) => Promise<unknown>, number | undefined]>([
    ['set', (cache) => cache.set('key', 2), 2],
    ['fenced set', (cache) => cache.set('key', 2, { fencingToken: 7n }), 2],
    ['delete', (cache) => cache.delete('key'), undefined],
    ['deleteMany', (cache) => cache.deleteMany(['key']), undefined],
    ['update', (cache) => cache.update('key', () => {}), undefined],
    ['invalidateTag', (cache) => cache.invalidateTag('tag'), undefined],
    ['clear', (cache) => cache.clear(), undefined],
  ])('%s waits until no copy is left anywhere', async (_, write, after) => {
    const name = freshPrefix('strict');
    const [one, two] = [nodeOf(redis.url, name).cache, nodeOf(redis.url, name).cache];
    await one.set('key', 1, { tags: ['tag'] });
    let isDone = false;
    const answers: (number | undefined)[] = [];
    const tookMs = timeOf(() => write(one)).finally(() => {
      isDone = true;
    });
    // The other one copies it again and again, until it may not.
    while (!isDone) {
      answers.push(await two.get('key'));
      if (!isDone) continue;
      answers.pop();
    }
    expect(await two.get('key')).toBe(after);
    expect(two.peek('key')).toBe(after);
    expect(await tookMs).toBeGreaterThan(LEASE_MS);
    const firstNew = answers.findIndex((answer) => answer !== 1);
    const late = firstNew === -1 ? [] : answers.slice(firstNew);
    expect(late.filter((answer) => answer === 1)).toEqual([]);
  });

  test('the source changes only when the last copy has ended, and readers then go to the source', async () => {
    const name = freshPrefix('strict');
    const [writer, reader] = [nodeOf(redis.url, name).cache, nodeOf(redis.url, name).cache];
    let source = 1;
    const load = () => source;
    expect(await reader.getOrLoad('key', load)).toBe(1);
    const sinceMs = performance.now();
    await writer.update('key', async () => {
      expect(performance.now() - sinceMs).toBeGreaterThan(LEASE_MS);
      expect(reader.peek('key')).toBeUndefined();
      source = 2;
      expect(await reader.getOrLoad('key', load)).toBe(2);
      expect(reader.peek('key')).toBeUndefined();
    });
    expect(await reader.getOrLoad('key', load)).toBe(2);
    expect(reader.peek('key')).toBe(2);
  });

  test('while a writer waits its entry is answered from Redis, and kept by nobody', async () => {
    const name = freshPrefix('strict');
    const [writer, reader] = [nodeOf(redis.url, name).cache, nodeOf(redis.url, name).cache];
    await writer.set('key', 1);
    const writing = writer.set('key', 2);
    // The copy of before the reservation ends, and no other takes its place.
    await expect
      .poll(() => reader.get('key').then(() => reader.peek('key')), { interval: 5 })
      .toBeUndefined();
    await writing;
    expect(await reader.get('key')).toBe(2);
  });

  test('a writer that dies while it waits leaves the old entry, and a key that is free again', async () => {
    const name = freshPrefix('strict');
    const dying = nodeOf(redis.url, name, { leaseMs: 600, timeoutMs: 700 });
    const { cache } = nodeOf(redis.url, name);
    await cache.set('key', 1);
    const writing = dying.cache.set('key', 2).catch((error: unknown) => error);
    await expect.poll(() => cache.get('key').then(() => cache.peek('key'))).toBeUndefined();
    dying.client.disconnect();
    expect(await writing).toMatchObject({ code: 'CACHE_TIER_UNREACHABLE' });
    expect(await cache.get('key')).toBe(1);
    await expect
      .poll(() => cache.get('key').then(() => cache.peek('key')), { timeout: 3_000 })
      .toBe(1);
  });

  test('writers who meet end all, and a reservation that was lost is noticed after the commit', async () => {
    const name = freshPrefix('strict');
    const [one, two, reader] = [1, 2, 3].map(() => nodeOf(redis.url, name).cache);
    let source = 0;
    const times = await Promise.all([
      one?.update('key', async () => {
        // The other writer takes over, stores, and is done.
        await two?.set('key', 100);
        expect(await reader?.get('key')).toBe(100);
        source = 2;
      }),
      two?.set('other', 1),
    ]);
    expect(times).toHaveLength(2);
    expect(reader?.peek('key')).toBeUndefined();
    expect(await reader?.getOrLoad('key', () => source)).toBe(2);
  });

  test('a transaction prepares when the last copy has ended, and whoever recovers it waits if need be', async () => {
    const name = freshPrefix('strict');
    const [one, two, reader] = [1, 2, 3].map(() => nodeOf(redis.url, name).cache) as [
      ...[Cache<number>, Cache<number>, Cache<number>],
    ];
    await one.set('key', 1);
    expect(await reader.get('key')).toBe(1);
    const [owner, recoverer] = [one, two].map((cache) =>
      cacheParticipant({ name: 'pages', cache }),
    );
    const transactionId = newTransactionId('order', 'strict');
    const signal = new AbortController().signal;
    const context = { transactionId, branchId: `${transactionId}.1`, timeoutMs: 10_000, signal };
    const branch = await owner?.enlist({ ...context, clock: systemClock });
    await branch?.handle.delete('key');
    const preparing = branch?.prepare();
    expect(await timeOf(async () => preparing)).toBeGreaterThan(LEASE_MS);
    expect(reader.peek('key')).toBeUndefined();
    expect(await reader.get('key')).toBeUndefined();
    // Another writer takes the key over meanwhile, so that copies are made of what comes then.
    await two.set('key', 5);
    expect(await reader.get('key')).toBe(5);
    const vote = await preparing;
    const evidence = vote?.vote === 'yes' ? vote.evidence : '';
    const record = { transactionId, branchId: context.branchId, evidence };
    const tookMs = await timeOf(async () =>
      recoverer?.commit(record as never, { signal } as never),
    );
    expect(tookMs).toBeGreaterThan(LEASE_MS);
    expect(reader.peek('key')).toBeUndefined();
    expect(await reader.get('key')).toBeUndefined();
  });

  test('what a codec writes as bytes comes back as it was, on another node too', async () => {
    const name = freshPrefix('strict');
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    const nodes = [1, 2].map(() => {
      const client = new Redis(redis.url);
      const tiers = [memoryCache(), redisCache({ client })];
      const strict = { consistency: 'strict', strictLeaseMs: LEASE_MS } as const;
      const cache = createCache<unknown>({ name, tiers, ttlMs: 60_000, codec: v8Codec, ...strict });
      cleanups.push(() => cache.close().then(() => client.disconnect()));
      return cache;
    });
    const [writer, reader] = nodes as [Cache<unknown>, Cache<unknown>];
    await writer.set('key', { bytes });
    expect(await reader.get('key')).toEqual({ bytes });
    await writer.update('key', () => {}, { value: { bytes: bytes.toReversed() } });
    expect(await reader.get('key')).toEqual({ bytes: bytes.toReversed() });
    expect(reader.stats().tiers[1]).toMatchObject({ unreadableCount: 0 });
  });

  test('an older fencing token is refused before anybody waits', async () => {
    const { cache } = nodeOf(redis.url, freshPrefix('strict'));
    await cache.set('key', 1, { fencingToken: 7n });
    const tookMs = await timeOf(async () => {
      const refused = cache.set('key', 2, { fencingToken: 6n });
      await expect(refused).rejects.toMatchObject({ code: 'FENCE_STALE' });
    });
    expect(tookMs).toBeLessThan(LEASE_MS);
    expect(await cache.get('key')).toBe(1);
  });

  test('a write that cannot wait so long is refused before anything is sent', async () => {
    const { cache } = nodeOf(redis.url, freshPrefix('strict'));
    const refused = cache.set('key', 1, { timeoutMs: LEASE_MS });
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
