import assert from 'node:assert/strict';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { deferred } from '../core/deferred.js';
import { BOUNDS, LONG_MS, type StagedCacheCase, until } from './cache-stage.js';

/** Several keys at once, and entries whose time is changed. */
export const CACHE_BATCH_CASES: readonly StagedCacheCase[] = [
  [
    'several keys are loaded in one call, those that are missing, each once',
    async (stage) => {
      const cache = await stage.cache<number>();
      const other = await stage.cache<number>();
      const keys = Array.from({ length: 100 }, (_, index) => `key ${index}`);
      await cache.setMany(keys.slice(0, 40).map((key, index) => [key, index] as const));
      const asked: string[][] = [];
      const found = await cache.getOrLoadMany([...keys, ...keys], async (missing) => {
        asked.push([...missing]);
        return missing.filter((key) => key !== 'key 99').map((key) => [key, -1] as const);
      });
      assert.deepEqual(
        asked.map((each) => each.toSorted()),
        [keys.slice(40).toSorted()],
      );
      assert.equal(found.size, 99);
      assert.equal(found.get('key 7'), 7);
      assert.equal(found.get('key 98'), -1);
      assert.equal((await other.getMany(keys)).size, 99);
      assert.equal(cache.stats().requestCount, 100);
      await other.deleteMany(keys.slice(1));
      assert.equal(await other.get('key 98'), undefined);
      await until('the values to go', async () => (await cache.getMany(keys)).size === 1);
    },
  ],
  [
    'batches that overlap load each key once, also those of two nodes',
    async (stage) => {
      const [a, b] = [await stage.cache<string>(), await stage.cache<string>()];
      const loads: string[] = [];
      const begun = deferred<void>();
      const loader = async (missing: readonly string[]) => {
        loads.push(...missing);
        begun.resolve();
        await sleep(systemClock, 30);
        return missing.map((key) => [key, `value of ${key}`] as const);
      };
      const first = a.getOrLoadMany(['1', '2', '3'], loader);
      await begun.promise;
      const rest = [a.getOrLoadMany(['2', '3', '4'], loader), b.getOrLoadMany(['3', '5'], loader)];
      for (const found of [await first, ...(await Promise.all(rest))]) {
        for (const [key, value] of found) assert.equal(value, `value of ${key}`);
      }
      assert.deepEqual(loads.toSorted(), ['1', '2', '3', '4', '5']);
    },
  ],
  [
    'an entry is extended where it is the one that was hit, and never shortened by that',
    async (stage) => {
      const a = await stage.tier();
      const b = await stage.tier();
      const leftMs = async (): Promise<number> => (await a.read('key'))?.remainingMs ?? 0;
      const extend = (ttlMs: number, mark: string, key = 'key') =>
        b.tier.extend(key, ttlMs, mark, BOUNDS);
      await a.put('key', 'text "s":[1,20]', LONG_MS / 2);
      assert.equal(await extend(LONG_MS, '"s":[1,21]'), 'unchanged');
      assert.equal(await extend(LONG_MS / 10, '"s":[1,20]'), 'unchanged');
      assert.ok((await leftMs()) > LONG_MS / 4 && (await leftMs()) <= LONG_MS / 2);
      assert.equal(await extend(LONG_MS, '"s":[1,20]'), 'extended');
      assert.ok((await leftMs()) > LONG_MS / 2, `${await leftMs()} ms are left`);
      assert.equal(await a.textOf('key'), 'text "s":[1,20]');
      assert.equal(await extend(LONG_MS, '"s":[1,20]', 'none'), 'unchanged');
      await a.put('key', 'new "s":[1,22]', LONG_MS / 2);
      assert.equal(await extend(LONG_MS, '"s":[1,20]'), 'unchanged');
      assert.ok((await leftMs()) <= LONG_MS / 2);
    },
  ],
  [
    'an entry that is touched lasts for the time that it is given, and nothing is made of none',
    async (stage) => {
      const a = await stage.tier();
      const b = await stage.tier();
      await a.put('key', 'text', 3_000);
      const touched = await b.tier.touch('key', LONG_MS, BOUNDS);
      assert.ok(touched !== undefined);
      const remainingMs = (await a.read('key'))?.remainingMs ?? 0;
      assert.ok(remainingMs > LONG_MS / 2, `${remainingMs} ms are left`);
      assert.equal(await a.textOf('key'), 'text');
      assert.equal(await b.tier.touch('none', LONG_MS, BOUNDS), undefined);
      assert.equal(await a.read('none'), undefined);
      await a.tier.clear(BOUNDS);
      assert.equal(await b.tier.touch('key', LONG_MS, BOUNDS), undefined);
    },
  ],
];
