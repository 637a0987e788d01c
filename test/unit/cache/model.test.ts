import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, test } from 'vitest';
import { type Cache, createCache, type LoadContext } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { virtualClock } from '../../../src/testing.js';
import { sharedMemory } from './shared-memory.js';

// Goal: nothing that a sequence of calls can bring about distinguishes the cache from a naive one
// that is written down in thirty lines here, neither by answers nor by counters. Method: random
// sequences over two nodes, three keys and a clock, on each arrangement of tiers.

const TTL_MS = 1_000;
const LOCAL_TTL_MS = 300;
const KEYS = ['a', 'b', '🎉{}'];
const TAGS = ['a', 'tag'];

type Verb = keyof typeof VERBS;

interface Step {
  readonly do: Verb | 'wait';
  readonly node: number;
  readonly key: number;
  readonly ttlMs: number;
  readonly ms: number;
  readonly tag: string;
}

interface Slot {
  value: number;
  endMs: number;
  /** The version that its tag had when it was stored. */
  tag?: TagVersion | undefined;
}

interface TagVersion {
  readonly name: string;
  readonly version: number;
}

/** Every tag's version, which all nodes share; one that is not here has version 0. */
type Tags = Map<string, number>;

/** The naive cache of one node: a map, before a map that all nodes share. */
class Model {
  hits = 0;
  misses = 0;
  loads = 0;
  failures = 0;
  readonly tierHits = [0, 0];
  readonly tierMisses = [0, 0];
  readonly near = new Map<number, Slot>();
  /** The versions that this node has seen last. */
  readonly nearTags: Tags = new Map();
  constructor(
    readonly shared: Map<number, Slot>,
    readonly tags: Tags,
    readonly hasNear: boolean,
    readonly now: () => number,
  ) {}

  live(map: Map<number, Slot>, key: number): Slot | undefined {
    const slot = map.get(key);
    if (slot === undefined || slot.endMs <= this.now()) return undefined;
    const { tag } = slot;
    const known = map === this.near ? this.nearTags : this.tags;
    return tag === undefined || known.get(tag.name) === tag.version ? slot : undefined;
  }
  keepNear(key: number, { value, tag }: Slot, leftMs: number): void {
    const endMs = this.now() + Math.min(leftMs, LOCAL_TTL_MS);
    if (!this.hasNear) return;
    this.near.set(key, { value, endMs, tag });
    if (tag !== undefined) this.nearTags.set(tag.name, tag.version);
  }
  /** Nothing that carries the tag is good any more: here at once, on other nodes with their copies. */
  renew(tag: string): void {
    this.tags.set(tag, (this.tags.get(tag) ?? 0) + 1);
    this.nearTags.delete(tag);
  }
  clear(): void {
    for (const tag of TAGS) this.renew(tag);
    this.near.clear();
    this.shared.clear();
  }
  touch(key: number, ttlMs: number): boolean {
    const slot = this.live(this.shared, key);
    this.near.delete(key);
    if (slot !== undefined) slot.endMs = this.now() + ttlMs;
    return slot !== undefined;
  }
  lookNear(key: number): Slot | undefined {
    return this.hasNear ? this.live(this.near, key) : undefined;
  }
  look(key: number, isDeep: boolean, near: Slot | undefined): number | undefined {
    if (this.hasNear) this.countTier(0, near);
    if (near !== undefined || !isDeep) return near?.value;
    const slot = this.live(this.shared, key);
    this.countTier(this.hasNear ? 1 : 0, slot);
    if (slot !== undefined) this.keepNear(key, slot, slot.endMs - this.now());
    return slot?.value;
  }
  countTier(tier: 0 | 1, slot: Slot | undefined): void {
    const counts = slot === undefined ? this.tierMisses : this.tierHits;
    counts[tier] = (counts[tier] ?? 0) + 1;
  }
  /** What is near is looked at first for all keys. */
  getAll(keys: readonly number[]): (number | undefined)[] {
    const near = keys.map((key) => this.lookNear(key));
    return keys.map((key, index) => this.get(key, true, near[index]));
  }
  get(key: number, isDeep = true, near: Slot | undefined = this.lookNear(key)): number | undefined {
    const value = this.look(key, isDeep, near);
    if (value === undefined) this.misses += 1;
    else this.hits += 1;
    return value;
  }
  put(key: number, value: number, ttlMs: number, name?: string): void {
    const tag = name === undefined ? undefined : { name, version: this.tags.get(name) ?? 0 };
    if (tag !== undefined) this.tags.set(tag.name, tag.version);
    const slot = { value, endMs: this.now() + ttlMs, tag };
    this.shared.set(key, slot);
    this.keepNear(key, slot, ttlMs);
  }
  drop(key: number): void {
    this.near.delete(key);
    this.shared.delete(key);
  }
}

