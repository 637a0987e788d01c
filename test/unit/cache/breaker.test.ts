import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import { type BreakerState, breaker } from '../../../src/cache/breaker.js';
import type { SharedCacheDriver, SharedTier } from '../../../src/cache/driver.js';
import { memoryCache } from '../../../src/memory.js';
import { virtualClock } from '../../../src/testing.js';
import { plant } from './shared-memory.js';
import { cacheBench } from './support.js';

const POLICY = { failureRatio: 0.5, callsMin: 4, windowMs: 10_000, openMs: 1_000 };

function newBreaker(policy = POLICY) {
  const clock = virtualClock();
  const changes: BreakerState[] = [];
  const onChange = (state: BreakerState): void => void changes.push(state);
  const one = breaker({ clock, policy, mayProbe: () => true, onChange });
  const call = (ending: 'answered' | 'failed'): boolean => {
    const entered = one.enter();
    if (entered !== undefined) one.leave(entered, ending);
    return entered !== undefined;
  };
  return { clock, one, call, changes };
}

describe('a breaker', () => {
  test('opens when so large a part of enough calls failed since the first failure', () => {
    const { one, call } = newBreaker();
    for (let i = 0; i < 100; i += 1) call('answered');
    call('failed');
    call('failed');
    call('failed');
    expect(one.state, 'three calls are too few to tell').toBe('closed');
    call('answered');
    expect(one.state, 'an answer never opens it').toBe('closed');
    call('failed');
    expect(one.state).toBe('open');
  });

  test('stays closed while failures are the smaller part, or long ago', async () => {
    const { clock, one, call } = newBreaker();
    call('failed');
    for (let i = 0; i < 50; i += 1) {
      for (let j = 0; j < 3; j += 1) call('answered');
      call('failed');
    }
    expect(one.state).toBe('closed');
    await clock.advance(10_001);
    for (let i = 0; i < 3; i += 1) call('failed');
    expect(one.state, 'only the last three count').toBe('closed');
    call('failed');
    expect(one.state).toBe('open');
  });

  test('lets one call through after its time, whose end decides', async () => {
    const { clock, one, call, changes } = newBreaker();
    for (let i = 0; i < 4; i += 1) call('failed');
    await clock.advance(999);
    expect(one.enter()).toBeUndefined();
    await clock.advance(1);
    const probe = one.enter();
    expect([probe === undefined, one.state]).toEqual([false, 'half-open']);
    await clock.advance(5_000);
    expect(one.enter(), 'however long the one takes').toBeUndefined();
    one.leave(probe ?? 0, 'failed');
    expect(one.state).toBe('open');
    await clock.advance(1_000);
    expect(call('answered')).toBe(true);
    expect(one.state).toBe('closed');
    expect(changes).toEqual(['open', 'half-open', 'open', 'half-open', 'closed']);
  });

  test('hears nothing of calls that were let through before it changed', async () => {
    const { clock, one, call } = newBreaker();
    const [late, later] = [one.enter() ?? 0, one.enter() ?? 0];
    for (let i = 0; i < 4; i += 1) call('failed');
    await clock.advance(1_000);
    const probe = one.enter() ?? 0;
    one.leave(late, 'answered');
    expect(one.state, 'an old answer is no probe').toBe('half-open');
    one.leave(probe, 'answered');
    one.leave(later, 'failed');
    expect(one.state).toBe('closed');
  });
});

