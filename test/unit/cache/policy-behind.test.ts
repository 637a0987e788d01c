import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Codec, type WriteBehindOptions, writeBehind } from '../../../src/index.js';
import { cacheBench } from './support.js';

type Row = readonly [string, string | undefined];

function bench(options: Partial<WriteBehindOptions<string>> = {}) {
  const made = cacheBench();
  const { clock, node } = made;
  const rows = new Map<string, string>();
  const batches: (readonly Row[])[] = [];
  const lost: Row[] = [];
  const failing = { times: 0 };
  const save = (batch: readonly Row[]): void => {
    batches.push(batch);
    if (failing.times > 0) {
      failing.times -= 1;
      throw new Error('source down');
    }
    for (const [key, value] of batch) {
      if (value === undefined) rows.delete(key);
      else rows.set(key, value);
    }
  };
  const cache = node<string>();
  const behind = writeBehind(cache, {
    write: save,
    flushMs: 1_000,
    clock,
    onLost: (entries) => void lost.push(...entries),
    ...options,
  });
  return { ...made, cache, behind, rows, batches, lost, failing, save };
}

describe('a write-behind', () => {
  test('caches at once, and writes later, joined by key and in order', async () => {
    const { behind, cache, node, rows, batches, clock } = bench();
    await behind.set('a', '1');
    await behind.set('b', '1');
    await behind.set('a', '2');
    expect(cache.peek('a')).toBe('2');
    expect(await node<string>().get('a')).toBe('2');
    expect(rows.size).toBe(0);
    expect(behind.stats()).toMatchObject({ pendingCount: 2, coalescedCount: 1, writtenCount: 0 });
    await clock.advance(1_001);
    expect(batches).toEqual([
      [
        ['a', '2'],
        ['b', '1'],
      ],
    ]);
    await behind.delete('a');
    expect(await cache.get('a')).toBeUndefined();
    await clock.advance(1_001);
    expect(rows).toEqual(new Map([['b', '1']]));
    expect(behind.stats()).toMatchObject({ pendingCount: 0, writtenCount: 3, batchCount: 2 });
  });

  test('copies and encodes a value once, as it was when it was given, however long it waits', async () => {
    const { clock, node } = cacheBench();
    let encodeCount = 0;
    const codec: Codec = {
      ...{ id: 'counting', form: 'text', decode: JSON.parse as (text: string) => unknown },
      encode(value) {
        encodeCount += 1;
        return JSON.stringify(value);
      },
    };
    const cache = node<{ at: number }>({ codec });
    let finish = (): void => {};
    const written: unknown[] = [];
    const behind = writeBehind(cache, {
      ...{ pendingMax: 1, flushMs: 0, clock },
      write: (batch) => {
        written.push(...batch.map(([, value]) => value));
        return new Promise<void>((resolve) => {
          finish = resolve;
        });
      },
    });
    await behind.set('first', { at: 0 });
    await clock.advance(1);
    encodeCount = 0;
    const value = { at: 1 };
    const waiting = behind.set('second', value);
    value.at = 2;
    finish();
    await clock.runUntil(waiting);
    expect(await cache.get('second')).toEqual({ at: 1 });
    // Beside it the first one is cached again.
    expect(encodeCount).toBeLessThanOrEqual(2);
    await clock.advance(1);
    expect(written.at(-1)).toEqual({ at: 1 });
  });

  test('writes a full batch at once, and flush what there is', async () => {
    const { behind, rows, batches, clock } = bench({ batchMax: 3, flushMs: 60_000 });
    for (const key of ['a', 'b', 'c', 'd']) await behind.set(key, 'x');
    await clock.advance(1);
    expect(batches.map(({ length }) => length)).toEqual([3]);
    await clock.runUntil(behind.flush());
    expect(rows.size).toBe(4);
    await behind.flush();
  });

  test('of one key writes in order: what comes during a write goes after it', async () => {
    let finish = (): void => {};
    const written: Row[] = [];
    const { behind, clock } = bench({
      flushMs: 0,
      write: (batch) =>
        new Promise<void>((resolve) => {
          finish = () => {
            written.push(...batch);
            resolve();
          };
        }),
    });
    await behind.set('a', '1');
    await clock.advance(1);
    await behind.set('a', '2');
    await behind.set('a', '3');
    await clock.advance(5);
    let isFlushed = false;
    const flushed = behind.flush().then(() => {
      isFlushed = true;
    });
    finish();
    await clock.advance(5);
    expect(isFlushed, 'while the last one is written').toBe(false);
    finish();
    await clock.runUntil(flushed);
    expect(written).toEqual([
      ['a', '1'],
      ['a', '3'],
    ]);
  });

  test('tries again with pauses, with the newest value of each key', async () => {
    const { behind, rows, batches, failing, clock, lost } = bench();
    failing.times = 3;
    await behind.set('a', '1');
    await clock.advance(1_001);
    await behind.set('a', '2');
    await clock.advance(5_000);
    expect(rows.get('a')).toBe('2');
    expect(batches.length).toBe(4);
    expect(behind.stats()).toMatchObject({ failureCount: 3, writtenCount: 1, lostCount: 0 });
    expect(lost).toEqual([]);
  });

  test('after a failure goes on with what came while it was written', async () => {
    const written: Row[] = [];
    let fail = (): void => {};
    let isFirst = true;
    const { behind, clock } = bench({
      write(batch) {
        written.push(...batch);
        if (!isFirst) return undefined;
        isFirst = false;
        return new Promise<void>((_, reject) => {
          fail = () => reject(new Error('source down'));
        });
      },
    });
    await behind.set('a', '1');
    await behind.set('b', '1');
    await clock.advance(1_001);
    await behind.set('a', '2');
    fail();
    await clock.runUntil(behind.flush());
    expect(written).toEqual([
      ['a', '1'],
      ['b', '1'],
      ['a', '2'],
      ['b', '1'],
    ]);
  });

  test('tells what it gives up after attemptsMax, and the cache does not have it any more', async () => {
    const { behind, failing, clock, lost, cache } = bench({ retry: { attemptsMax: 2 } });
    const events: unknown[] = [];
    const listen = (event: unknown): void => void events.push(event);
    subscribe('tricord:cache.write-behind', listen);
    failing.times = 2;
    await behind.set('a', '1');
    await clock.advance(5_000);
    unsubscribe('tricord:cache.write-behind', listen);
    expect(lost).toEqual([['a', '1']]);
    expect(await cache.get('a')).toBeUndefined();
    expect(behind.stats()).toMatchObject({ lostCount: 1, pendingCount: 0 });
    expect(events).toMatchObject([{ state: 'failed' }, { state: 'failed' }, { state: 'lost' }]);
  });

  test('is bounded: a writer waits for room as long as its call may take, a known key does not', async () => {
    const { behind, clock, failing, rows } = bench({ pendingMax: 2 });
    failing.times = 3;
    await behind.set('a', '1');
    await behind.set('b', '1');
    const late = behind.set('c', '1', { timeoutMs: 500 });
    late.catch(() => {});
    await clock.advance(501);
    const details = { cache: 'bench', pendingMax: 2, waitedMs: 500 };
    await expect(late).rejects.toMatchObject({ code: 'CACHE_QUEUE_FULL', details });
    await behind.set('a', '2');
    const patient = behind.set('c', '2', { timeoutMs: 60_000 });
    await clock.advance(10_000);
    await patient;
    await clock.advance(2_000);
    expect(Object.fromEntries(rows)).toEqual({ a: '2', b: '1', c: '2' });
    const full = bench({ pendingMax: 1, onFull: 'refuse' });
    await full.behind.set('a', '1');
    const refused = full.behind.set('b', '1');
    await expect(refused).rejects.toMatchObject({ code: 'CACHE_QUEUE_FULL' });
    expect(full.cache.peek('b')).toBeUndefined();
  });

  test('close writes what waits', async () => {
    const { behind, rows, clock } = bench({ flushMs: 60_000, batchMax: 2 });
    for (const key of ['a', 'b', 'c']) await behind.set(key, 'x');
    expect(await clock.runUntil(behind.close())).toEqual({ lost: [] });
    expect(rows.size).toBe(3);
    await expect(behind.set('d', 'x')).rejects.toMatchObject({ code: 'CLOSED' });
    expect(await behind.close()).toEqual({ lost: [] });
  });

  test('close is bounded, and tells what the source may not have', async () => {
    const stuck = () => new Promise<void>(() => {});
    const { behind, lost, clock, cache } = bench({ write: stuck, flushMs: 0, batchMax: 1 });
    await behind.set('a', '1');
    await clock.advance(5);
    await behind.set('b', '1');
    const flushing = behind.flush();
    flushing.catch(() => {});
    const closing = behind.close({ drainMs: 2_000 });
    await clock.advance(2_100);
    const all = [
      ['a', '1'],
      ['b', '1'],
    ];
    expect(await closing).toEqual({ lost: all });
    expect(lost).toEqual(all);
    expect(behind.stats().lostCount).toBe(2);
    expect(await cache.get('a')).toBeUndefined();
    await expect(flushing).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('answers what waits, whatever the cache and the source have', async () => {
    const { behind, cache } = bench();
    await behind.set('a', 'new');
    await cache.delete('a');
    expect(await behind.getOrLoad('a', () => 'old')).toBe('new');
    await behind.delete('a');
    expect(await behind.getOrLoad('a', () => 'old')).toBeUndefined();
    expect(await behind.getOrLoad('b', () => 'loaded')).toBe('loaded');
  });

  test('caches again what was written, should another node have loaded the old value', async () => {
    const { behind, cache, node, clock } = bench();
    await behind.set('a', 'new');
    await cache.delete('a');
    const other = node<string>();
    expect(await other.getOrLoad('a', () => 'old')).toBe('old');
    await clock.advance(1_001);
    expect(await cache.get('a')).toBe('new');
    expect(await node<string>().get('a')).toBe('new');
  });

  test('a cache that does not answer loses no write; a bad value is refused and not written', async () => {
    const { behind, shared, clock, rows } = bench();
    shared.fail('seize');
    const setting = behind.set('a', '1');
    await clock.advance(6_000);
    await setting;
    expect(rows.get('a')).toBe('1');
    shared.thaw();
    const bad = behind.set('b', (() => 1) as unknown as string);
    await expect(bad).rejects.toMatchObject({ code: 'CACHE_VALUE_UNSUPPORTED' });
    await expect(behind.set('', 'x')).rejects.toThrow(TypeError);
    await expect(behind.set('c', 'x', { ttlMs: -1 })).rejects.toThrow(TypeError);
    await clock.advance(2_000);
    expect([...rows.keys()]).toEqual(['a']);
  });

  test('whatever fails, the source ends with the last value of each key', async () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd'),
      isRemoval: fc.boolean(),
      waitMs: fc.constantFrom(0, 1, 300, 1_500),
      failures: fc.constantFrom(0, 0, 1, 3),
    });
    const property = fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const { behind, rows, failing, clock, lost, cache } = bench({ batchMax: 2, pendingMax: 3 });
      const expected = new Map<string, string>();
      for (const [index, { key, isRemoval, waitMs, failures }] of steps.entries()) {
        failing.times += failures;
        const value = `${index}`;
        const patient = { timeoutMs: 600_000 };
        const writing = isRemoval ? behind.delete(key, patient) : behind.set(key, value, patient);
        if (isRemoval) expected.delete(key);
        else expected.set(key, value);
        await clock.advance(waitMs);
        await clock.runUntil(writing);
      }
      failing.times = 0;
      await clock.runUntil(behind.close({ drainMs: 60_000 }));
      expect(rows).toEqual(expected);
      expect(lost).toEqual([]);
      for (const key of 'abcd') expect(await cache.get(key)).toBe(expected.get(key));
    });
    const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
    await fc.assert(property, { numRuns: 60, seed });
  });

  test('bad options are refused', () => {
    const { cache, save } = bench();
    for (const options of [
      { pendingMax: 0 },
      { batchMax: 0 },
      { flushMs: -1 },
      { onFull: 'drop' },
    ]) {
      const given = { write: save, ...options } as WriteBehindOptions<string>;
      expect(() => writeBehind(cache, given)).toThrow(TypeError);
    }
    expect(() => writeBehind(cache, {} as WriteBehindOptions<string>)).toThrow(/write/);
    expect(() => writeBehind({} as typeof cache, { write: save })).toThrow(/createCache/);
  });
});
