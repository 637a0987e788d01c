import { describe, expect, test } from 'vitest';
import { memoryCache } from '../../../src/memory.js';
import { cacheBench, heldLoader } from './support.js';

describe('single flight', () => {
  test('callers of one key share one load; others of another key do not wait for it', async () => {
    const { clock, node } = cacheBench();
    const cache = node();
    const { calls, loader } = heldLoader<string>();
    const reads = [1, 2, 3].map(() => cache.getOrLoad('key', loader));
    await clock.settle();
    expect(await cache.getOrLoad('other', () => 'other')).toBe('other');
    const late = cache.getOrLoad('key', loader);
    calls[0]?.resolve('value');
    expect(await Promise.all([...reads, late])).toEqual(['value', 'value', 'value', 'value']);
    expect(calls).toHaveLength(1);
    const { hitCount, missCount, coalescedCount, loadCount } = cache.stats();
    expect({ hitCount, missCount, coalescedCount, loadCount }).toEqual({
      hitCount: 0,
      missCount: 5,
      coalescedCount: 3,
      loadCount: 2,
    });
  });

  test('callers that wait for a value of the shared tier are hits, and ask it once', async () => {
    const { shared, node } = cacheBench();
    await node().set('key', 'value');
    const cache = node();
    const reads = [1, 2, 3].map(() => cache.getOrLoad('key', () => 'loaded'));
    expect(await Promise.all(reads)).toEqual(['value', 'value', 'value']);
    expect(shared.count('read')).toBe(1);
    expect(cache.stats()).toMatchObject({ hitCount: 3, missCount: 0, coalescedCount: 0 });
    expect(cache.stats().tiers.map(({ hitCount }) => hitCount)).toEqual([0, 1]);
  });

  test('a caller whose own signal aborts leaves alone; the load goes on for the others', async () => {
    const { clock, node } = cacheBench();
    const cache = node();
    const { calls, loader } = heldLoader<string>();
    const leaving = new AbortController();
    const first = cache.getOrLoad('key', loader, { signal: leaving.signal });
    const second = cache.getOrLoad('key', loader);
    await clock.settle();
    leaving.abort(new Error('gone'));
    await expect(first).rejects.toThrow('gone');
    expect(calls[0]?.signal.aborted).toBe(false);
    calls[0]?.resolve('value');
    expect(await second).toBe('value');
  });

  test('the load is aborted when all callers have gone, and the next caller loads anew', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    const { calls, loader } = heldLoader<string>();
    const leaving = new AbortController();
    const reads = [1, 2].map(() => cache.getOrLoad('key', loader, { signal: leaving.signal }));
    await clock.settle();
    leaving.abort(new Error('gone'));
    for (const read of reads) await expect(read).rejects.toThrow('gone');
    expect(calls[0]?.signal.aborted).toBe(true);
    await clock.settle();
    expect(shared.count('release')).toBe(1);
    expect(await cache.getOrLoad('key', () => 'anew')).toBe('anew');
    calls[0]?.resolve('too late');
    await clock.settle();
    expect(await cache.get('key')).toBe('anew');
    expect(cache.stats()).toMatchObject({ loadCount: 2, loadFailureCount: 1, coalescedCount: 1 });
    await cache.close();
    expect(clock.timerCount).toBe(0);
  });

  test('an error of the loader, also a synchronous one, reaches all and is not kept', async () => {
    const { node } = cacheBench();
    const cache = node();
    const failure = new Error('source');
    const failing = (): string => {
      throw failure;
    };
    const reads = [1, 2, 3].map(() => cache.getOrLoad('key', failing));
    for (const read of reads) await expect(read).rejects.toBe(failure);
    expect(cache.stats()).toMatchObject({ loadCount: 1, loadFailureCount: 1, coalescedCount: 2 });
    expect(await cache.getOrLoad('key', () => 'back')).toBe('back');
  });

  test('a value that cannot be stored is refused to all, and the lease is free again', async () => {
    const { clock, node } = cacheBench();
    const cache = node<object>();
    const read = cache.getOrLoad('key', () => ({ at: { run: () => 1 } }));
    await expect(read).rejects.toMatchObject({
      code: 'CACHE_VALUE_UNSUPPORTED',
      details: { path: 'value.at.run' },
    });
    await clock.settle();
    expect(await cache.getOrLoad('key', () => ({ ok: 1 }))).toEqual({ ok: 1 });
  });

  test('undefined is not kept, and null is', async () => {
    const { node } = cacheBench();
    const cache = node<string | null>();
    expect(await cache.getOrLoad('key', () => undefined)).toBeUndefined();
    expect(await cache.has('key')).toBe(false);
    expect(await cache.getOrLoad('key', () => null)).toBeNull();
    expect(await cache.get('key')).toBeNull();
    expect(cache.peek('key')).toBeNull();
    expect(await cache.getOrLoad('key', () => 'other')).toBeNull();
  });
});

