import { expect, test } from 'vitest';
import { playSeed } from './simulation.js';

/**
 * Goal: money is neither made nor lost, whatever goes wrong together, in 10,000 courses of events.
 * Method: deterministic simulation; each seed is one course, and repeats exactly:
 * `SEED=4711 npx vitest run --config test/vitest.config.ts --root . --project unit simulation`.
 */
const SEEDS = 10_000;
const SHARES = 10;
/** A healthy machine needs a fraction of it; a slow one fails here and not by being silent. */
const BOUND_MS = 60_000;

const { SEED } = process.env;

if (SEED !== undefined) {
  test(`books balance after trouble of every kind, seed ${SEED}`, () => playSeed(Number(SEED)));
} else {
  const share = SEEDS / SHARES;
  for (let first = 0; first < SEEDS; first += share) {
    test(
      `books balance after trouble of every kind, seeds ${first} to ${first + share - 1}`,
      async () => {
        const sums = { committed: 0, aborted: 0, 'in-doubt': 0, rejected: 0 };
        for (let seed = first; seed < first + share; seed += 1) {
          const told = await playSeed(seed);
          for (const [state, count] of Object.entries(told)) {
            sums[state as keyof typeof sums] += count;
          }
        }
        // A simulation in which nothing happens would prove nothing.
        expect(sums.committed).toBeGreaterThan(share);
        expect(sums.aborted).toBeGreaterThan(share / 10);
        expect(sums['in-doubt']).toBeGreaterThan(0);
      },
      BOUND_MS,
    );
  }
}
