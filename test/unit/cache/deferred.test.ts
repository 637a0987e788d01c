import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import type { CacheOptions } from '../../../src/index.js';
import { sharedMemory } from './shared-memory.js';
import { cacheBench } from './support.js';

const READS = ['read', 'lease', 'fill', 'renew', 'release'] as const;
const WRITES = ['seize', 'hold', 'invalidate', 'clear', 'tags'] as const;

/** A writer that defers, and another node, which sees what the shared tier has. */
function deferring(options: Partial<CacheOptions> = {}) {
  const bench = cacheBench();
  const { shared, node } = bench;
  const given = { hardTimeoutMs: 300, deferredInvalidation: true, ...options };
  const writer = node({ tiers: [shared], ...given });
  const other = node({ tiers: [shared] });
  const waiting = (): number | undefined => writer.stats().tiers[0]?.deferredCount;
  return { ...bench, writer, other, waiting };
}

describe('an invalidation that did not reach the shared tier', () => {
  test.each(['delete', 'set', 'update', 'tag', 'tagged set', 'clear'] as const)(
    'of a %s waits, and is sent again before its key is read there',
    async (verb) => {
      const { clock, shared, writer, other, waiting } = deferring();
      await writer.set('key', 'old', { tags: ['tag'] });
      shared.freeze(...WRITES);
      const calls = {
        delete: () => writer.delete('key'),
        set: () => writer.set('key', 'new'),
        update: () => writer.update('key', () => {}),
        tag: () => writer.invalidateTag('tag'),
        'tagged set': () => writer.set('key', 'new', { tags: ['tag'] }),
        clear: () => writer.clear(),
      };
      const sinceMs = clock.monotonicMs();
      await clock.runUntil(calls[verb]());
      const tookMs = clock.monotonicMs() - sinceMs;
      expect(tookMs, 'no longer than a reader waits').toBe(verb === 'tagged set' ? 600 : 300);
      expect(waiting()).toBe(1);
      shared.thaw();
      expect(await other.get('key'), 'the tier still has it').toBe('old');
      shared.freeze(...WRITES);
      expect(await writer.get('key')).toBeUndefined();
      expect(await writer.getOrLoad('key', () => 'new')).toBe('new');
      shared.thaw();
      expect(await other.get('key'), 'and nothing is stored over it').toBe('old');
      await clock.advance(1_000);
      expect(waiting()).toBe(0);
      expect(await other.get('key')).toBeUndefined();
      expect(await writer.getOrLoad('key', () => 'new')).toBe('new');
      expect(await other.get('key')).toBe('new');
    },
  );

  test('leaves nothing to be touched: the old entry lives no longer', async () => {
    const { clock, shared, writer } = deferring();
    await writer.set('key', 'old');
    shared.freeze(...WRITES);
    await clock.runUntil(writer.delete('key'));
    expect(await writer.touch('key')).toBe(false);
    expect(shared.count('touch')).toBe(0);
    expect(await writer.touch('other'), 'of other keys it is asked').toBe(false);
    expect(shared.count('touch')).toBe(1);
  });

  test('refuses what another node loads meanwhile from before it', async () => {
    const { clock, shared, writer, other } = deferring();
    shared.freeze(...WRITES);
    const loading = other.getOrLoad('key', async () => {
      await new Promise<void>((resolve) => void clock.schedule(2_000, resolve));
      return 'old';
    });
    await clock.advance(100);
    await clock.runUntil(writer.delete('key'));
    shared.thaw();
    await clock.advance(1_000);
    await clock.runUntil(loading);
    expect(other.stats().refusedFillCount).toBe(1);
  });

  test('leaves the keys of others in the tier, and is not counted against it', async () => {
    const { clock, shared, writer, waiting } = deferring();
    await writer.set('other', 'value');
    shared.freeze(...WRITES);
    await clock.runUntil(writer.delete('key'));
    expect(await writer.get('other')).toBe('value');
    await writer.get('key');
    expect(writer.stats().tiers[0]).toMatchObject({ skippedCount: 1, requestCount: 1 });
    expect(waiting()).toBe(1);
  });

  test('is told to its writer when there is no more room', async () => {
    const { clock, shared, writer, waiting } = deferring({
      deferredInvalidation: { keysMax: 2 },
    });
    shared.freeze(...WRITES);
    await clock.runUntil(Promise.all([writer.delete('a'), writer.delete('b')]));
    await clock.runUntil(writer.delete('a'));
    const unreachable = { code: 'CACHE_TIER_UNREACHABLE', details: { keys: ['c'] } };
    await expect(clock.runUntil(writer.delete('c'))).rejects.toMatchObject(unreachable);
    expect(waiting()).toBe(2);
  });

  test('is kept at once, and its tier not asked, while the breaker is open', async () => {
    const { clock, shared, writer, waiting } = deferring();
    shared.freeze(...READS, ...WRITES);
    for (let i = 0; i < 5; i += 1) await clock.runUntil(writer.get('key'));
    expect(writer.stats().tiers[0]?.breaker).toBe('open');
    const sinceMs = clock.monotonicMs();
    await writer.delete('key');
    expect([clock.monotonicMs() - sinceMs, waiting()]).toEqual([0, 1]);
  });

  test('is replayed before an open breaker lets a read through', async () => {
    const { clock, shared, writer, other, waiting } = deferring();
    await writer.set('key', 'old');
    shared.freeze(...READS, ...WRITES);
    for (let i = 0; i < 5; i += 1) await clock.runUntil(writer.get('other'));
    await writer.delete('key');
    shared.thaw();
    shared.freeze(...WRITES);
    await clock.advance(2_000);
    const asked = shared.count('read');
    expect(await writer.get('other')).toBeUndefined();
    expect([shared.count('read') - asked, waiting()]).toEqual([0, 1]);
    shared.thaw();
    await clock.advance(1_000);
    expect(waiting()).toBe(0);
    await writer.get('other');
    expect(writer.stats().tiers[0]?.breaker).toBe('closed');
    expect(await other.get('key')).toBeUndefined();
  });

  test('that was written again meanwhile is sent for the last write too', async () => {
    const { clock, shared, writer, other, waiting } = deferring();
    await writer.set('key', 'old');
    shared.freeze(...WRITES);
    await clock.runUntil(writer.delete('key'));
    shared.thaw();
    let isAgain = false;
    shared.after = async (operation) => {
      if (operation !== 'invalidate' || isAgain) return;
      isAgain = true;
      // After the first one took effect, and before its answer.
      await writer.delete('key');
      await other.set('key', 'from before the second delete');
    };
    await clock.advance(250);
    await clock.advance(1_000);
    expect([isAgain, waiting()]).toEqual([true, 0]);
    expect(await other.get('key')).toBeUndefined();
  });

  test('under a lock is told to its writer: whether the token is stale must be known', async () => {
    const { clock, node } = cacheBench();
    const shared = sharedMemory(clock, { fences: true });
    const writer = node({ tiers: [shared], deferredInvalidation: true });
    shared.freeze(...WRITES);
    const fenced = { fencingToken: 1n, timeoutMs: 500 };
    const calls = [
      () => writer.set('key', 'value', fenced),
      () => writer.delete('key', fenced),
      () => writer.update('key', () => {}, fenced),
    ];
    for (const call of calls) {
      const unreachable = { code: 'CACHE_TIER_UNREACHABLE' };
      await expect(clock.runUntil(call())).rejects.toMatchObject(unreachable);
    }
    expect(writer.stats().tiers[0]?.deferredCount).toBe(0);
  });

  test('is tried once more by close, and told as lost when that fails', async () => {
    for (const isThawed of [true, false]) {
      const { clock, shared, writer, other } = deferring();
      await writer.set('key', 'old');
      shared.freeze(...WRITES);
      await clock.runUntil(writer.delete('key'));
      const events: unknown[] = [];
      const listen = (event: unknown): void => void events.push(event);
      if (isThawed) shared.thaw();
      subscribe('tricord:cache.deferred', listen);
      await clock.runUntil(writer.close());
      unsubscribe('tricord:cache.deferred', listen);
      const state = isThawed ? 'replayed' : 'lost';
      expect(events).toEqual([{ cache: 'bench', tier: 'shared', state, count: 1 }]);
      expect(await other.get('key')).toBe(isThawed ? undefined : 'old');
      await other.close();
      expect(clock.timerCount).toBe(0);
    }
  });
});

test('a hold that could not be sent leaves the hold of an update alone that overlaps', async () => {
  const { clock, shared, node } = cacheBench();
  const cache = node({ deferredInvalidation: true, hardTimeoutMs: 300 });
  const other = node();
  const ends: (() => void)[] = [];
  const commit = (): Promise<void> => new Promise((resolve) => void ends.push(resolve));
  const first = cache.update('key', commit);
  await clock.advance(1);
  shared.freeze('hold');
  const second = cache.update('key', commit);
  await clock.advance(301);
  expect(cache.stats().tiers[1]).toMatchObject({ deferredCount: 1 });
  shared.thaw();
  // What was deferred is sent again meanwhile, and the first one has not ended.
  await clock.advance(500);
  expect(cache.stats().tiers[1]).toMatchObject({ deferredCount: 0 });
  expect(ends).toHaveLength(2);
  await clock.runUntil(other.getOrLoad('key', () => 'old'));
  expect(await node().get('key')).toBeUndefined();
  for (const end of ends) end();
  await clock.runUntil(Promise.all([first, second]));
  await clock.runUntil(other.getOrLoad('key', () => 'new'));
  expect(await node().get('key')).toBe('new');
});
