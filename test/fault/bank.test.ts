import { describe, expect, test } from 'vitest';
import { measured } from '../servers/shared.js';
import { runBank } from './bank.js';

const SEED = Number(process.env.TRICORD_SEED ?? 20_261);
const DURATION_MS = 12_000;

/**
 * Goal: whatever happens to processes and connections, money neither appears nor disappears, every
 * transfer is in all of its ledgers or in none, and nobody was told otherwise. Method: a slice of
 * `npm run soak -- bank --minutes 10`.
 */
describe('the bank [postgresql] [mariadb] [redis]', () => {
  test('balances and ledgers agree after kills, stops, cuts and wrong clocks', async () => {
    const result = await runBank({ seed: SEED, durationMs: DURATION_MS, workerCount: 2 });
    expect(result.errors, `seed ${SEED}`).toEqual([]);
    expect(result.told.committed, JSON.stringify(result.told)).toBeGreaterThan(0);
    const { transferCount, faults } = result;
    measured(`${transferCount} transfers, ${JSON.stringify(faults)}: the books agree`);
  }, 120_000);
});
