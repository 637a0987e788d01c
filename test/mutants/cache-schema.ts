import type { Mutant } from './mutant.js';

const schema = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/schema.test.ts', name }) as const;

/** Faults of a cache that checks what a shared tier has. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-schema-is-not-asked-at-the-lease',
    file: 'src/cache/authority-leases.ts',
    find: 'return unlessUnfit(parts, key, await unlessOutdated(parts, entry, timeoutMs));',
    replace: 'return unlessOutdated(parts, entry, timeoutMs);',
    tests: schema('between a read and its lease'),
    why: 'A loader is not called, and its caller gets what another release wrote.',
  },
  {
    id: 'cache-schema-is-not-asked-for-plain-entries',
    file: 'src/cache/authority-reads.ts',
    find: '&& tags === undefined && !parts.check;',
    replace: '&& tags === undefined;',
    tests: schema('that does not fit the schema is a miss'),
    why: 'The hot path gives out what does not have its type.',
  },
  {
    id: 'cache-schema-hands-out-its-own-copy',
    file: 'src/cache/schema.ts',
    find: 'return { ...local, value, isShareable, copy };',
    replace: 'return { ...local, value: checked.value, isShareable, copy };',
    tests: schema('nobody can change it'),
    why: 'A reader changes the cache for all others.',
  },
];
