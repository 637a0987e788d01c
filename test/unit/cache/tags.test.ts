import { describe, expect, test } from 'vitest';
import { createCache } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { virtualClock } from '../../../src/testing.js';
import { cacheBench, heldLoader } from './support.js';

describe.each(['memory alone', 'memory before a shared tier'])('tags over %s', (tiers) => {
  const bench = () => {
    const clock = virtualClock();
    const made = cacheBench();
    if (tiers !== 'memory alone') return made.node<string>();
    return createCache<string>({ name: 'tags', tiers: [memoryCache()], ttlMs: 60_000, clock });
  };

  test('an invalidated tag takes what carries it, and nothing else', async () => {
    const cache = bench();
    await cache.set('shoe', 'shoe', { tags: ['brand:a', 'kind:shoe'] });
    await cache.set('hat', 'hat', { tags: ['brand:a'] });
    await cache.set('plain', 'plain');
    await cache.invalidateTag('kind:shoe');
    expect(await cache.get('shoe')).toBeUndefined();
    expect(cache.peek('hat')).toBe('hat');
    await cache.invalidateTags(['brand:a', 'unknown']);
    expect(await cache.get('hat')).toBeUndefined();
    expect(await cache.has('hat')).toBe(false);
    expect(await cache.get('plain')).toBe('plain');
    await cache.set('shoe', 'new', { tags: ['kind:shoe'] });
    expect(await cache.get('shoe')).toBe('new');
    expect(await cache.getOrLoad('hat', () => 'again', { tags: ['brand:a'] })).toBe('again');
    await cache.invalidateTag('brand:a');
    expect(await cache.get('hat')).toBeUndefined();
    await cache.close();
  });

  test('a load that sets a tag which is invalidated meanwhile is refused and done again', async () => {
    const cache = bench();
    const { calls, loader } = heldLoader<string>();
    const load = async (context: Parameters<typeof loader>[0] & { setTags(t: string[]): void }) => {
      const value = await loader(context);
      context.setTags(['tag']);
      return value;
    };
    const first = cache.getOrLoad('key', load);
    await expect.poll(() => calls.length).toBe(1);
    await cache.invalidateTag('tag');
    const later = cache.getOrLoad('key', load);
    calls[0]?.resolve('old');
    await expect.poll(() => calls.length).toBe(2);
    calls[1]?.resolve('new');
    expect([await first, await later]).toEqual(['new', 'new']);
    expect(await cache.get('key')).toBe('new');
    expect(cache.stats().refusedFillCount).toBe(1);
    await cache.close();
  });

  test('tags that were given before the load do not mind that others are invalidated', async () => {
    const cache = bench();
    const { calls, loader } = heldLoader<string>();
    const reading = cache.getOrLoad('key', loader, { tags: ['tag'] });
    await expect.poll(() => calls.length).toBe(1);
    await cache.invalidateTag('another');
    calls[0]?.resolve('value');
    expect(await reading).toBe('value');
    expect(cache.stats()).toMatchObject({ loadCount: 1, refusedFillCount: 0 });
    await cache.invalidateTag('tag');
    expect(await cache.get('key')).toBeUndefined();
    await cache.close();
  });

  test('a load that is refused for other tags knows its tags the second time', async () => {
    const cache = bench();
    const { calls, loader } = heldLoader<string>();
    const reading = cache.getOrLoad('key', async (context) => {
      const value = await loader(context);
      context.setTags(['tag']);
      return value;
    });
    for (let load = 0; load < 2; load += 1) {
      await expect.poll(() => calls.length).toBe(load + 1);
      await cache.invalidateTag('another');
      calls[load]?.resolve(`value ${load}`);
    }
    expect(await reading).toBe('value 1');
    expect(await cache.get('key')).toBe('value 1');
    expect(cache.stats().refusedFillCount).toBe(1);
    await cache.close();
  });

  test.each([
    ['key', 'key'],
    ['array', ['']],
    ['array', Array.from({ length: 65 }, String)],
    ['array', [`${'x'.repeat(257)}`]],
    ['null', null],
  ])('bad tags are refused before anything is sent (%s)', async (_, tags) => {
    const cache = bench();
    const options = { tags } as unknown as { tags: string[] };
    const refusal = { code: 'INVALID_ARGUMENT', argument: 'tags' };
    await expect(cache.set('key', 'value', options)).rejects.toMatchObject(refusal);
    await expect(cache.getOrLoad('key', () => 'v', options)).rejects.toMatchObject(refusal);
    const asTag = cache.invalidateTag(tags as unknown as string);
    if (tags !== 'key') await expect(asTag).rejects.toMatchObject(refusal);
    const loading = cache.getOrLoad('key', ({ setTags }) => {
      setTags(tags as string[]);
      return 'value';
    });
    await expect(loading).rejects.toMatchObject(refusal);
    await cache.close();
  });
});

describe('tags of two nodes', () => {
  test('another node’s memory has what carried the tag for localTtlMs at most', async () => {
    const { clock, node } = cacheBench();
    const [a, b] = [node({ localTtlMs: 300 }), node({ localTtlMs: 300 })];
    await a.set('key', 'old', { tags: ['tag'] });
    expect(await b.get('key')).toBe('old');
    await a.invalidateTag('tag');
    expect(await a.get('key')).toBeUndefined();
    expect(b.peek('key')).toBe('old');
    await clock.advance(300);
    expect(await b.get('key')).toBeUndefined();
    expect(await b.getOrLoad('key', () => 'new', { tags: ['tag'] })).toBe('new');
    expect(await a.get('key')).toBe('new');
  });

  test('an entry whose tag was invalidated is loaded once, however many nodes ask', async () => {
    const { node } = cacheBench();
    const nodes = [node(), node(), node()];
    await nodes[0]?.set('key', 'old', { tags: ['tag'] });
    await nodes[0]?.invalidateTag('tag');
    const { calls, loader } = heldLoader<string>();
    const reads = nodes.map((one) => one.getOrLoad('key', loader, { tags: ['tag'] }));
    await expect.poll(() => calls.length).toBe(1);
    calls[0]?.resolve('new');
    expect(await Promise.all(reads)).toEqual(['new', 'new', 'new']);
    expect(calls.length).toBe(1);
  });
});
