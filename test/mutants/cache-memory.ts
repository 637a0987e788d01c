import type { Mutant } from './mutant.js';

const store = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/memory-store.test.ts', name }) as const;
const clock = (name: string) =>
  ({ project: 'unit', file: 'test/unit/core/coarse-clock.test.ts', name }) as const;

/** Faults of the process's memory: who is evicted, what entries weigh, when they end. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-memory-new-keys-enter-the-main-queue',
    file: 'src/drivers/memory/cache-s3-fifo.ts',
    find: 'counts.at[slot] = isBack ? IN_MAIN : 0;\n      (isBack ? main : small).push(slot);',
    replace: 'counts.at[slot] = IN_MAIN;\n      main.push(slot);',
    tests: store('nine more of one with scans'),
    why: 'A scan sweeps the popular entries out.',
  },
  {
    id: 'cache-memory-hits-in-the-main-queue-do-not-count',
    file: 'src/drivers/memory/cache-s3-fifo.ts',
    find: 'const isSpared = (count & HITS) > 0 && chances < CHANCES_MAX;',
    replace: 'const isSpared = isFromSmall && (count & HITS) > 0 && chances < CHANCES_MAX;',
    tests: store('the paper’s S3-FIFO'),
    why: 'The most popular entry goes as soon as it is the oldest.',
  },
  {
    id: 'cache-memory-ghosts-are-not-asked',
    file: 'src/drivers/memory/cache-s3-fifo.ts',
    find: 'const isBack = wasGhost(key);',
    replace: 'const isBack = wasGhost(key) && false;',
    tests: store('the paper’s S3-FIFO'),
    why: 'A key that comes back again and again never gets a place that lasts.',
  },
  {
    id: 'cache-memory-ghosts-never-fade',
    file: 'src/drivers/memory/cache-ghosts.ts',
    find: 'return ageAt(at) < lately;',
    replace: 'return ageAt(at) >= 0 || lately > 0;',
    tests: store('the paper’s S3-FIFO'),
    why: 'What was popular last week passes by what is asked for now.',
  },
  {
    id: 'cache-memory-replaced-weight-stays',
    file: 'src/drivers/memory/cache-store.ts',
    find: 'byteCount += bytes - (shelf.weights[slot] ?? 0);',
    replace: 'byteCount += bytes;',
    tests: store('takes its place in the weight'),
    why: 'The memory believes itself full and empties itself.',
  },
  {
    id: 'cache-memory-room-is-made-for-the-entry-alone',
    file: 'src/drivers/memory/cache-store.ts',
    find: 'while (byteCount + bytes - (shelf.weights[present()] ?? 0) > limit) evict();',
    replace: 'if (byteCount + bytes - (shelf.weights[present()] ?? 0) > limit) evict();',
    tests: store('never takes more than its bytes'),
    why: 'Large entries in the place of small ones fill the heap.',
  },
  {
    id: 'cache-coarse-clock-trusts-near-ends',
    file: 'src/core/coarse-clock.ts',
    find: 'endMonotonicMs - monotonicMs > NEAR_MS && endWallMs - wallMs > NEAR_MS',
    replace: 'endMonotonicMs - monotonicMs > 0 && endWallMs - wallMs > 0',
    tests: clock('within a second is exact'),
    why: 'An entry is answered after its end while the program is busy.',
  },
  {
    id: 'cache-coarse-clock-counts-no-checks',
    file: 'src/core/coarse-clock.ts',
    find: '      checksLeft -= 1;\n',
    replace: '',
    tests: clock('within 128 checks'),
    why: 'A loop of hits that lets no timer run is answered from yesterday.',
  },
  {
    id: 'cache-coarse-clock-is-not-forgotten',
    file: 'src/core/coarse-clock.ts',
    find: '      isTimerSet = false;\n      checksLeft = 0;',
    replace: '      isTimerSet = false;',
    tests: clock('a timer has had its turn'),
    why: 'A cache that is read once a minute answers entries that ended long ago.',
  },
];
