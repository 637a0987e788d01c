import type { Mutant } from './mutant.js';

const machine = {
  project: 'unit',
  file: 'test/unit/transaction/barrier-machine.test.ts',
} as const;
const faults = { project: 'fault', file: 'test/fault/function-participant.test.ts' } as const;
const redis = { project: 'integration', file: 'test/integration/redis-barrier.test.ts' } as const;

export const mutants: readonly Mutant[] = [
  {
    id: 'function-late-prepare-is-performed',
    file: 'src/transaction/barrier-machine.ts',
    find: "      return stay(state, event === 'abort' ? 'done' : 'refused');",
    replace:
      "      return event === 'prepare' ? fromNothing(event) : stay(state, event === 'abort' ? 'done' : 'refused');",
    tests: machine,
    why: 'A prepare that its abort overtook would reserve for ever.',
  },
  {
    id: 'function-null-abort-leaves-no-mark',
    file: 'src/transaction/barrier-machine.ts',
    find: "      return { to: 'aborted', effects: [], answer: 'done' };",
    replace: "      return { to: undefined, effects: [], answer: 'done' };",
    tests: machine,
    why: 'The prepare that comes late would not be refused.',
  },
  {
    id: 'function-commit-is-not-marked',
    file: 'src/transaction/barrier-machine.ts',
    find: "      return { to: 'committed', effects: ['commit'], answer: 'done' };",
    replace: "      return { to: 'prepared', effects: ['commit'], answer: 'done' };",
    tests: machine,
    why: 'A commit that is sent again would take effect again.',
  },
  {
    id: 'function-missing-branch-is-committed',
    file: 'src/transaction/barrier-machine.ts',
    find: "      return { to: undefined, effects: [], answer: 'unknown' };",
    replace: "      return { to: undefined, effects: [], answer: 'done' };",
    tests: machine,
    why: 'A branch whose row is gone would be reported as committed.',
  },
  {
    id: 'function-row-is-not-locked',
    file: 'src/drivers/postgres/barrier.ts',
    find: ' where ${key} for update',
    replace: ' where ${key}',
    tests: { ...faults, name: 'a commit that is sent eight times' },
    why: 'Two commits at the same time would both take effect.',
  },
  {
    id: 'function-failed-transaction-counts-as-done',
    file: 'src/drivers/postgres/barrier.ts',
    find: "    if (tag === 'COMMIT') return passage;",
    replace: "    if (tag !== 'never') return passage;",
    tests: { ...faults, name: 'a function that swallows an error' },
    why: 'COMMIT of a failed transaction answers ROLLBACK, without an error.',
  },
  {
    id: 'function-lost-prepare-is-a-no',
    file: 'src/transaction/function-participant-branch.ts',
    find: "      if (isCoordinationError(cause, 'RESULT_UNKNOWN') || options?.signal?.aborted) throw cause;",
    replace: '      if (options?.signal?.aborted) throw cause;',
    tests: { ...faults, name: 'a lost reply to the local COMMIT of a prepare' },
    why: 'What was prepared would stay so: nobody aborts a branch that said no.',
  },
  {
    id: 'function-redis-state-is-not-compared',
    file: 'src/drivers/redis/barrier-scripts.ts',
    find: "if (redis.call('HGET', KEYS[1], branch) or '') ~= from then return {'changed'} end",
    replace: '',
    tests: { ...redis, name: 'a commit that is sent ten times at once' },
    why: 'Two commits that looked at the same time would both take effect.',
  },
  {
    id: 'function-redis-types-are-not-checked',
    file: 'src/drivers/redis/barrier-scripts.ts',
    find: "  if write.need ~= '' and kind ~= 'none' and kind ~= write.need then",
    replace: "  if write.need == 'never' then",
    tests: { ...redis, name: 'a key of another type' },
    why: 'A write that fails in the middle of a script leaves those before it.',
  },
];
