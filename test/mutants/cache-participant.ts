import type { Mutant } from './mutant.js';

const participant = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/participant.test.ts', name }) as const;

/** Faults of a cache that takes part in transactions. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-participant-commits-beside-the-others',
    file: 'src/transaction/protocol-tasks.ts',
    find: "return !endings.includes('left');",
    replace: 'return endings.length >= 0;',
    tests: participant('commits the cache after every other branch'),
    why: 'A page is cached anew between the invalidation and the commit of the database: old until its TTL.',
  },
  {
    id: 'cache-participant-recovery-forgets-the-order',
    file: 'src/transaction/recovery-pass.ts',
    find: 'if (isDone.includes(false)) return;',
    replace: 'if (isDone.length < 0) return;',
    tests: participant('commits the cache after every other branch'),
    why: 'A recoverer invalidates before the database has committed.',
  },
  {
    id: 'cache-participant-lets-go-of-its-keys',
    file: 'src/cache/participant-holds.ts',
    find: 'ofBranch.set(key, keepClaim(keeper, key, claim));',
    replace: 'ofBranch.set(key, () => claim);',
    tests: participant('removes and holds its keys at prepare'),
    why: 'After leaseMs the old value is stored again, while the transaction is still under way.',
  },
  {
    id: 'cache-participant-acknowledges-what-waits-in-its-process',
    file: 'src/cache/participant-holds.ts',
    find: 'const { direct: authority, near } = tiers;',
    replace: 'const { authority, near } = tiers;',
    tests: participant('keeps nothing back that only waits in this process'),
    why: 'The commit record is forgotten, the process dies, and the old value stays.',
  },
  {
    id: 'cache-participant-pins-the-record-for-ever',
    file: 'src/cache/participant-holds.ts',
    find: 'if (clock.wallMs() - preparedAtMs < forgetAfterMs) throw error;',
    replace: 'if (clock.wallMs() - preparedAtMs < forgetAfterMs * 1e9) throw error;',
    tests: participant('a dead cache pins no record'),
    why: 'A cache that is gone for good keeps commit records in the log for ever.',
  },
  {
    id: 'cache-participant-token-of-its-own',
    file: 'src/cache/participant-holds.ts',
    find: "return createHash('sha256').update(branchId)",
    replace: "return createHash('sha256').update(`${branchId} ${performance.now()}`)",
    tests: participant('is ended by commit and abort alike'),
    why: 'Whoever recovers a transaction cannot let go of the keys that its dead process holds.',
  },
];
