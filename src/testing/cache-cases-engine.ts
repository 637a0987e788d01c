import assert from 'node:assert/strict';
import type { Cache } from '../cache/cache.js';
import { sleep } from '../core/abort.js';
import { systemClock } from '../core/clock.js';
import { deferred } from '../core/deferred.js';
import { seededRandom, systemRandom } from '../core/random.js';
import type { CacheStage, StagedCacheCase } from './cache-stage.js';

/** One of each kind of value, and nested. */
export const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -0,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  1.5e-300,
  12345678901234567890n,
  '',
  'text 🎉 \n \u2028 "',
  [],
  {},
  [null, [undefined, [-0]]],
  { a: undefined, 'b c': { d: [1n] } },
  { $date: 1 },
  { a: { $date: 1 }, b: 1n },
  JSON.parse('{"__proto__":{"polluted":true}}'),
  Object.assign(Object.create(null), { bare: 1 }),
  new Map<unknown, unknown>([
    ['k', new Set([Number.NaN, 2n])],
    [{ complex: 'key' }, undefined],
  ]),
  new Uint8Array([0, 255, 128]),
  Buffer.from('bytes'),
  { at: new globalThis.Date(1_700_000_000_000) },
];

/** The race that makes other caches stale, between one cache that reads and one that writes. */
async function staleSetRace(reader: Cache<string>, writer: Cache<string>): Promise<void> {
  let source = 'OLD';
  let loads = 0;
  const loaded = deferred<void>();
  const written = deferred<void>();
  const reading = reader.getOrLoad('key', async () => {
    const value = source;
    loads += 1;
    if (loads === 1) {
      loaded.resolve();
      await written.promise;
    }
    return value;
  });
  await loaded.promise;
  source = 'NEW';
  await writer.delete('key');
  // This caller comes after the acknowledgement, and may join the load that began before it.
  const later = reader.getOrLoad('key', () => source);
  written.resolve();
  await reading;
  assert.equal(await later, 'NEW', 'a read that began after the delete was acknowledged');
  assert.notEqual(await reader.get('key'), 'OLD');
  assert.notEqual(await writer.get('key'), 'OLD');
  assert.ok(reader.stats().refusedFillCount >= 1, 'the fill was refused');
}

/** Readers and writers at random; every read is checked against what was acknowledged before it. */
async function storm(stage: CacheStage): Promise<void> {
  const seed = Number(systemRandom.fraction() * 2 ** 32) >>> 0;
  const random = seededRandom(seed);
  const nodes = await Promise.all([1, 2, 3].map(() => stage.cache<number>()));
  const keys = ['a', 'b'];
  const committed = new Map(keys.map((key) => [key, 0]));
  const acknowledged = new Map(keys.map((key) => [key, 0]));
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random.fraction() * from.length)] as T;
  const pause = () => sleep(systemClock, random.fraction() * 3);
  const write = async (): Promise<void> => {
    const [node, key] = [pick(nodes), pick(keys)];
    let version = 0;
    const commit = async () => {
      await pause();
      version = (committed.get(key) ?? 0) + 1;
      committed.set(key, version);
      await pause();
    };
    if (random.fraction() < 0.5) await node.update(key, commit);
    else {
      await commit();
      await node.delete(key);
    }
    acknowledged.set(key, Math.max(acknowledged.get(key) ?? 0, version));
  };
  const read = async (): Promise<void> => {
    const [node, key] = [pick(nodes), pick(keys)];
    const atLeast = acknowledged.get(key) ?? 0;
    const load = async (): Promise<number> => {
      await pause();
      const found = committed.get(key) ?? 0;
      await pause();
      return found;
    };
    // Says nothing new to a tier whose every read is; others promise it only when they are asked.
    const value = await node.getOrLoad(key, load, { consistency: 'linearizable' });
    assert.ok(value >= atLeast, `seed ${seed}: read ${value} of ${key} after ${atLeast}`);
  };
  const worker = async (step: () => Promise<void>, count: number): Promise<void> => {
    for (let i = 0; i < count; i += 1) {
      await step();
      await pause();
    }
  };
  await Promise.all([
    ...Array.from({ length: 12 }, () => worker(read, 60)),
    ...Array.from({ length: 2 }, () => worker(write, 40)),
  ]);
}

