import type { Mutant } from './mutant.js';

const through = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/policy-through.test.ts', name }) as const;

const behind = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/policy-behind.test.ts', name }) as const;

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
  {
    id: 'cache-write-behind-is-not-bounded',
    file: 'src/cache/write-behind-queue.ts',
    find: 'hasRoom: (key) => waiting.has(key) || taken.has(key) || count() < pendingMax,',
    replace: 'hasRoom: () => count() < Number.MAX_SAFE_INTEGER,',
    tests: behind('is bounded'),
    why: 'While the source is down the process fills its memory.',
  },
  {
    id: 'cache-write-behind-copies-the-value-late',
    file: 'src/cache/policy-behind.ts',
    find: '() => inside.put(key, local, rest)',
    replace: '() => cache.set(key, value, rest)',
    tests: behind('encodes a value once'),
    why: 'What is changed while its writer waits for room differs in the cache and in the source.',
  },
  {
    id: 'cache-write-behind-tries-the-old-value-again',
    file: 'src/cache/write-behind-queue.ts',
    find: '      all.set(key, { value: later.value, sinceMs, first });',
    replace: '      all.set(key, { value: (taken.get(key) ?? later).value, sinceMs, first });',
    tests: behind('what came while it was written'),
    why: 'After a failure the newest value never reaches the source.',
  },
  {
    id: 'cache-write-behind-flushes-before-the-last-write',
    file: 'src/cache/write-behind-queue.ts',
    find: 'hasUpTo: (number) =>\n      [taken, waiting]',
    replace: 'hasUpTo: (number) =>\n      [waiting]',
    tests: behind('of one key writes in order|close is bounded'),
    why: 'flush resolves before the source has what it promises.',
  },
  {
    id: 'cache-write-behind-loses-silently-at-close',
    file: 'src/cache/write-behind-pump.ts',
    find: 'return lose(queue.drain(), error);',
    replace: 'return queue.drain().slice(0, 0) as never;',
    tests: behind('close is bounded'),
    why: 'Nobody knows what the source does not have.',
  },
  {
    id: 'cache-write-behind-does-not-cache-again',
    file: 'src/cache/write-behind-pump.ts',
    find: '    await recache(batch, true);\n',
    replace: '',
    tests: behind('caches again'),
    why: 'An old value that another node loaded meanwhile stays until its TTL.',
  },
  {
    id: 'cache-write-behind-keeps-a-refused-value',
    file: 'src/cache/policy-behind.ts',
    find: '      undo();\n',
    replace: '',
    tests: behind('a bad value is refused'),
    why: 'The source gets what the caller was told is refused.',
  },
];
