import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, test } from 'vitest';
import { createCache, type StandardSchema, type StandardSchemaResult } from '../../../src/index.js';
import { plant } from './shared-memory.js';
import { cacheBench } from './support.js';

interface Price {
  readonly cents: number;
  readonly currency: string;
}

/** A price, whose currency may be missing where it comes from. */
function price(value: unknown): StandardSchemaResult<Price> {
  const { cents, currency = 'EUR' } = value as Partial<Price>;
  if (typeof cents === 'number') return { value: { cents, currency } };
  return { issues: [{ message: 'not a number', path: ['cents'] }] };
}

const schemaOf = (validate: StandardSchema<Price>['~standard']['validate']) =>
  ({ '~standard': { version: 1, validate } }) satisfies StandardSchema<Price>;

function pricing(validate: StandardSchema<Price>['~standard']['validate'] = price) {
  const bench = cacheBench();
  const { clock, shared, node } = bench;
  const cache = node<Price>({ schema: schemaOf(validate) });
  const put = (value: unknown): Promise<void> =>
    plant(shared, clock, 'bench', 'key', `[1,${JSON.stringify(value)}]`);
  const tier = () => cache.stats().tiers[1];
  return { ...bench, cache, put, tier };
}

describe('an entry of a shared tier', () => {
  test('that does not fit the schema is a miss of it, counted and told', async () => {
    const { cache, put, tier } = pricing();
    const events: unknown[] = [];
    const listen = (event: unknown): void => void events.push(event);
    subscribe('tricord:cache.schema-mismatch', listen);
    await put({ price: 7 });
    expect(await cache.get('key')).toBeUndefined();
    unsubscribe('tricord:cache.schema-mismatch', listen);
    expect(tier()).toMatchObject({ hitCount: 0, missCount: 1, schemaMismatchCount: 1 });
    expect(tier()).toMatchObject({ failureCount: 0, breaker: 'closed' });
    const issues = ['cents: not a number'];
    expect(events).toEqual([{ cache: 'bench', tier: 'shared', key: 'key', issues }]);
  });

  test('that does not fit is replaced by the next load, once', async () => {
    const { cache, put, node } = pricing();
    await put({ price: 7 });
    const load = (): Price => ({ cents: 700, currency: 'EUR' });
    expect(await cache.getOrLoad('key', load)).toEqual({ cents: 700, currency: 'EUR' });
    expect(await node<Price>().get('key'), 'for all').toEqual({ cents: 700, currency: 'EUR' });
    expect(await cache.getOrLoad('key', load)).toEqual({ cents: 700, currency: 'EUR' });
    expect(cache.stats().loadCount).toBe(1);
  });

  test('that comes between a read and its lease is checked too', async () => {
    const { clock, shared, cache, put, tier } = pricing();
    let isPut = false;
    shared.before = async (operation) => {
      if (operation !== 'lease' || isPut) return;
      isPut = true;
      await put({ price: 7 });
    };
    const load = (): Price => ({ cents: 700, currency: 'EUR' });
    const read = clock.runUntil(cache.getOrLoad('key', load));
    expect(await read).toEqual({ cents: 700, currency: 'EUR' });
    expect(tier()?.schemaMismatchCount).toBeGreaterThan(0);
  });

  test('that fits is what the schema made of it, and nobody can change it', async () => {
    for (const validate of [price, async (value: unknown) => price(value)]) {
      const { cache, put } = pricing(validate);
      await put({ cents: 7 });
      const found = await cache.get('key');
      expect(found).toEqual({ cents: 7, currency: 'EUR' });
      expect(Object.isFrozen(found)).toBe(true);
      expect(cache.peek('key'), 'memory has the same').toBe(found);
    }
  });

  test.each([
    ['throws', () => Promise.reject(new Error('broken'))],
    ['makes nothing of it', () => ({ value: undefined as unknown as Price })],
    ['makes what no tier can hold', () => ({ value: new (class Money {})() as Price })],
  ])('for which the schema %s is a miss too', async (_, validate) => {
    const { cache, put, tier } = pricing(validate);
    await put({ cents: 7 });
    expect(await cache.get('key')).toBeUndefined();
    expect(tier()).toMatchObject({ schemaMismatchCount: 1, failureCount: 0 });
  });

  test('that says there is none fits every schema', async () => {
    const { cache, node } = pricing(() => ({ issues: [{ message: 'never' }] }));
    await node({ negativeTtlMs: 1_000 }).getOrLoad('key', () => undefined);
    expect(await cache.get('key')).toBeUndefined();
    expect(cache.stats()).toMatchObject({ hitCount: 1, missCount: 0 });
  });
});

test('what this process gives is not checked, and what is no schema is refused', async () => {
  const { cache, shared } = pricing(() => ({ issues: [{ message: 'never' }] }));
  await cache.set('key', { cents: 1, currency: 'EUR' });
  expect(await cache.getOrLoad('other', () => ({ cents: 2, currency: 'EUR' }))).toBeDefined();
  expect(cache.peek('key')).toBeDefined();
  const schema = {} as StandardSchema<Price>;
  const options = { name: 'bench', tiers: [shared], ttlMs: 1, schema };
  expect(() => createCache(options)).toThrow(/Standard Schema/);
});
