import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { allMutants, stalenessOf } from '../../mutants/registry.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

describe('the deliberate faults', () => {
  test('fit the code: the text of each stands exactly once in its file', async () => {
    const misfits: string[] = [];
    for (const mutant of await allMutants(root)) {
      const staleness = await stalenessOf(root, mutant);
      if (staleness !== undefined) misfits.push(`${mutant.id}: ${staleness}`);
    }
    expect(misfits).toEqual([]);
  });
});