/** One step on one node, with what both caches are given. */
interface Turn extends Step {
  readonly cache: Cache<number>;
  readonly model: Model;
  readonly arrangement: Arrangement;
  readonly name: string;
  readonly value: number;
}

type Arrangement = 'memory' | 'shared' | 'both';

/** What each step does to both, and that both answer the same. */
const VERBS = {
  async get({ cache, model, name, key }: Turn) {
    assert.equal(await cache.get(name), model.get(key));
  },
  async peek({ cache, model, name, key, arrangement }: Turn) {
    // Without a memory tier there is nowhere to look.
    const known = arrangement === 'shared' ? undefined : model.get(key, arrangement === 'memory');
    if (arrangement === 'shared') model.misses += 1;
    assert.equal(cache.peek(name), known);
  },
  async has({ cache, model, name, key }: Turn) {
    const near = model.hasNear ? model.live(model.near, key) : undefined;
    assert.equal(await cache.has(name), (near ?? model.live(model.shared, key)) !== undefined);
  },
  async delete({ cache, model, name, key }: Turn) {
    await cache.delete(name);
    model.drop(key);
  },
  async clear({ cache, model }: Turn) {
    await cache.clear();
    model.clear();
  },
  async tag({ cache, model, name, key, value, ttlMs, tag }: Turn) {
    await cache.set(name, value, { ttlMs, tags: [tag] });
    model.put(key, value, ttlMs, tag);
  },
  async loadTagged({ cache, model, name, key, value, ttlMs, tag }: Turn) {
    const known = model.get(key);
    const load = ({ setTags }: LoadContext): number => {
      setTags([tag]);
      return value;
    };
    assert.equal(await cache.getOrLoad(name, load, { ttlMs }), known ?? value);
    if (known !== undefined) return;
    model.loads += 1;
    model.put(key, value, ttlMs, tag);
  },
  async invalidateTag({ cache, model, tag }: Turn) {
    await cache.invalidateTag(tag);
    model.renew(tag);
  },
  async touch({ cache, model, name, key, ttlMs }: Turn) {
    assert.equal(await cache.touch(name, { ttlMs }), model.touch(key, ttlMs));
  },
  async getMany({ cache, model }: Turn) {
    const found = await cache.getMany(KEYS);
    const known = model.getAll(Array.from(KEYS.keys()));
    for (const [key, name] of KEYS.entries()) assert.equal(found.get(name), known[key]);
  },
  async loadMany({ cache, model, value, ttlMs, tag }: Turn) {
    const asked: string[][] = [];
    const load: Parameters<typeof cache.getOrLoadMany>[1] = (names, { of }) => {
      asked.push([...names]);
      for (const name of names) of(name).setTags([tag]);
      return names.map((name) => [name, value] as const);
    };
    const found = await cache.getOrLoadMany(KEYS, load, { ttlMs });
    const known = model.getAll(Array.from(KEYS.keys()));
    const missing = KEYS.filter((name, key) => {
      assert.equal(found.get(name), known[key] ?? value);
      return known[key] === undefined;
    });
    assert.deepEqual(asked, missing.length === 0 ? [] : [missing]);
    for (const name of missing) model.put(KEYS.indexOf(name), value, ttlMs, tag);
    model.loads += missing.length;
  },
  async deleteMany({ cache, model, name, key }: Turn) {
    await cache.deleteMany([name, 'c']);
    model.drop(key);
    model.drop(KEYS.length);
  },
  async set({ cache, model, name, key, value, ttlMs }: Turn) {
    await cache.set(name, value, { ttlMs });
    model.put(key, value, ttlMs);
  },
  async update({ cache, model, name, key, value }: Turn) {
    assert.equal(await cache.update(name, () => value), value);
    model.drop(key);
  },
  async load({ cache, model, name, key, value, ttlMs }: Turn) {
    const known = model.get(key);
    assert.equal(await cache.getOrLoad(name, () => value, { ttlMs }), known ?? value);
    if (known !== undefined) return;
    model.loads += 1;
    model.put(key, value, ttlMs);
  },
  async none({ cache, model, name, key }: Turn) {
    const known = model.get(key);
    assert.equal(await cache.getOrLoad(name, () => undefined), known);
    if (known === undefined) model.loads += 1;
  },
  async fail({ cache, model, name, key }: Turn) {
    const known = model.get(key);
    const load = (): number => {
      throw new Error('source');
    };
    const answer = await cache.getOrLoad(name, load).catch((error) => error.message);
    assert.equal(answer, known ?? 'source');
    if (known !== undefined) return;
    model.loads += 1;
    model.failures += 1;
  },
};

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    do: fc.constantFrom<Step['do'][]>('wait', ...(Object.keys(VERBS) as Verb[])),
    node: fc.nat({ max: 1 }),
    key: fc.nat({ max: KEYS.length - 1 }),
    ttlMs: fc.constantFrom(100, 250, TTL_MS),
    ms: fc.integer({ min: 1, max: 400 }),
    tag: fc.constantFrom(...TAGS),
  }),
  { maxLength: 60 },
);

