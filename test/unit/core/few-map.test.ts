import { seededRandom } from 'tricord';
import { expect, test } from 'vitest';
import { FewMap, FewSet } from '../../../src/core/few-map.js';

const SEED = Number(process.env.TRICORD_SEED ?? 20_261_130);

/** Plays changes among so many keys, and compares with a Map after each. */
function play(keyCount: number, stepCount: number): void {
  const random = seededRandom(SEED + keyCount);
  const below = (limit: number) => Math.floor(random.fraction() * limit);
  const few = new FewMap<number, string>();
  const naive = new Map<number, string>();
  for (let step = 0; step < stepCount; step += 1) {
    const key = below(keyCount);
    if (below(2) === 0) {
      few.set(key, `v${step}`);
      naive.set(key, `v${step}`);
    } else {
      expect(few.delete(key)).toBe(naive.delete(key));
    }
    expect(few.size).toBe(naive.size);
    expect(few.has(key)).toBe(naive.has(key));
    expect(few.get(key)).toBe(naive.get(key));
    expect(few.first).toBe(naive.values().next().value);
    expect(Array.from(few.entries())).toEqual(Array.from(naive));
    expect(Array.from(few.keys())).toEqual(Array.from(naive.keys()));
    expect(Array.from(few.values())).toEqual(Array.from(naive.values()));
    expect(few.list()).toEqual(Array.from(naive.values()));
  }
}

test(`holds what a Map holds, in its order, through every change (seed ${SEED})`, () => {
  for (const keyCount of [1, 2, 3, 8, 40]) play(keyCount, 2_000);
});

test('the oldest of many may go one after the other, as those of a line do', () => {
  const line = new FewMap<number, number>();
  for (let id = 0; id < 100; id += 1) line.set(id, id);
  for (let id = 100; id < 2_000; id += 1) {
    expect(line.first).toBe(id - 100);
    line.delete(id - 100);
    line.set(id, id);
  }
  expect(line.size).toBe(100);
});

test('a set has each item once; what was cleared is gone', () => {
  const items = new FewSet<string>();
  for (const item of ['one', 'other', 'one']) items.add(item);
  expect(Array.from(items.keys())).toEqual(['one', 'other']);
  items.clear();
  expect(items.size).toBe(0);
  expect(items.has('other')).toBe(false);
});
