import { describe, expect, expectTypeOf, test } from 'vitest';
import { type Cache, createCache, readThrough, writeThrough } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { cacheBench, heldLoader } from './support.js';

describe('read-through', () => {
  test('loads what is not there, once, and knows what there is not', async () => {
    const { node } = cacheBench();
    const asked: string[] = [];
    const find = (key: string): string | undefined => {
      asked.push(key);
      return key === 'none' ? undefined : `value of ${key}`;
    };
    const values = readThrough(node(), { load: find });
    expect(await values.get('a')).toBe('value of a');
    expect(await values.get('a')).toBe('value of a');
    expect(await values.get('none')).toBeUndefined();
    const many = await values.getMany(['a', 'b', 'none']);
    expect(many).toEqual(new Map(['a', 'b'].map((key) => [key, `value of ${key}`])));
    await values.invalidate('a');
    expect(await values.get('a')).toBe('value of a');
    expect(asked).toEqual(['a', 'none', 'b', 'none', 'a']);
    expectTypeOf(values.get('a')).resolves.toEqualTypeOf<string | undefined>();
  });

  test('asks for several keys by one question, where there is one', async () => {
    const { node } = cacheBench();
    const batches: (readonly string[])[] = [];
    const values = readThrough(node(), {
      load: () => undefined,
      loadMany(keys) {
        batches.push(keys);
        return keys.map((key) => [key, key.toUpperCase()] as const);
      },
    });
    expect([...(await values.getMany(['a', 'b'])).values()]).toEqual(['A', 'B']);
    expect(batches).toEqual([['a', 'b']]);
  });
});

describe('write-through', () => {
  const source = () => {
    const rows = new Map<string, string>();
    const write = (key: string, value: string): void => void rows.set(key, value);
    const remove = (key: string): void => void rows.delete(key);
    return { rows, write, remove };
  };

  test('has the value afterwards, on every node, with its time and tags', async () => {
    const { node, clock } = cacheBench();
    const { rows, write, remove } = source();
    const [a, b] = [node(), node()];
    const stock = writeThrough(a, { write, remove });
    await stock.set('key', 'one', { ttlMs: 5_000, tags: ['all'] });
    expect(rows.get('key')).toBe('one');
    expect(a.peek('key')).toBe('one');
    expect(await b.get('key')).toBe('one');
    await b.invalidateTag('all');
    expect(await b.get('key')).toBeUndefined();
    await stock.set('key', 'two', { ttlMs: 5_000 });
    await clock.advance(5_100);
    expect(await b.get('key')).toBeUndefined();
    await stock.set('key', 'three');
    await stock.delete('key');
    expect(rows.has('key')).toBe(false);
    expect(a.peek('key')).toBeUndefined();
    expect(await b.get('key')).toBeUndefined();
  });

  test('writes the source first; where that fails nothing is cached, and the old value is gone', async () => {
    const { node } = cacheBench();
    const cache = node();
    await cache.set('key', 'old');
    const failing = writeThrough(cache, { write: () => Promise.reject(new Error('down')) });
    await expect(failing.set('key', 'new')).rejects.toThrow('down');
    expect(await cache.get('key')).toBeUndefined();
    expect(await cache.getOrLoad('key', () => 'loaded')).toBe('loaded');
  });

  test('a load that began before it is not stored, nor answered to who comes after', async () => {
    const { node, clock } = cacheBench();
    const { write } = source();
    const [a, b] = [node(), node()];
    const { calls, loader } = heldLoader<string>();
    const reading = b.getOrLoad('key', loader);
    await clock.runUntil(Promise.resolve());
    await clock.advance(1);
    await writeThrough(a, { write }).set('key', 'new');
    calls[0]?.resolve('old');
    await clock.runUntil(reading);
    expect(await b.get('key')).toBe('new');
  });

  test('who reads meanwhile waits, and gets the new value', async () => {
    const { node, clock } = cacheBench();
    const [a, b] = [node(), node()];
    let finish = (): void => {};
    const held = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const writing = writeThrough(a, { write: () => held }).set('key', 'new');
    await clock.advance(10);
    const reading = b.getOrLoad('key', () => 'old');
    await clock.advance(10);
    finish();
    await clock.runUntil(writing);
    expect(await clock.runUntil(reading)).toBe('new');
  });

  test('of two that overlap, whichever commits last, no old value stays', async () => {
    for (const order of ['first', 'second']) {
      const { node, clock, shared } = cacheBench();
      const { rows, write } = source();
      const gates = new Map<string, () => void>();
      const slow = (key: string, value: string) =>
        new Promise<void>((resolve) => {
          gates.set(value, () => {
            write(key, value);
            resolve();
          });
        });
      // Memory would be allowed to have an old value for localTtlMs.
      const far = () => node({ tiers: [shared] });
      const [a, b] = [far(), far()];
      const first = writeThrough(a, { write: slow }).set('key', 'first');
      await clock.advance(5);
      const second = writeThrough(b, { write: slow }).set('key', 'second');
      await clock.advance(5);
      gates.get(order)?.();
      await clock.advance(5);
      gates.get(order === 'first' ? 'second' : 'first')?.();
      await clock.runUntil(Promise.all([first, second]));
      for (const cache of [a, b, far()]) {
        const found = await cache.get('key');
        expect([undefined, rows.get('key')]).toContain(found);
      }
    }
  });

  test('under a hold of update the source is written and nothing is stored', async () => {
    const { node, clock } = cacheBench();
    const { rows, write } = source();
    const [a, b] = [node(), node()];
    let finish = (): void => {};
    const held = new Promise<void>((resolve) => {
      finish = resolve;
    });
    const updating = a.update('key', () => held);
    await clock.advance(5);
    await writeThrough(b, { write }).set('key', 'new');
    expect(rows.get('key')).toBe('new');
    expect(await b.get('key')).toBeUndefined();
    finish();
    await updating;
  });

  test('a tier that is down is told, with the side of the commit on which it was', async () => {
    const { node, shared, clock } = cacheBench();
    const { rows, write } = source();
    const stock = writeThrough(node({ breaker: false }), { write });
    for (const [operation, isCommitted] of [
      ['seize', false],
      ['fill', true],
    ] as const) {
      rows.clear();
      shared.fail(operation);
      const writing = stock.set('key', 'new');
      writing.catch(() => {});
      await clock.advance(10_000);
      const told = { code: 'CACHE_TIER_UNREACHABLE', details: { isCommitted } };
      await expect(writing).rejects.toMatchObject(told);
      expect(rows.has('key')).toBe(isCommitted);
      shared.thaw();
    }
  });

  test('takes keys of any type, and a value that cannot be stored is refused before the write', async () => {
    const written: unknown[] = [];
    const cache: Cache<unknown, number> = createCache<unknown, number>({
      name: 'numbers',
      tiers: [memoryCache()],
      ttlMs: 1_000,
      keyOf: String,
    });
    const values = writeThrough(cache, { write: (key, value) => written.push([key, value]) });
    await values.set(7, 'seven');
    expect(cache.peek(7)).toBe('seven');
    await expect(values.set(8, () => 1)).rejects.toMatchObject({ code: 'CACHE_VALUE_UNSUPPORTED' });
    await expect(values.delete(7)).rejects.toThrow(/remove/);
    expect(written).toEqual([[7, 'seven']]);
  });
});