async function play(arrangement: Arrangement, sequence: readonly Step[]): Promise<void> {
  const clock = virtualClock();
  const memory = memoryCache();
  const shared = sharedMemory(clock);
  const far = new Map<number, Slot>();
  const versions: Tags = new Map();
  const nodes = [0, 1].map(() => {
    const tiers = { memory: [memory], shared: [shared], both: [memoryCache(), shared] };
    const times = { ttlMs: TTL_MS, localTtlMs: LOCAL_TTL_MS, clock };
    const options = { name: 'model', tiers: tiers[arrangement], ...times };
    return {
      cache: createCache<number>(options),
      model: new Model(far, versions, arrangement === 'both', () => clock.monotonicMs()),
    };
  });
  for (const [index, step] of sequence.entries()) {
    const node = nodes[step.node];
    const name = KEYS[step.key];
    assert.ok(node !== undefined && name !== undefined);
    if (step.do === 'wait') await clock.advance(step.ms);
    else await VERBS[step.do]({ ...step, ...node, arrangement, name, value: index });
  }
  for (const { cache, model } of nodes) assertSameCounts(arrangement, cache, model);
  for (const { cache } of nodes) await cache.close();
  assert.equal(clock.timerCount, 0, 'nothing is left behind');
}

function assertSameCounts(arrangement: Arrangement, cache: Cache<number>, model: Model): void {
  const stats = cache.stats();
  const { hits, misses, loads, failures, tierHits, tierMisses } = model;
  const counted = [stats.hitCount, stats.missCount, stats.loadCount, stats.loadFailureCount];
  assert.deepEqual(counted, [hits, misses, loads, failures]);
  assert.equal(stats.requestCount, hits + misses);
  assert.equal(stats.hitRate, hits + misses === 0 ? undefined : hits / (hits + misses));
  assert.equal(stats.coalescedCount, 0);
  stats.tiers.forEach((tier, index) => {
    // One tier in memory is asked once for each request: it counts as the cache does.
    const isAlone = arrangement === 'memory';
    assert.equal(tier.hitCount, isAlone ? hits : tierHits[index]);
    assert.equal(tier.missCount, isAlone ? misses : tierMisses[index]);
    assert.equal(tier.requestCount, tier.hitCount + tier.missCount);
  });
}

describe('a cache and a naive cache cannot be told apart', () => {
  test.each(['memory', 'shared', 'both'] as const)('over the tiers: %s', async (arrangement) => {
    const property = fc.asyncProperty(steps, (sequence) => play(arrangement, sequence));
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    await fc.assert(property, { numRuns: 300, seed });
  });
});