describe('a shared tier that does not answer, behind a breaker', () => {
  const READS = ['read', 'lease', 'fill', 'renew', 'release'] as const;

  async function opened(options = {}) {
    const bench = cacheBench();
    const { clock, shared, node } = bench;
    const cache = node({ hardTimeoutMs: 300, ...options });
    shared.freeze(...READS);
    for (let i = 0; i < 5; i += 1) {
      await clock.runUntil(cache.getOrLoad(`cold ${i}`, () => 'source'));
    }
    return { ...bench, cache };
  }

  test('is not waited for any more: reads go on with memory and the loader at once', async () => {
    const { clock, shared, cache } = await opened();
    expect(cache.stats().tiers[1]?.breaker).toBe('open');
    const [asked, sinceMs] = [shared.count('read'), clock.monotonicMs()];
    expect(await cache.getOrLoad('other', () => 'source')).toBe('source');
    expect(await cache.get('other'), 'kept in memory').toBe('source');
    expect(await cache.get('unknown')).toBeUndefined();
    expect(clock.monotonicMs()).toBe(sinceMs);
    expect(shared.count('read')).toBe(asked);
  });

  test('is skipped, which is neither a request of it nor a miss nor a failure', async () => {
    const { cache } = await opened();
    const before = cache.stats();
    await cache.getOrLoad('other', () => 'source');
    await cache.get('unknown');
    await cache.has('unknown');
    const { tiers, ...all } = cache.stats().minus(before);
    expect(tiers[1]).toMatchObject({ skippedCount: 2, requestCount: 0, failureCount: 0 });
    expect(all).toMatchObject({ requestCount: 2, missCount: 2 });
  });

  test('is asked by one read after openMs, and serves again when that is answered', async () => {
    const { clock, shared, node, cache } = await opened();
    await clock.advance(1_000);
    const asked = shared.count('read');
    const sinceMs = clock.monotonicMs();
    const reads = ['a', 'b', 'c'].map((key) => cache.getOrLoad(key, () => 'source'));
    await clock.runUntil(Promise.all(reads));
    expect(shared.count('read') - asked, 'the probe').toBe(1);
    expect(clock.monotonicMs() - sinceMs).toBe(300);
    expect(cache.stats().tiers[1]?.breaker).toBe('open');
    shared.thaw();
    await node().set('elsewhere', 'value');
    await clock.advance(1_000);
    expect(await cache.get('elsewhere')).toBe('value');
    expect(cache.stats().tiers[1]?.breaker).toBe('closed');
  });

  test('is still written to: a writer must know, and is no probe', async () => {
    const { clock, shared, cache } = await opened();
    await cache.delete('key');
    expect(cache.stats().tiers[1]?.breaker).toBe('open');
    shared.fail('invalidate');
    const write = cache.delete('key');
    await expect(clock.runUntil(write)).rejects.toMatchObject({ code: 'CACHE_TIER_UNREACHABLE' });
  });

  test('is not asked to catch up either, by a read that is to be linearizable', async () => {
    const { clock, shared, cache } = await opened();
    shared.freeze('sync');
    const sinceMs = clock.monotonicMs();
    expect(await cache.get('cold 1', { consistency: 'linearizable' })).toBeUndefined();
    expect([clock.monotonicMs() - sinceMs, shared.count('sync')]).toEqual([0, 0]);
    await clock.advance(1_000);
    await clock.runUntil(cache.get('cold 1', { consistency: 'linearizable' }));
    expect(shared.count('sync'), 'the probe').toBe(1);
    expect(cache.stats().tiers[1]?.breaker).toBe('open');
  });

  test('opens it through entries that could not be touched', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    shared.fail('touch');
    for (let i = 0; i < 5; i += 1) {
      await clock.runUntil(cache.touch('key', { timeoutMs: 100 }).catch(() => {}));
    }
    expect(cache.stats().tiers[1]?.breaker).toBe('open');
  });

  test('is asked for ever with `breaker: false`', async () => {
    const { clock, cache } = await opened({ breaker: false });
    expect(cache.stats().tiers[1]?.breaker).toBeUndefined();
    const sinceMs = clock.monotonicMs();
    await clock.runUntil(cache.getOrLoad('other', () => 'source'));
    expect(clock.monotonicMs() - sinceMs).toBe(300);
  });

  test('opens it through writes too, and each change is told on the channel', async () => {
    const { clock, shared, node } = cacheBench();
    const events: unknown[] = [];
    const listen = (event: unknown): void => void events.push(event);
    subscribe('tricord:cache.breaker', listen);
    const cache = node();
    shared.fail('invalidate');
    for (let i = 0; i < 5; i += 1) {
      await clock.runUntil(cache.delete('key', { timeoutMs: 100 }).catch(() => {}));
    }
    unsubscribe('tricord:cache.breaker', listen);
    expect(events).toEqual([{ cache: 'bench', tier: 'shared', state: 'open' }]);
  });

  test('is not blamed for what stands there and cannot be read by this release', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    await plant(shared, clock, 'bench', 'key', '[3,"from the future"]');
    for (let i = 0; i < 10; i += 1) await cache.get('key').catch(() => {});
    expect(cache.stats().tiers[1]?.breaker).toBe('closed');
  });
});

describe('what was loaded while the shared tier did not answer', () => {
  /** A tier that tells of changes, though never of what it did not have. */
  function telling(shared: SharedCacheDriver): SharedCacheDriver {
    return {
      ...shared,
      tells: true,
      open(node) {
        const tier = shared.open(node) as SharedTier;
        return { ...tier, follow: (listener) => listener.live() };
      },
    };
  }

  test.each(['read', 'lease', 'fill'] as const)(
    'at the %s is kept by tracked memory for outageTtlMs, and not at all by default',
    async (operation) => {
      for (const outageTtlMs of [undefined, 2_000]) {
        const { clock, shared, node } = cacheBench();
        const tiers = [memoryCache(), telling(shared)];
        const cache = node({ tiers, hardTimeoutMs: 300, outageTtlMs });
        shared.freeze(operation);
        await clock.runUntil(cache.getOrLoad('key', () => 'old'));
        expect(cache.peek('key')).toBe(outageTtlMs && 'old');
        shared.thaw();
        // Nobody tells of the removal of what is not there.
        await node({ tiers: [shared] }).delete('key');
        await clock.advance(2_000);
        expect(await cache.getOrLoad('key', () => 'new')).toBe('new');
        expect(cache.peek('key'), 'the tier has it').toBe('new');
      }
    },
  );

  test('is kept by memory that grows old for localTtlMs', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ hardTimeoutMs: 300, localTtlMs: 1_000 });
    shared.freeze('read');
    await clock.runUntil(cache.getOrLoad('key', () => 'source'));
    await clock.advance(699);
    expect(cache.peek('key')).toBeDefined();
    await clock.advance(301);
    expect(cache.peek('key')).toBeUndefined();
  });
});
