import { describe, expect, test } from 'vitest';
import type { LocalStore, SharedTier, TierListener } from '../../../src/cache/driver.js';
import { trackedStore } from '../../../src/cache/tracked-store.js';
import { instantOf } from '../../../src/core/clock.js';
import { memoryStore } from '../../../src/drivers/memory/cache-store.js';
import { virtualClock } from '../../../src/testing.js';

function bench() {
  const clock = virtualClock();
  let told: TierListener | undefined;
  const tier = {
    follow(listener: TierListener) {
      told = listener;
    },
  } as SharedTier;
  const store: LocalStore = trackedStore(memoryStore(clock, { entriesMax: 10 }), tier, 100);
  const validity = { since: instantOf(clock), forMs: 60_000 };
  const value = { value: 'value', isShareable: true };
  const put = (key: string, ticket = store.begin(key), forMs = 60_000): string =>
    store.put(ticket, value, { ...validity, forMs });
  if (told === undefined) throw new Error('nobody listens');
  return { store, put, tier: told };
}

describe('memory before a tier that tells of changes', () => {
  test('keeps nothing before it hears of changes, and nothing after it hears no more', () => {
    const { store, put, tier } = bench();
    expect(put('key')).toBe('refused');
    tier.live();
    expect(put('key')).toBe('stored');
    expect(store.get('key')).toBeDefined();
    tier.lost();
    expect(store.get('key')).toBeUndefined();
    expect(put('key')).toBe('refused');
  });

  test('keeps unheard what lives no longer than it may be old, until it hears again', () => {
    const { store, put, tier } = bench();
    expect(put('key', store.begin('key'), 101)).toBe('refused');
    expect(put('key', store.begin('key'), 100)).toBe('stored');
    expect(store.get('key')).toBeDefined();
    tier.live();
    expect(store.get('key')).toBeUndefined();
  });

  test('keeps nothing that was asked for before it heard of changes', () => {
    const { store, put, tier } = bench();
    const early = store.begin('key');
    tier.live();
    expect(put('key', early)).toBe('refused');
    expect(put('key')).toBe('stored');
  });

  test('drops what has changed, keeps nothing of it that was under way, and leaves the rest', () => {
    const { store, put, tier } = bench();
    tier.live();
    put('key');
    put('other');
    const underWay = store.begin('key');
    tier.changed('key');
    expect(store.get('key')).toBeUndefined();
    expect(put('key', underWay)).toBe('refused');
    expect(store.get('other')).toBeDefined();
    tier.changed(undefined);
    expect(store.entryCount).toBe(0);
  });

  test('takes no version of a tag that was asked for before the tag was renewed, or unheard', () => {
    const { store, tier } = bench();
    const { tags } = store;
    tags.note('tag', 'unheard', tags.moment);
    expect(tags.get('tag')).toBeUndefined();
    tier.live();
    const before = tags.moment;
    tier.renewed('tag');
    tags.note('tag', 'old', before);
    expect(tags.get('tag')).toBeUndefined();
    tags.note('other', 'version', before);
    expect(tags.get('other')).toBe('version');
    tags.note('tag', 'new', tags.moment);
    expect(tags.get('tag')).toBe('new');
    for (let tag = 0; tag < 10_001; tag += 1) tier.renewed(`tag ${tag}`);
    tags.note('long ago', 'old', before);
    expect(
      tags.get('long ago'),
      'renewals that are told apart no more count for all',
    ).toBeUndefined();
  });
});
