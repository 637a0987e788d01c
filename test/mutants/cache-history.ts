import type { Mutant } from './mutant.js';

const unit = (name: string) =>
  ({ project: 'unit', file: 'test/unit/testing/cache-history.test.ts', name }) as const;
const file = 'src/testing/cache-history-check.ts';

/** Faults of the checker of caches' histories: what it would let pass, or wrongly accuse. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-history-promise-counts-twice',
    file,
    find: 'newestBefore(ledger.acknowledged.get(` ${key}`), at - allowedMs)',
    replace: 'newestBefore(ledger.acknowledged.get(` ${key}`), at - 2 * allowedMs)',
    tests: unit('promised staleness'),
    why: 'A cache that is twice as stale as it promises passes.',
  },
  {
    id: 'cache-history-own-writes-are-not-judged',
    file,
    find: '  if (own === undefined || own.write.version <= version) return [];',
    replace: '  if (own === undefined || own.write.version >= 0) return [];',
    tests: unit('not for the own writes'),
    why: 'A node that does not see its own write passes.',
  },
  {
    id: 'cache-history-late-acknowledgement-takes-back',
    file,
    find: 'before.push({ atMs: event.at, write: first, newest: isNewest ? first : newest });',
    replace:
      'before.push({ atMs: event.at, write: first, newest: isNewest || newest === undefined ? first : first });',
    tests: unit('comes late'),
    why: 'An older value after a newer one passes, if some older write ended last.',
  },
  {
    id: 'cache-history-failed-write-counts',
    file,
    find: "if (event.outcome === 'failed') return true;",
    replace: "if (event.outcome === 'failed' && event.at < 0) return true;",
    tests: unit('promises nothing'),
    why: 'A correct cache is accused after a write that it had refused.',
  },
  {
    id: 'cache-history-still-process-is-blamed',
    file,
    find: 'const allowedMs = stalenessMs + stoodStillMs + skewMs;',
    replace: 'const allowedMs = stalenessMs + stoodStillMs * 0 + skewMs;',
    tests: unit('stood still'),
    why: 'A process that was stopped is accused of not having heard.',
  },
];
