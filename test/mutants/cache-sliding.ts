import type { Mutant } from './mutant.js';

const sliding = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/sliding.test.ts', name }) as const;
const servers = (name: string) =>
  ({ project: 'integration', file: 'test/integration/cache-sliding.test.ts', name }) as const;

/** Faults of entries that hits extend. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-sliding-has-no-end',
    file: 'src/cache/sliding.ts',
    find: 'const freshMs = Math.min(sliding.ttlMs, sliding.endMs - now.wallMs);',
    replace: 'const freshMs = sliding.ttlMs;',
    tests: sliding('for maxAgeMs in all'),
    why: 'A value that is read all the time is never loaded anew.',
  },
  {
    id: 'cache-sliding-extends-with-every-hit',
    file: 'src/cache/sliding.ts',
    find: '      sliding.dueMs = now.monotonicMs + sliding.ttlMs * PART;\n',
    replace: '',
    tests: sliding('hits stay cheap'),
    why: 'Every hit in memory costs the shared tier a write.',
  },
  {
    id: 'cache-sliding-extensions-are-not-bounded',
    file: 'src/cache/sliding.ts',
    find: 'running.size >= RUNNING_MAX',
    replace: 'running.size >= 10 * RUNNING_MAX',
    tests: sliding('few extensions wait'),
    why: 'A frozen tier fills the memory of every process.',
  },
  {
    id: 'cache-sliding-ignores-hits-in-memory',
    file: 'src/cache/reading.ts',
    find: 'if (found.sliding !== undefined) deck.slides?.hit(key, found, found.sliding);',
    replace: '',
    tests: sliding('memory alone a hit lets'),
    why: 'What is read most ends as if nobody read it.',
  },
  {
    id: 'cache-sliding-extends-whatever-stands-there',
    file: 'src/drivers/memory/cache.ts',
    find: 'if (slidingMark(sliding) !== mark || found.remainingMs >= ttlMs)',
    replace: 'if (found.remainingMs >= ttlMs)',
    tests: {
      project: 'contract',
      file: 'test/contract/cache-memory.test.ts',
      name: 'is extended where',
    },
    why: 'A value of five seconds lives as long as the one that it replaced.',
  },
  {
    id: 'cache-sliding-in-redis-brings-an-end-nearer',
    file: 'src/drivers/redis/cache-scripts.ts',
    find: 'local value = left >= 0 and left < tonumber(ms) and',
    replace: 'local value = left >= 0 and',
    tests: {
      project: 'contract',
      file: 'test/contract/cache-redis.test.ts',
      name: 'is extended where',
    },
    why: 'A hit takes back what touch gave.',
  },
  {
    id: 'cache-sliding-in-redis-does-nothing',
    file: 'src/drivers/redis/cache-scripts.ts',
    find: "replies[i] = isSame and redis.call('pexpire', key, ms) or 0",
    replace: 'replies[i] = isSame and 1 or 0',
    tests: servers('redisCache'),
    why: 'Entries end although they are read.',
  },
  {
    id: 'cache-sliding-in-cas-tiers-extends-whatever-stands-there',
    file: 'src/cache/cas-tier.ts',
    find: 'if (remainingMs >= ttlMs || !text.includes(mark))',
    replace: 'if (remainingMs >= ttlMs)',
    tests: {
      project: 'contract',
      file: 'test/contract/cache-zookeeper.test.ts',
      name: 'is extended where',
    },
    why: 'A value of five seconds lives as long as the one that it replaced.',
  },
];