/** What a cache over the driver promises. */
export const CACHE_ENGINE_CASES: readonly StagedCacheCase[] = [
  [
    'a reader that loaded the old value cannot store it after the writer deleted, on one node',
    async (stage) => {
      const cache = await stage.cache<string>();
      await staleSetRace(cache, cache);
    },
  ],
  [
    'a reader that loaded the old value cannot store it after the writer deleted, on two nodes',
    async (stage) => staleSetRace(await stage.cache<string>(), await stage.cache<string>()),
  ],
  [
    'no read that begins after an acknowledged write answers an older value, under a random load',
    storm,
  ],
  [
    'a linearizable read on another node sees every write that was acknowledged before it',
    async (stage) => {
      const writer = await stage.cache<number>();
      const reader = await stage.cache<number>();
      const now = { consistency: 'linearizable' } as const;
      for (let value = 1; value <= 20; value += 1) {
        await writer.set('key', value);
        assert.equal(await reader.get('key', now), value);
        if (value % 5 !== 0) continue;
        await writer.delete('key');
        assert.equal(await reader.getOrLoad('key', () => -value, now), -value);
      }
    },
  ],
  [
    'many writes of one key at once are all acknowledged, and one of them is what stays',
    async (stage) => {
      const nodes = await Promise.all([1, 2].map(() => stage.cache<number>()));
      const [a, b] = nodes as [Cache<number>, Cache<number>];
      const writes = Array.from({ length: 40 }, (_, i) => nodes[i % 2]?.set('key', i));
      await Promise.all(writes);
      const now = { consistency: 'linearizable' } as const;
      const left = await a.get('key', now);
      assert.ok(left !== undefined && left >= 0 && left < 40, `${left} is left`);
      assert.equal(await b.get('key', now), left);
      const failures = nodes.map((node) => node.stats().tiers[0]?.failureCount);
      assert.deepEqual(failures, [0, 0], 'that others write is no failure of the tier');
    },
  ],
  [
    'of two updates at once the value of the one that committed first never stays',
    async (stage) => {
      const outer = await stage.cache<number>();
      const inner = await stage.cache<number>();
      for (let version = 2; version <= 10; version += 2) {
        let source = 0;
        const commitInner = () => {
          source = version;
        };
        const commitOuter = async () => {
          source = version - 1;
          await inner.update('key', commitInner, { value: version });
        };
        await outer.update('key', commitOuter, { value: version - 1 });
        for (const node of [outer, inner]) {
          assert.notEqual(await node.get('key'), version - 1);
          assert.equal(await node.getOrLoad('key', () => source), version);
        }
      }
    },
  ],
  [
    'cold reads on four nodes at once call the loader once',
    async (stage) => {
      const nodes = await Promise.all([1, 2, 3, 4].map(() => stage.cache<string>()));
      let loads = 0;
      const loader = async () => {
        loads += 1;
        await sleep(systemClock, 50);
        return 'value';
      };
      const reads = Array.from({ length: 100 }, (_, i) => nodes[i % 4]?.getOrLoad('key', loader));
      assert.deepEqual(new Set(await Promise.all(reads)), new Set(['value']));
      assert.equal(loads, 1);
    },
  ],
  [
    'every kind of value comes back exactly, on the node that wrote and on another',
    async (stage) => {
      const a = await stage.cache<unknown>();
      const b = await stage.cache<unknown>();
      for (const [index, value] of VALUES.entries()) {
        const key = `value ${index}`;
        await a.set(key, value);
        assert.deepStrictEqual(await a.get(key), value, key);
        assert.deepStrictEqual(await b.get(key), value, key);
        const load = () => value as string;
        assert.deepStrictEqual(await b.getOrLoad(`loaded ${index}`, load), value, key);
      }
    },
  ],
  [
    'what a writer or a reader does to an object changes nothing in the cache',
    async (stage) => {
      const cache = await stage.cache<{ list: number[]; at: Set<number> }>();
      const mine = { list: [1], at: new Set([1]) };
      await cache.set('key', mine);
      mine.list.push(2);
      mine.at.add(2);
      const first = await cache.get('key');
      first?.at.add(3);
      assert.throws(() => first?.list.push(3), TypeError);
      assert.deepStrictEqual(await cache.get('key'), { list: [1], at: new Set([1]) });
    },
  ],
  [
    'an error of the loader reaches everybody who waits, once, and is not stored',
    async (stage) => {
      const cache = await stage.cache<string>();
      const failure = new Error('the source is down');
      let loads = 0;
      const failing = async (): Promise<string> => {
        loads += 1;
        await sleep(systemClock, 20);
        throw failure;
      };
      const reads = Array.from({ length: 50 }, () => cache.getOrLoad('key', failing));
      for (const { status, ...result } of await Promise.allSettled(reads)) {
        assert.deepEqual({ status, ...result }, { status: 'rejected', reason: failure });
      }
      assert.equal(loads, 1);
      assert.equal(await cache.getOrLoad('key', () => 'back'), 'back');
    },
  ],
  [
    'reads during the commit of an update answer but store nothing, and the old entry is gone',
    async (stage) => {
      const writer = await stage.cache<string>();
      const reader = await stage.cache<string>();
      await writer.set('key', 'old');
      const result = await writer.update('key', async () => {
        assert.equal(await reader.get('key'), undefined);
        assert.equal(await reader.getOrLoad('key', () => 'uncommitted'), 'uncommitted');
        assert.equal(await reader.get('key'), undefined);
        return 42;
      });
      assert.equal(result, 42);
      assert.equal(await reader.getOrLoad('key', () => 'new'), 'new');
      assert.equal(await writer.get('key'), 'new');
    },
  ],
];
