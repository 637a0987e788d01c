import { seededRandom } from 'tricord';
import { expect, test } from 'vitest';
import { agenda } from '../../../src/core/agenda.js';

const SEED = Number(process.env.TRICORD_SEED ?? 20_261_122);

test(`answers what is noted in the order of times, as a sorted list would (seed ${SEED})`, () => {
  const random = seededRandom(SEED);
  const below = (limit: number) => Math.floor(random.fraction() * limit);
  const items = Array.from({ length: 40 }, (_, name) => ({ name }));
  const times = agenda<{ name: number }>();
  const naive = new Map<{ name: number }, number>();
  const earliest = () => Math.min(...naive.values());
  for (let step = 0; step < 20_000; step += 1) {
    const item = items[below(items.length)] as { name: number };
    const action = below(4);
    if (action < 2) {
      const atMs = below(50);
      times.note(item, atMs);
      naive.set(item, atMs);
    } else if (action === 2) {
      times.strike(item);
      naive.delete(item);
    } else {
      const untilMs = below(50);
      const expected = earliest();
      const found = times.take(untilMs);
      if (expected > untilMs) expect(found).toBeUndefined();
      else expect(naive.get(found as { name: number })).toBe(expected);
      if (found !== undefined) naive.delete(found);
    }
    expect(times.nextMs).toBe(earliest());
  }
});

test('an empty agenda has no next time and gives nothing', () => {
  const times = agenda();
  expect(times.nextMs).toBe(Number.POSITIVE_INFINITY);
  expect(times.take(Number.POSITIVE_INFINITY)).toBeUndefined();
});
