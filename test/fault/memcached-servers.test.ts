// One of several Memcached servers is killed and comes back empty: what it held is gone, and what the
// others hold never answers stale because of that.

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseAddresses } from '../../src/drivers/memcached/addresses.js';
import { memcachedKeys } from '../../src/drivers/memcached/keys.js';
import { hashRing } from '../../src/drivers/memcached/ring.js';
import { type Cache, createCache, systemClock, systemRandom } from '../../src/index.js';
import { memcachedCache } from '../../src/memcached.js';
import type { ServerHandle } from '../servers/handle.js';
import { startServer } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const NAME = 'servers';
const HARD_TIMEOUT_MS = 300;
const WRITE_TIMEOUT_MS = 1_000;
/** What a promised bound may be exceeded by: the machine's own delays. */
const ALLOWANCE_MS = 200;
const BOUNDS = { timeoutMs: 2_000 };

let servers: readonly ServerHandle[] = [];
const opened: { close(): Promise<void> }[] = [];
beforeEach(async () => {
  servers = await Promise.all([1, 2, 3].map(() => startServer('memcached')));
});
afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
  await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
});

const urls = (): string[] => servers.map(({ url }) => url);

function openCache(): Cache<string> {
  const cache = createCache<string>({
    name: NAME,
    tiers: [memcachedCache({ servers: urls() })],
    ttlMs: 60_000,
    hardTimeoutMs: HARD_TIMEOUT_MS,
    timeoutMs: WRITE_TIMEOUT_MS,
    // It would pass by the servers that are well.
    breaker: false,
  });
  opened.push(cache);
  return cache;
}

function openTier() {
  const node = { name: NAME, clock: systemClock, random: systemRandom };
  const tier = memcachedCache({ servers: urls() }).open(node);
  opened.push(tier);
  return tier;
}

const keys = memcachedKeys(NAME, 'default');
const serverAt = (at: number): ServerHandle => servers[at] as ServerHandle;

/** Which server has an item. */
const placeOf = (item: string): number => hashRing(parseAddresses(urls()))(item);

/** Names whose items live on one server. */
function namesOn(at: number, itemOf: (name: string) => string, count: number): readonly string[] {
  const indexOf = hashRing(parseAddresses(urls()));
  const names = Array.from({ length: 1_000 }, (_, index) => `name-${index}`);
  return names.filter((name) => indexOf(itemOf(name)) === at).slice(0, count);
}

const tagOn = (at: number): string => namesOn(at, keys.tag, 1)[0] ?? '';
const keysOn = (at: number, count: number): readonly string[] =>
  namesOn(at, (key) => keys.item(key).text, count);

async function within(boundMs: number, call: () => Promise<unknown>): Promise<number> {
  const sinceMs = performance.now();
  await call();
  const tookMs = performance.now() - sinceMs;
  expect(tookMs).toBeLessThan(boundMs + ALLOWANCE_MS);
  return tookMs;
}

/** Waits until a cache is connected to a server again. */
const isBack = (cache: Cache<string>, key: string) =>
  expect
    .poll(
      () =>
        cache.set(key, 'back').then(
          () => 'back',
          () => 'away',
        ),
      { timeout: 5_000 },
    )
    .toBe('back');

