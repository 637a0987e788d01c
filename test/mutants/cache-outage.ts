import type { Mutant } from './mutant.js';

const breaker = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/breaker.test.ts', name }) as const;

const deferred = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/deferred.test.ts', name }) as const;

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
  {
    id: 'cache-deferred-key-is-read-in-its-tier',
    file: 'src/cache/deferring-authority.ts',
    find: 'if (!deferred.blocks(key)) return inner.readThen(',
    replace: 'if (deferred.count >= 0) return inner.readThen(',
    tests: deferred('of a delete waits'),
    why: 'After a delete that resolved, its own process reads the old value.',
  },
  {
    id: 'cache-deferred-second-write-is-forgotten',
    file: 'src/cache/deferred-writes.ts',
    find: 'if (waiting.get(place) !== write) return true;',
    replace: 'if (!waiting.has(place)) return true;',
    tests: deferred('written again meanwhile'),
    why: 'What was written while the first invalidation was under way keeps its old value for ever.',
  },
  {
    id: 'cache-deferred-breaker-closes-before-the-replay',
    file: 'src/cache/outage.ts',
    find: 'breakerOf(settings, counter, () => (deferred?.count ?? 0) === 0);',
    replace: 'breakerOf(settings, counter, () => (deferred?.count ?? 0) >= 0);',
    tests: deferred('replayed before an open breaker'),
    why: 'The tier serves again while it still has what was invalidated.',
  },
  {
    id: 'cache-deferred-tags-do-not-block',
    file: 'src/cache/deferred-writes.ts',
    find: 'blocks: (key) => self.sweepCount > 0 || self.waiting.has(key),',
    replace: 'blocks: (key) => self.sweepCount > 1 || self.waiting.has(key),',
    tests: deferred('of a tag waits'),
    why: 'After invalidateTag has resolved, its own process reads what carries the tag.',
  },
  {
    id: 'cache-deferred-removed-entry-is-touched',
    file: 'src/cache/deferring-authority.ts',
    find: '!deferred.blocks(key) && inner.touch(key, ...rest)',
    replace: 'inner.touch(key, ...rest)',
    tests: deferred('leaves nothing to be touched'),
    why: 'An entry that was deleted, and only waits to be, is given a new life.',
  },
  {
    id: 'cache-breaker-lets-every-sync-through',
    file: 'src/cache/guarded-authority.ts',
    find: 'sync: sync && (async (timeoutMs) => (await ask(() => sync(timeoutMs))) ?? failed),',
    replace: 'sync,',
    tests: breaker('is not asked to catch up either'),
    why: 'Every linearizable read waits for a tier that is known to be dead.',
  },
  {
    id: 'cache-read-that-throws-at-once-never-ends',
    file: 'src/cache/authority-reads.ts',
    find: '    reading = Promise.reject(error);',
    replace: '    throw error;',
    tests: { project: 'unit', file: 'test/unit/cache/failures.test.ts', name: 'throws at once' },
    why: 'A driver of somebody else takes the process down, or keeps the cache from closing.',
  },
  {
    id: 'cache-deferred-hold-ends-the-hold-of-others',
    file: 'src/cache/deferring-authority.ts',
    find: 'const onDeferred = { reply: undefined, send: removal(key) };',
    replace: 'const onDeferred = { reply: undefined, send: removal(key, token) };',
    tests: deferred('leaves the hold of an update alone'),
    why: 'What is loaded while an update commits is stored, and stays old if its process dies.',
  },
];
