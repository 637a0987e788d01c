import assert from 'node:assert/strict';
import type { Cache, LoadContext } from '../cache/cache.js';
import type { TierTags } from '../cache/driver.js';
import { deferred } from '../core/deferred.js';
import {
  BOUNDS,
  LONG_MS,
  newToken,
  type StagedCacheCase,
  type StagedTier,
  until,
} from './cache-stage.js';

/** Tags that a driver could mix up, cut or misread. */
const HOSTILE_TAGS: readonly string[] = [
  'plain',
  'with space',
  'a:b',
  '{a}',
  '}{',
  '%',
  'epoch',
  'new\nline',
  '🎉',
  '../x',
  't'.repeat(256),
  '🎉'.repeat(64),
];

function tagsOf({ tier }: StagedTier): TierTags {
  assert.ok(tier.tags !== undefined, 'the tier has tags');
  return tier.tags;
}

/** A load that is overtaken by an invalidation of a tag that it turns out to carry. */
async function overtakenLoad(
  reader: Cache<string>,
  writer: Cache<string>,
  load: { setTags: boolean; options: { tags?: readonly string[] } },
): Promise<void> {
  let source = 'OLD';
  const loaded = deferred<void>();
  const written = deferred<void>();
  const loader = async ({ setTags }: LoadContext) => {
    const value = source;
    loaded.resolve();
    if (value === 'OLD') await written.promise;
    if (load.setTags) setTags(['tag']);
    return value;
  };
  const reading = reader.getOrLoad('key', loader, load.options);
  await loaded.promise;
  source = 'NEW';
  await writer.invalidateTag('tag');
  const later = reader.getOrLoad('key', loader, load.options);
  written.resolve();
  await reading;
  assert.equal(await later, 'NEW', 'a read that began after the invalidation was acknowledged');
  assert.notEqual(await reader.get('key'), 'OLD');
  assert.notEqual(await writer.get('key'), 'OLD');
  assert.ok(reader.stats().refusedFillCount >= 1, 'the fill was refused');
}

/** Tags: what carries one is invalidated with it. */
export const CACHE_TAG_CASES: readonly StagedCacheCase[] = [
  [
    'the version of a tag stays until it is renewed, and none comes twice',
    async (stage) => {
      const a = tagsOf(await stage.tier());
      const b = tagsOf(await stage.tier());
      assert.deepEqual(await a.versions(['x', 'y'], BOUNDS), [undefined, undefined]);
      const seen = new Set<string>();
      for (let round = 0; round < 5; round += 1) {
        const { versions } = await a.stamp(['x', 'y'], LONG_MS, BOUNDS);
        assert.deepEqual((await b.stamp(['x'], LONG_MS, BOUNDS)).versions, versions.slice(0, 1));
        assert.deepEqual(await b.versions(['y', 'x'], BOUNDS), versions.toReversed());
        assert.ok(!seen.has(versions[0] ?? ''), 'a version that was there before');
        seen.add(versions[0] ?? '');
        await b.renew(['x'], BOUNDS);
        assert.equal((await a.stamp(['y'], LONG_MS, BOUNDS)).versions[0], versions[1]);
      }
    },
  ],
  [
    'the epoch of a lease is that of a later stamp, until a tag is renewed or the cache is cleared',
    async (stage) => {
      const a = await stage.tier();
      const b = await stage.tier();
      const epochOf = async (): Promise<string | undefined> => {
        const reply = await a.tier.lease(newToken(), newToken(), LONG_MS, BOUNDS);
        return reply.state === 'leader' ? reply.epoch : undefined;
      };
      const stamped = async () => (await tagsOf(a).stamp(['x'], LONG_MS, BOUNDS)).epoch;
      const first = await epochOf();
      assert.ok(first !== undefined);
      assert.equal(await stamped(), first);
      await tagsOf(b).renew(['another'], BOUNDS);
      assert.notEqual(await stamped(), first);
      const second = await epochOf();
      assert.equal(await stamped(), second);
      assert.notEqual(second, first);
    },
  ],
  [
    'any well-formed tag is a tag of its own, in each cache',
    async (stage) => {
      const a = tagsOf(await stage.tier());
      const other = tagsOf(await stage.tier(':x'));
      const { versions } = await a.stamp(HOSTILE_TAGS, LONG_MS, BOUNDS);
      const { versions: others } = await other.stamp(HOSTILE_TAGS, LONG_MS, BOUNDS);
      for (const [index, tag] of HOSTILE_TAGS.entries()) {
        await a.renew([tag], BOUNDS);
        const found = await a.versions(HOSTILE_TAGS, BOUNDS);
        const kept = versions.map((version, other) => (other <= index ? undefined : version));
        assert.deepEqual(found, kept, JSON.stringify(tag));
      }
      assert.deepEqual(await other.versions(HOSTILE_TAGS, BOUNDS), others);
    },
  ],
  [
    'an invalidated tag takes what carries it on every node, and nothing else',
    async (stage) => {
      const a = await stage.cache<string>();
      const b = await stage.cache<string>();
      await a.set('both', 'x', { tags: ['one', 'two'] });
      await a.set('one', 'x', { tags: ['one'] });
      await a.set('none', 'x');
      assert.equal(await b.get('both'), 'x');
      await b.invalidateTag('two');
      await until('the old value to go', async () => (await a.get('both')) === undefined);
      assert.equal(await b.get('both'), undefined);
      assert.equal(await a.get('one'), 'x');
      assert.equal(await b.getOrLoad('both', () => 'y', { tags: ['two'] }), 'y');
      // A backend whose copies hear of changes may take a moment to tell.
      await until('the new value', async () => (await a.get('both')) === 'y');
      await a.invalidateTags(['one', 'unknown']);
      await until('the old value to go', async () => (await b.get('one')) === undefined);
      assert.equal(await b.get('both'), 'y');
      assert.equal(await b.get('none'), 'x');
    },
  ],
  ...(['by the loader', 'by the caller'] as const).map(
    (who): StagedCacheCase => [
      `a load whose tag, given ${who}, is invalidated meanwhile is refused on both nodes`,
      async (stage) => {
        const load =
          who === 'by the loader'
            ? { setTags: true, options: {} }
            : { setTags: false, options: { tags: ['tag'] } };
        const one = await stage.cache<string>();
        await overtakenLoad(one, one, load);
        await one.delete('key');
        await overtakenLoad(one, await stage.cache<string>(), load);
      },
    ],
  ),
  [
    'clear refuses the loads that had begun, and takes nothing that comes after it',
    async (stage) => {
      const reader = await stage.cache<string>();
      const writer = await stage.cache<string>();
      let source = 'OLD';
      const loaded = deferred<void>();
      const cleared = deferred<void>();
      const loader = async () => {
        const value = source;
        loaded.resolve();
        if (value === 'OLD') await cleared.promise;
        return value;
      };
      await writer.set('other', 'OLD');
      const reading = reader.getOrLoad('key', loader);
      await loaded.promise;
      source = 'NEW';
      await writer.clear();
      const later = reader.getOrLoad('key', loader);
      cleared.resolve();
      await reading;
      assert.equal(await later, 'NEW');
      assert.equal(await reader.get('other'), undefined);
      assert.equal(await writer.get('key'), 'NEW');
      await reader.set('other', 'NEW');
      assert.equal(await writer.get('other'), 'NEW');
    },
  ],
];