describe('one of three memcached is killed and comes back empty [memcached]', () => {
  test('what the others hold with a tag that was on it is a miss from then on', async () => {
    const cache = openCache();
    const tag = tagOn(0);
    const ofOthers = [...keysOn(1, 3), ...keysOn(2, 3)];
    const ownKeys = keysOn(0, 3);
    const all = [...ofOthers, ...ownKeys];
    await cache.setMany(
      all.map((key) => [key, 'OLD'] as const),
      { tags: [tag] },
    );
    const [untagged = ''] = keysOn(1, 4).slice(3);
    await cache.set(untagged, 'kept');
    expect((await cache.getMany(all)).size).toBe(all.length);

    await serverAt(0).kill();
    const missMs = await within(HARD_TIMEOUT_MS, async () => {
      expect((await cache.getMany(all)).size).toBe(0);
    });
    const loadMs = await within(HARD_TIMEOUT_MS, async () => {
      expect(await cache.getOrLoad(all[0] ?? '', () => 'SOURCE', { tags: [tag] })).toBe('SOURCE');
    });
    measured(
      `memcached, one of three killed: ${all.length} tagged reads after ${missMs.toFixed(0)} ms, ` +
        `getOrLoad after ${loadMs.toFixed(0)} ms (bound ${HARD_TIMEOUT_MS} + ${ALLOWANCE_MS})`,
    );
    // The invalidation of a tag whose server is down was not acknowledged, and is told in time.
    await within(WRITE_TIMEOUT_MS, () =>
      expect(cache.invalidateTag(tag)).rejects.toMatchObject({
        code: 'CACHE_TIER_UNREACHABLE',
      }),
    );
    expect(await cache.get(untagged)).toBe('kept');

    await serverAt(0).restart();
    await isBack(cache, keysOn(0, 4)[3] ?? '');
    const fresh = openCache();
    for (const key of ofOthers) expect(await fresh.get(key)).toBeUndefined();
    // Also when the tag has a version again.
    await fresh.set(ownKeys[1] ?? '', 'NEW', { tags: [tag] });
    expect(await cache.get(ownKeys[1] ?? '')).toBe('NEW');
    for (const key of ofOthers) expect(await cache.get(key)).toBeUndefined();
    expect(await fresh.get(untagged)).toBe('kept');
    for (const key of ofOthers) {
      expect(await cache.getOrLoad(key, () => 'NEW', { tags: [tag] })).toBe('NEW');
    }
    await fresh.invalidateTag(tag);
    expect((await cache.getMany(all)).size).toBe(0);
  });

  test('a version of a tag, and the epoch, never come again', async () => {
    const tier = openTier();
    const tag = tagOn(0);
    const tags = tier.tags;
    if (tags === undefined) throw new Error('it has tags');
    const seen: string[] = [];
    const stamp = () => tags.stamp([tag], 60_000, BOUNDS).catch(() => undefined);
    for (let life = 0; life < 4; life += 1) {
      await expect.poll(stamp, { timeout: 5_000 }).toBeDefined();
      for (let turn = 0; turn < 3; turn += 1) {
        const { versions, epoch } = await tags.stamp([tag], 60_000, BOUNDS);
        seen.push(...versions, epoch);
        await tags.renew([tag], BOUNDS);
      }
      // Each of them, so that the server of the epoch is among them.
      for (const server of servers) await server.kill();
      for (const server of servers) await server.restart();
    }
    expect(seen).toHaveLength(24);
    expect(new Set(seen).size).toBe(24);
  });

  test('a load that it interrupts is not stored with tags of before', async () => {
    const cache = openCache();
    const other = openCache();
    const tag = tagOn(0);
    const [key = ''] = keysOn(1, 1);
    let source = 'OLD';
    let loads = 0;
    const value = await cache.getOrLoad(
      key,
      async ({ setTags }) => {
        const found = source;
        loads += 1;
        setTags([tag]);
        if (loads > 1) return found;
        source = 'NEW';
        for (const server of servers.slice(0, 1)) {
          await server.kill();
          await server.restart();
        }
        await isBack(other, keysOn(0, 1)[0] ?? '');
        await other.invalidateTag(tag);
        return found;
      },
      { timeoutMs: 20_000 },
    );
    expect(['OLD', 'NEW']).toContain(value);
    expect(await other.get(key)).not.toBe('OLD');
    expect(await other.getOrLoad(key, () => source, { tags: [tag] })).toBe('NEW');
  });

  test('a clear that it missed holds for what it held, and for the others', async () => {
    const cache = openCache();
    const all = [0, 1, 2].flatMap((at) => keysOn(at, 2));
    await cache.setMany(all.map((key) => [key, 'OLD'] as const));
    await serverAt(0).kill();
    await within(WRITE_TIMEOUT_MS, () =>
      expect(cache.clear()).rejects.toMatchObject({
        code: 'CACHE_TIER_UNREACHABLE',
      }),
    );
    await serverAt(0).restart();
    await isBack(cache, keysOn(0, 3)[2] ?? '');
    const found = await cache.getMany(all);
    expect([...found]).toEqual([]);
  });
});

describe('one of three memcached is frozen [memcached]', () => {
  test('reads of the others go on and are stored, and no call takes longer than it may', async () => {
    const cache = openCache();
    // The one that every lease asks for the epoch of the tags.
    const frozen = placeOf(keys.epoch);
    const [key = '', cold = ''] = keysOn((frozen + 1) % 3, 2);
    const [onFrozen = ''] = keysOn(frozen, 1);
    await cache.setMany([key, onFrozen].map((each) => [each, 'value'] as const));
    await serverAt(frozen).pause();
    const warmMs = await within(0, async () => expect(await cache.get(key)).toBe('value'));
    const coldMs = await within(HARD_TIMEOUT_MS, async () => {
      expect(await cache.getOrLoad(cold, () => 'source')).toBe('source');
    });
    expect(await cache.get(cold)).toBe('source');
    const frozenMs = await within(HARD_TIMEOUT_MS, async () => {
      expect(await cache.getOrLoad(onFrozen, () => 'source')).toBe('source');
    });
    await within(WRITE_TIMEOUT_MS, () =>
      expect(cache.invalidateTag(tagOn(frozen))).rejects.toMatchObject({
        code: 'CACHE_TIER_UNREACHABLE',
      }),
    );
    measured(
      `memcached, one of three frozen: warm read ${warmMs.toFixed(0)} ms, cold on another ` +
        `${coldMs.toFixed(0)} ms, on it ${frozenMs.toFixed(0)} ms (bound ${HARD_TIMEOUT_MS})`,
    );
    await serverAt(frozen).resume();
  });
});
