import type { Mutant } from './mutant.js';

const breaker = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/breaker.test.ts', name }) as const;

/** Faults of a cache whose shared tier is out of order. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-breaker-hears-of-calls-of-before',
    file: 'src/cache/breaker.ts',
    find: 'if (entered !== self.era) return;',
    replace: 'if (entered > self.era) return;',
    tests: breaker('hears nothing of calls that were let through before'),
    why: 'A late answer of before the outage closes the breaker, and everybody waits again.',
  },
  {
    id: 'cache-breaker-lets-everybody-probe',
    file: 'src/cache/breaker.ts',
    find: "if (self.state === 'half-open' || !isProbeDue(self)) return undefined;",
    replace: 'if (!isProbeDue(self)) return undefined;',
    tests: breaker('lets one call through'),
    why: 'After each openMs all readers wait for a tier that is still frozen.',
  },
  {
    id: 'cache-breaker-blames-the-tier-for-newer-formats',
    file: 'src/cache/guarded-authority.ts',
    find: 'return !(isCoordinationError(answer.error) && NO_FAULTS.has(answer.error.code));',
    replace: 'return !(isCoordinationError(answer.error) && NO_FAULTS.size === 0);',
    tests: breaker('is not blamed'),
    why: 'One key of a newer release turns off the tier for all keys.',
  },
  {
    id: 'cache-memory-keeps-what-was-loaded-without-the-tier-for-its-whole-life',
    file: 'src/cache/loading.ts',
    find: 'keepNear(deck, ticket, value, { since, forMs: Math.min(ttlMs, outageTtlMs) });',
    replace: 'keepNear(deck, ticket, value, { since, forMs: Math.max(ttlMs, outageTtlMs) });',
    tests: breaker('at the (read|lease|fill) is kept by tracked memory'),
    why: 'A delete that another node has acknowledged is never heard of: the old value stays.',
  },
];
