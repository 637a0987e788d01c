import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, expect, test } from 'vitest';
import type { CacheInconsistentEvent } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { plant } from './shared-memory.js';
import { cacheBench } from './support.js';

const events: unknown[] = [];
const note = (event: unknown): void => void events.push(event);
afterEach(() => {
  unsubscribe('tricord:cache.inconsistent', note);
  events.length = 0;
});

describe('the audit of a cache', () => {
  test('counts and names a planted inconsistency, without its value', async () => {
    subscribe('tricord:cache.inconsistent', note);
    const { clock, shared, node } = cacheBench();
    const cache = node({ audit: { sample: 1 } });
    await cache.set('key', 'secret');
    await cache.get('key');
    await clock.advance(1_000);
    const ofMemory = () => cache.stats().tiers[0];
    expect(ofMemory()).toMatchObject({ auditedCount: 1, inconsistentCount: 0 });
    await plant(shared, clock, 'bench', 'key', '[1,"planted"]');
    expect(await node({ tiers: [shared] }).get('key')).toBe('planted');
    expect(await cache.get('key')).toBe('secret');
    await clock.advance(1_000);
    expect(ofMemory()).toMatchObject({ auditedCount: 2, inconsistentCount: 1 });
    const told: CacheInconsistentEvent = {
      ...{ cache: 'bench', tier: 'memory', key: 'key', found: 'another value' },
    };
    expect(events).toEqual([told]);
  });

  test('does not count what news takes back between its two looks', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ audit: { sample: 1 } });
    await cache.set('key', 'value');
    await plant(shared, clock, 'bench', 'key', '[1,"other"]');
    await cache.get('key');
    await clock.settle();
    await cache.delete('key');
    await clock.advance(1_000);
    expect(cache.stats().tiers[0]).toMatchObject({ inconsistentCount: 0 });
  });

  test('asks for two keys at once at most, and delays no hit', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node({ audit: { sample: 1 } });
    for (const key of ['a', 'b', 'c']) await cache.set(key, key);
    shared.freeze('read');
    for (const key of ['a', 'b', 'c']) expect(await cache.get(key)).toBe(key);
    await clock.settle();
    expect(shared.count('read')).toBe(2);
    await clock.advance(10_000);
    expect(cache.stats().tiers[0]).toMatchObject({ hitCount: 3, auditedCount: 0 });
  });

  test('is off by default, and refused where there is nothing to compare', async () => {
    const { clock, shared, node } = cacheBench();
    const cache = node();
    await cache.set('key', 'value');
    await cache.get('key');
    await clock.advance(1_000);
    expect(shared.count('read')).toBe(0);
    const refusal = expect.objectContaining({ code: 'INVALID_ARGUMENT' });
    expect(() => node({ tiers: [memoryCache()], audit: { sample: 1 } })).toThrow(refusal);
    expect(() => node({ audit: { sample: 0 } })).toThrow(refusal);
  });
});
