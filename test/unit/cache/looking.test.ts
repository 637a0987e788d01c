import { describe, expect, test } from 'vitest';
import { sharedMemory } from './shared-memory.js';
import { cacheBench } from './support.js';

/** A shared tier whose answer to the first read of a key is held back after it was taken. */
function heldAnswer(shared: ReturnType<typeof cacheBench>['shared']) {
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let isFirst = true;
  shared.after = (operation) => {
    if (operation !== 'read' || !isFirst) return undefined;
    isFirst = false;
    return held;
  };
  return () => release();
}

describe('a caller that is alone with its key', () => {
  test('has the answer that it asked for; who comes later than the question asks anew', async () => {
    const { clock, shared, node } = cacheBench();
    const [reader, writer] = [node(), node({ tiers: [shared] })];
    await writer.set('key', 'OLD');
    const release = heldAnswer(shared);
    const early = reader.getOrLoad('key', () => 'loaded');
    await clock.settle();
    await writer.set('key', 'NEW');
    const late = reader.getOrLoad('key', () => 'loaded');
    await clock.settle();
    release();
    expect(await Promise.all([early, late])).toEqual(['OLD', 'NEW']);
    expect(shared.count('read')).toBe(2);
    expect(reader.stats()).toMatchObject({ hitCount: 2, missCount: 0, coalescedCount: 0 });
  });

  test('keeps no copy of what was written since it asked, whether or not somebody joined it', async () => {
    for (const isJoined of [false, true]) {
      const { clock, shared, node } = cacheBench();
      const [reader, writer] = [node(), node({ tiers: [shared] })];
      await writer.set('key', 'OLD');
      const release = heldAnswer(shared);
      const reads = [reader.getOrLoad('key', () => 'loaded')];
      await clock.settle();
      await reader.delete('key');
      if (isJoined) reads.push(reader.getOrLoad('key', () => 'loaded'));
      const kept = reads[0]?.then(() => reader.peek('key'));
      await clock.settle();
      release();
      expect(await Promise.all(reads)).toEqual(isJoined ? ['OLD', 'loaded'] : ['OLD']);
      expect(await kept).toBeUndefined();
    }
  });

  test('waits no longer than it may, however many questions one read takes', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ hardTimeoutMs: 400, timeoutMs: 1_000, breaker: false });
    shared.freeze('read');
    const read = cache.getOrLoad('key', () => 'loaded', { timeoutMs: 300 });
    const outcome = expect(read).rejects.toMatchObject({
      code: 'CACHE_TIMEOUT',
      details: { key: 'key', waitedMs: 300 },
    });
    await clock.advance(300);
    await outcome;
    expect(cache.stats()).toMatchObject({ requestCount: 1, missCount: 1, loadCount: 0 });
  });

  test('leaves at once when its signal aborts, and takes its answer with it', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    await node({ tiers: [shared] }).set('key', 'value');
    const release = heldAnswer(shared);
    const leaving = new AbortController();
    const read = cache.getOrLoad('key', () => 'loaded', { signal: leaving.signal });
    await clock.settle();
    leaving.abort(new Error('gone'));
    await expect(read).rejects.toThrow('gone');
    release();
    await clock.settle();
    expect(cache.stats()).toMatchObject({ requestCount: 1, missCount: 1, loadCount: 0 });
    await cache.close();
    expect(clock.keepAliveCount).toBe(0);
  });

  test('is told CLOSED when the cache closes and the tier does not answer', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    shared.freeze('read');
    const outcome = expect(cache.getOrLoad('key', () => 'loaded')).rejects.toMatchObject({
      code: 'CLOSED',
    });
    await clock.settle();
    const closing = cache.close({ drainMs: 50 });
    await clock.advance(50);
    await outcome;
    await clock.advance(1_000);
    await closing;
    expect(cache.stats()).toMatchObject({ requestCount: 1, missCount: 1, loadCount: 0 });
  });

  test('is not kept waiting by very many others', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    const writer = node({ tiers: [shared] });
    const keys = Array.from({ length: 5_000 }, (_, i) => `key ${i}`);
    await Promise.all(keys.map((key) => writer.set(key, key)));
    const reads = keys.map((key) => cache.getOrLoad(key, () => 'loaded'));
    expect(await Promise.all(reads)).toEqual(keys);
    expect(shared.count('read')).toBe(5_000);
    expect(cache.stats()).toMatchObject({ hitCount: 5_000, missCount: 0 });
    await cache.close();
    expect(clock.keepAliveCount).toBe(0);
  });
});

test('who asks for what was acknowledged before it came is not answered by an earlier question', async () => {
  const { clock, shared, node } = cacheBench();
  const [reader, writer] = [node({ tiers: [shared] }), node({ tiers: [shared] })];
  const now = { consistency: 'linearizable' } as const;
  const release = heldAnswer(shared);
  // Between the first look, which finds nothing, and the answer to the lease, somebody stores.
  shared.before = async (operation) => {
    if (operation === 'lease') await writer.set('key', 'value');
  };
  const first = reader.getOrLoad('key', () => 'loaded', now);
  const second = reader.getOrLoad('key', () => 'loaded', now);
  await clock.settle();
  const late = reader.getOrLoad('key', () => 'loaded', now);
  release();
  expect(await Promise.all([first, second, late])).toEqual(['value', 'value', 'value']);
  expect(shared.count('sync')).toBe(2);
});

describe('where misses come in a row', () => {
  const coldBench = () => {
    const { clock, node } = cacheBench();
    const shared = sharedMemory(clock, { leasesAtOnce: true });
    return { shared, cache: node({ tiers: [shared] }), writer: node({ tiers: [shared] }) };
  };

  test('the lease is asked for without a look, until a key is there; each is counted once', async () => {
    const { shared, cache, writer } = coldBench();
    const load = async (key: string): Promise<string> =>
      cache.getOrLoad(key, () => `loaded ${key}`);
    for (let i = 0; i < 8; i += 1) expect(await load(`cold ${i}`)).toBe(`loaded cold ${i}`);
    expect(shared.count('read')).toBe(8);
    for (let i = 8; i < 12; i += 1) expect(await load(`cold ${i}`)).toBe(`loaded cold ${i}`);
    expect(shared.count('read')).toBe(8);
    expect(shared.count('lease')).toBe(12);
    await writer.set('warm', 'there');
    expect(await load('warm')).toBe('there');
    expect(shared.count('read')).toBe(8);
    expect(await load('warm')).toBe('there');
    expect(shared.count('read')).toBe(9);
    expect(cache.stats()).toMatchObject({ requestCount: 14, hitCount: 2, missCount: 12 });
    expect(cache.stats().tiers).toMatchObject([{ requestCount: 14, hitCount: 2, missCount: 12 }]);
  });

  test('a tier that does not answer is skipped, and its misses are no sign of anything', async () => {
    const { shared, cache } = coldBench();
    for (let i = 0; i < 8; i += 1) await cache.getOrLoad(`cold ${i}`, () => 'loaded');
    shared.fail('lease');
    expect(await cache.getOrLoad('failing', () => 'alone')).toBe('alone');
    shared.thaw();
    expect(await cache.getOrLoad('next', () => 'loaded')).toBe('loaded');
    expect(shared.count('read')).toBe(9);
    expect(cache.stats().tiers).toMatchObject([{ requestCount: 10, missCount: 10 }]);
  });
});