describe('leases', () => {
  test('a load that a write overtook is loaded again, and who came after the write gets the new value', async () => {
    const { clock, shared, node } = cacheBench();
    const [reader, writer] = [node({ tiers: [shared] }), node({ tiers: [shared] })];
    const { calls, loader } = heldLoader<string>();
    const early = reader.getOrLoad('key', loader);
    await clock.settle();
    await writer.delete('key');
    const late = reader.getOrLoad('key', loader);
    calls[0]?.resolve('OLD');
    await clock.settle();
    calls[1]?.resolve('NEW');
    expect(await late).toBe('NEW');
    await early;
    expect(await reader.get('key')).toBe('NEW');
    expect(reader.stats().refusedFillCount).toBe(1);
  });

  test('after three refused loads, who was there before the last gets its value; nobody keeps it', async () => {
    const { shared, node } = cacheBench();
    const [reader, writer] = [node(), node({ tiers: [shared] })];
    let loads = 0;
    const read = reader.getOrLoad('key', async () => {
      loads += 1;
      await writer.delete('key');
      return `value ${loads}`;
    });
    expect(await read).toBe('value 3');
    expect(await writer.get('key')).toBeUndefined();
    expect(reader.stats()).toMatchObject({ loadCount: 3, refusedFillCount: 3 });
  });

  test('who joins after the value was asked for does not get an answer from before a delete', async () => {
    const { clock, shared, node } = cacheBench();
    const [reader, writer] = [node({ tiers: [shared] }), node({ tiers: [shared] })];
    await writer.set('key', 'OLD');
    let answer = (): void => {};
    shared.after = (operation) =>
      operation === 'read' ? new Promise<void>((resolve) => (answer = resolve)) : undefined;
    const early = reader.getOrLoad('key', () => 'loaded');
    await clock.settle();
    await writer.delete('key');
    const late = reader.getOrLoad('key', () => 'NEW');
    shared.after = undefined;
    answer();
    expect(await early).toBe('OLD');
    expect(await late).toBe('NEW');
  });

  test('a lease is renewed while its load goes on, so that a slow load is still kept', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ leaseMs: 3_000, timeoutMs: 60_000 });
    const { calls, loader } = heldLoader<string>();
    const read = cache.getOrLoad('key', loader);
    await clock.settle();
    await clock.advance(20_000);
    calls[0]?.resolve('slow');
    expect(await read).toBe('slow');
    expect(calls).toHaveLength(1);
    expect(shared.count('renew')).toBeGreaterThan(15);
    expect(await cache.get('key')).toBe('slow');
  });

  test('a follower takes the value of another node’s load', async () => {
    const { clock, shared, node } = cacheBench();
    const [leader, follower] = [node(), node()];
    const { calls, loader } = heldLoader<string>();
    const led = leader.getOrLoad('key', loader);
    await clock.settle();
    const followed = follower.getOrLoad('key', loader);
    await clock.advance(100);
    calls[0]?.resolve('value');
    expect(await Promise.all([led, followed])).toEqual(['value', 'value']);
    expect(calls).toHaveLength(1);
    expect(follower.stats()).toMatchObject({ missCount: 1, coalescedCount: 1, loadCount: 0 });
    expect(shared.count('fill')).toBe(1);
  });

  test('a follower whose leader takes too long loads by itself after half of its time', async () => {
    const { clock, node } = cacheBench();
    const [leader, follower] = [node({ timeoutMs: 60_000 }), node({ timeoutMs: 4_000 })];
    const { calls, loader } = heldLoader<string>();
    const led = leader.getOrLoad('key', loader);
    await clock.settle();
    const begun = clock.monotonicMs();
    expect(await clock.runUntil(follower.getOrLoad('key', () => 'mine'))).toBe('mine');
    expect(clock.monotonicMs() - begun).toBeGreaterThanOrEqual(2_000);
    expect(clock.monotonicMs() - begun).toBeLessThanOrEqual(2_250);
    calls[0]?.resolve('value');
    expect(await led).toBe('value');
  });

  test('the time of a promoted entry is what is left of it, never a fresh one', async () => {
    const { clock, node } = cacheBench();
    const times = { ttlMs: 1_000, localTtlMs: 800 };
    const [writer, reader] = [node(times), node(times)];
    await writer.set('key', 'value');
    await clock.advance(700);
    expect(await reader.get('key')).toBe('value');
    await clock.advance(299);
    expect(reader.peek('key')).toBe('value');
    await clock.advance(1);
    expect(reader.peek('key')).toBeUndefined();
    expect(await reader.get('key')).toBeUndefined();
  });

  test('an entry ends also while the machine is suspended', async () => {
    const { clock, node } = cacheBench();
    const cache = node({ tiers: [memoryCache()], ttlMs: 1_000 });
    await cache.set('key', 'value');
    clock.moveWall(1_000);
    expect(cache.peek('key')).toBeUndefined();
  });
});
