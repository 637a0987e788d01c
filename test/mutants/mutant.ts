/**
 * A small deliberate fault, and the tests that must notice it.
 *
 * Every file of this folder that exports `mutants: readonly Mutant[]` is part of the list: one file
 * for each part of the library (lock.ts, redis.ts, …). `npm run mutants -- --only <id>` tries one.
 */
export interface Mutant {
  /** Unique: the part of the library and the fault, e.g. `lock-ttl-counted-from-the-reply`. */
  readonly id: string;
  /** The file that gets the fault, from the root of the repository. */
  readonly file: string;
  /** Text that stands exactly once in the file; otherwise the mutant is out of date, an error. */
  readonly find: string;
  /** The fault. It must still compile: a mutant that breaks the file proves nothing. */
  readonly replace: string;
  readonly tests: MutantTests;
  /** What would go wrong for a user, in a sentence. */
  readonly why: string;
}

/** Tests that pass without the fault and of which at least one fails with it. */
export interface MutantTests {
  readonly project: 'unit' | 'contract' | 'integration' | 'fault';
  /** The test file, from the root of the repository. */
  readonly file: string;
  /** A regular expression on the tests' full names, as `vitest -t` takes it. Default: all. */
  readonly name?: string | undefined;
}
