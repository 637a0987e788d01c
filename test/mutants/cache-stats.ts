import type { Mutant } from './mutant.js';

const stats = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/stats.test.ts', name }) as const;

/** Faults of what a cache counts. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-stats-window-keeps-a-bucket-too-many',
    file: 'src/cache/statistics.ts',
    find: 'if (marks.length > BUCKETS) marks.shift();',
    replace: 'if (marks.length > BUCKETS + 1) marks.shift();',
    tests: stats('window of the last minute'),
    why: 'The window is longer than a minute, and a rate of it is not what its name says.',
  },
  {
    id: 'cache-stats-difference-forgets-the-tiers',
    file: 'src/cache/statistics.ts',
    find: 'before === undefined ? tier : subtracted(TIER_COUNTS, tier, before);',
    replace: 'before === undefined ? tier : subtracted(TIER_COUNTS.slice(1), tier, before);',
    tests: stats('subtracted'),
    why: 'The hit rate of a tier between two snapshots is none.',
  },
  {
    id: 'cache-stats-timer-keeps-a-forgotten-cache',
    file: 'src/cache/statistics.ts',
    find: 'const present = held.deref();',
    replace: 'const present = held.deref() ?? marking;',
    tests: stats('let go without a close'),
    why: 'Each cache that is made for a while and not closed stays in memory for ever.',
  },
];
