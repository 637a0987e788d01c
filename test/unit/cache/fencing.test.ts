import { describe, expect, test } from 'vitest';
import { memoryCache } from '../../../src/memory.js';
import { cacheBench } from './support.js';

function fencedBench() {
  const { clock, node } = cacheBench();
  return { clock, cache: node({ tiers: [memoryCache()] }) };
}

describe('a write with a fencing token', () => {
  test('is refused when the key has seen a newer one, and changes nothing', async () => {
    const { cache } = fencedBench();
    await cache.set('key', 'new', { fencingToken: 12n });
    const stale = { code: 'FENCE_STALE', details: { resource: 'key', token: 9n, newest: 12n } };
    await expect(cache.set('key', 'old', { fencingToken: 9n })).rejects.toMatchObject(stale);
    await expect(cache.delete('key', { fencingToken: '9' })).rejects.toMatchObject(stale);
    let isCommitted = false;
    const updating = cache.update(
      'key',
      () => {
        isCommitted = true;
      },
      { fencingToken: 9n },
    );
    await expect(updating).rejects.toMatchObject(stale);
    expect(isCommitted).toBe(false);
    expect(await cache.get('key')).toBe('new');
  });

  test('is taken with the same token, with a newer one, and for another key', async () => {
    const { cache } = fencedBench();
    await cache.set('key', 'first', { fencingToken: 9n });
    await cache.set('key', 'second', { fencingToken: 9n });
    await cache.set('key', 'third', { fencingToken: 10n });
    await cache.set('other', 'value', { fencingToken: 1n });
    expect(await cache.get('key')).toBe('third');
  });

  test('is refused for a day, and not for ever', async () => {
    const { clock, cache } = fencedBench();
    await cache.set('key', 'new', { fencingToken: 12n });
    await clock.advance(86_399_000);
    await expect(cache.set('key', 'old', { fencingToken: 9n })).rejects.toMatchObject({
      code: 'FENCE_STALE',
    });
    await clock.advance(1_001);
    await cache.set('key', 'old', { fencingToken: 9n });
  });

  test.each([
    ['a number', 7],
    ['a word', 'x'],
    ['a negative one', -1n],
    ['null', null],
  ])('refuses %s for a token', async (_, fencingToken) => {
    const { cache } = fencedBench();
    const options = { fencingToken: fencingToken as unknown as bigint };
    await expect(cache.set('key', 'value', options)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'fencingToken',
    });
  });

  test('is refused by a tier that compares none, before anything is sent', async () => {
    const { shared, node } = cacheBench();
    const cache = node({ tiers: [shared] });
    await expect(cache.set('key', 'value', { fencingToken: 1n })).rejects.toMatchObject({
      message: expect.stringContaining('fencing'),
    });
    expect(shared.count('seize')).toBe(0);
  });
});
