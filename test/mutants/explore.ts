import type { Mutant } from './mutant.js';

const tests = (name: string) => ({
  project: 'integration' as const,
  file: 'test/integration/explore-crashes-memory.test.ts',
  name,
});

/** An explorer that does not see what it should. */
export const mutants: readonly Mutant[] = [
  {
    id: 'explore-dead-process-goes-on',
    file: 'src/testing/explore-crashes-life.ts',
    find: "if (state === 'alive') state = 'dead';",
    replace: "if (state === 'alive') state = 'alive';",
    tests: tests('convicts a coordinator that writes no decision'),
    why: 'a process that goes on after its death leaves nothing to recover',
  },
  {
    id: 'explore-no-pause',
    file: 'src/testing/explore-crashes-life.ts',
    find: '    await pause?.promise;\n',
    replace: '',
    tests: tests('convicts a log that does not fence'),
    why: 'an owner that never sleeps never wakes after recovery',
  },
  {
    id: 'explore-no-suspicion',
    file: 'src/testing/explore-crashes-process.ts',
    find: "status.state === 'live' && isGone(status.incarnation)",
    replace: "status.state === 'live' && isGone('')",
    tests: tests('finds nothing wrong in any point'),
    why: 'without the suspicion nobody recovers what a dead process left',
  },
  {
    id: 'explore-blind-for-mixed-outcomes',
    file: 'src/testing/explore-crashes-play.ts',
    find: 'if (done.length > 0 && undone.length > 0) {',
    replace: 'if (done.length > 99 && undone.length > 0) {',
    tests: tests('convicts a coordinator that writes no decision'),
    why: 'a mixed outcome must be told as one',
  },
  {
    id: 'explore-blind-for-false-success',
    file: 'src/testing/explore-crashes-play.ts',
    find: "if (told === 'committed' && undone.length > 0) {",
    replace: "if (told === 'committed' && undone.length > 99) {",
    tests: tests('convicts a coordinator that tells a success too early'),
    why: 'what the caller was told must be so',
  },
  {
    id: 'explore-blind-for-residue',
    file: 'src/testing/explore-crashes-play.ts',
    find: 'if (found.length === 0) return;',
    replace: 'if (found.length < 99) return;',
    tests: tests('convicts a participant that holds on'),
    why: 'what is left prepared is a violation',
  },
  {
    id: 'explore-another-sample-each-time',
    file: 'src/testing/explore-crashes.ts',
    find: 'const random = seededRandom(seed);',
    replace: 'const random = seededRandom(seed + items.length + Math.random() * 99_999);',
    tests: tests('takes as many points of two deaths as it is told to'),
    why: 'a seed must choose the same points again',
  },
];
