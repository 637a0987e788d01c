import type { Mutant } from './mutant.js';

const model = (name?: string) =>
  ({ project: 'unit', file: 'test/unit/cache/strict-model.test.ts', name }) as const;
const strict = (name: string) =>
  ({ project: 'integration', file: 'test/integration/cache-strict.test.ts', name }) as const;

const audit = (name: string) =>
  ({ project: 'unit', file: 'test/unit/cache/audit.test.ts', name }) as const;

/** Faults of strict caches, and of the audit. */
export const mutants: readonly Mutant[] = [
  {
    id: 'cache-strict-bytes-stored-as-text',
    file: 'src/drivers/redis/cache-reservations.ts',
    find: 'calls.argument(stored)',
    replace: 'stored',
    tests: strict('writes as bytes'),
    why: 'What a codec writes as bytes stands there as something else, and is a miss for everybody.',
  },
  {
    id: 'cache-strict-history-remembers-the-oldest',
    file: 'src/testing/cache-history-order.ts',
    find: 'if (versionOf(end) > versionOf(newest)) newest = end;',
    replace: 'if (versionOf(end) < versionOf(newest)) newest = end;',
    tests: {
      project: 'unit',
      file: 'test/unit/testing/cache-history.test.ts',
      name: 'linearizable',
    },
    why: 'A history in which reads go backwards passes.',
  },
  {
    id: 'cache-audit-takes-a-copy-that-has-gone',
    file: 'src/cache/audit.ts',
    find: 'if (front?.store.get(key) !== local) return undefined;',
    replace: '',
    tests: audit('does not count what news'),
    why: 'Every write of another node is reported as an inconsistency.',
  },
  {
    id: 'cache-strict-clocks-do-not-differ',
    file: 'src/cache/strict-write.ts',
    find: 'return leaseMs * (1 + drift) ** 2 + COARSE_MS;',
    replace: 'return leaseMs * (1 + drift - drift) ** 2 + COARSE_MS;',
    tests: model("'set' by 1"),
    why: 'A slow clock lets a copy live beyond the wait of its writer.',
  },
  {
    id: 'cache-strict-takeover-is-enough-after-a-commit',
    file: 'src/cache/strict-write.ts',
    find: 'event.isOwn || (isCovered && !state.mustOwn)',
    replace: 'event.isOwn || isCovered',
    tests: model("'update' by 2"),
    why: 'A value that another writer stored before the commit stays in memories after it.',
  },
  {
    id: 'cache-strict-copy-of-a-held-key',
    file: 'src/cache/reading.ts',
    find: 'if (!answer.isHeld) keepNear(deck,',
    replace: 'keepNear(deck,',
    tests: strict('while a writer waits'),
    why: 'A read keeps the old value while its writer waits for the copies to end.',
  },
  {
    id: 'cache-strict-nobody-waits',
    file: 'src/cache/strict-run.ts',
    find: '        await pass(clock, strictWaitMs(policy));',
    replace: '',
    tests: strict('the source changes only'),
    why: 'The commit happens while memories still answer the old value.',
  },
  {
    id: 'cache-strict-redis-concludes-what-is-not-its-own',
    file: 'src/drivers/redis/cache-strict-scripts.ts',
    find: 'if claim ~= ARGV[1] then',
    replace: "if claim ~= ARGV[1] and claim ~= '' then",
    tests: strict('writers who meet'),
    why: 'A writer whose reservation is over takes it for its own, and copies of before its commit stay.',
  },
  {
    id: 'cache-contract-strict-nobody-waits',
    file: 'src/cache/strict-run.ts',
    find: '        await pass(clock, strictWaitMs(policy));',
    replace: '',
    tests: {
      project: 'contract',
      file: 'test/contract/cache-redis.test.ts',
      name: 'a plain client strict with memory before it',
    },
    why: 'A driver passes its contract although a copy in memory is older than what was acknowledged.',
  },
  {
    id: 'cache-contract-lease-asks-no-leader',
    file: 'src/cache/consistency.ts',
    find: "const isSynced = consistency === 'lease' &&",
    replace: "const isSynced = consistency === 'ttl' &&",
    tests: {
      project: 'fault',
      file: 'test/fault/zookeeper-cache-ensemble.test.ts',
      name: 'waits until its server has caught up',
    },
    why: 'A cache on ZooKeeper that is asked for `lease` is as old as its server.',
  },
];
