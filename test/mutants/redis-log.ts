import type { Mutant } from './mutant.js';

const contract = { project: 'contract', file: 'test/contract/decision-log-redis.test.ts' } as const;
const faults = { project: 'fault', file: 'test/fault/redis-log.test.ts' } as const;
const scripts = 'src/drivers/redis/decision-log-scripts.ts';

export const mutants: readonly Mutant[] = [
  {
    id: 'redis-log-decides-without-the-incarnation-check',
    file: scripts,
    find: "    if fenced or not node then answer = 'fenced'",
    replace: "    if false then answer = 'fenced'",
    tests: { ...contract, name: 'a fenced incarnation decides no more' },
    why: 'A paused owner that wakes would commit what a recoverer has rolled back.',
  },
  {
    id: 'redis-log-lost-incarnation-may-decide',
    file: scripts,
    find: "    if fenced or not node then answer = 'fenced'",
    replace: "    if fenced then answer = 'fenced'",
    tests: { ...faults, name: 'a Redis that forgot everything' },
    why: 'A log that lost the fence with its data would let the fenced owner decide.',
  },
  {
    id: 'redis-log-decision-sent-again-is-fenced',
    file: scripts,
    find: "  if redis.call('HEXISTS', KEYS[2], transaction) == 0",
    replace: "  if fenced or redis.call('HEXISTS', KEYS[2], transaction) == 0",
    tests: { ...contract, name: 'a fence undoes no decision' },
    why: 'After a lost reply a committed transaction would be told as aborted.',
  },
  {
    id: 'redis-log-record-with-a-time-to-live',
    file: scripts,
    find: "      redis.call('HSET', KEYS[2], transaction, value)",
    replace:
      "      redis.call('HSET', KEYS[2], transaction, value) redis.call('EXPIRE', KEYS[2], 86400)",
    tests: { ...faults, name: 'nothing has a time to live' },
    why: 'A participant that is down for a day would abort what the others committed.',
  },
  {
    id: 'redis-log-first-acknowledgement-ends-the-record',
    file: scripts,
    find: '    if #left > 0 then',
    replace: '    if #left > 1 then',
    tests: { ...contract, name: 'until its last participant has acknowledged' },
    why: 'Nobody would repeat the commit of the participant that did not answer.',
  },
  {
    id: 'redis-log-full-after-a-re-send-is-believed',
    file: 'src/drivers/redis/decision-log-decider.ts',
    find: "if (answer === 'committed' || (isCertain && answer !== undefined)) return answer;",
    replace: 'if (isCertain || answer !== undefined) return answer as StepAnswer;',
    tests: { ...faults, name: 'a full log that answered after a possible re-send' },
    why: 'The first copy of the request could still be recorded after the abort.',
  },
  {
    id: 'redis-log-index-after-the-incarnation',
    file: 'src/drivers/redis/decision-log.ts',
    find: '      await store.askIndex(INDEX_ADD, [incarnation], signal);',
    replace: '',
    tests: { ...contract, name: 'an incarnation is live while its process is there' },
    why: 'Nobody would find the incarnation of a dead process, and its branches would wait for ever.',
  },
  {
    id: 'redis-log-evicting-redis-is-accepted',
    file: 'src/drivers/redis/guarantees.ts',
    find: "  if (policy !== 'noeviction') {",
    replace: "  if (policy !== 'noeviction' && version === '') {",
    tests: { ...faults, name: 'a maxmemory-policy that evicts' },
    why: 'Redis would throw decisions away under memory pressure.',
  },
  {
    id: 'redis-refused-second-send-counts-as-nothing-sent',
    file: 'src/drivers/redis/errors.ts',
    find: '  if (NEVER_WRITTEN.test(message) && !maybeResent) {',
    replace: '  if (NEVER_WRITTEN.test(message)) {',
    tests: {
      project: 'unit',
      file: 'test/unit/redis/calls.test.ts',
      name: 'proves nothing of a first one',
    },
    why: 'A decision that ran before a restart would be aborted when its copy cannot be sent.',
  },
];
