import type { Mutant } from './mutant.js';

const through = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/policy-through.test.ts', name }) as const;

/** Faults of the named policies. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-write-through-keeps-the-entry-of-the-other-writer',
    file: 'src/cache/write-through.ts',
    find: '    else await authority.invalidate(key, undefined, timeoutMs);\n',
    replace: '',
    tests: through('of two that overlap'),
    why: 'The cache has the value of one writer, and the source that of the other, until the TTL.',
  },
  {
    id: 'cache-write-through-commits-before-it-has-the-lease',
    file: 'src/cache/write-through.ts',
    find: "if ((await authority.seize(key, token, timeoutMs, fence)) === 'held')",
    replace:
      "if ((await authority.seize(key, token, timeoutMs, fence).catch(() => 'leader')) === 'held')",
    tests: through('a tier that is down is told'),
    why: 'The source is written although no old value could be removed.',
  },
  {
    id: 'cache-write-through-fills-after-a-failed-commit',
    file: 'src/cache/write-through.ts',
    find: '    await authority.invalidate(key, undefined, timeoutMs).catch(() => {});\n    throw error;',
    replace:
      '    await authority.store(key, token, fill, timeoutMs).catch(() => {});\n    throw error;',
    tests: through('writes the source first'),
    why: 'Readers see what the source has refused.',
  },
];
