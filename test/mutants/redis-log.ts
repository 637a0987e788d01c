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
    id: 'redis-log-lost-reply-is-a-refusal',
    file: 'src/drivers/redis/decision-log-decider.ts',
    find: "          if (lost === undefined && !isCoordinationError(error, 'RESULT_UNKNOWN')) {",
    replace: '          if (lost === undefined) {',
    tests: { ...faults, name: 'a lost reply to decide' },
    why: 'The caller would be left in doubt although one more question would tell.',
  },
  {
    id: 'redis-log-full-after-a-re-send-is-believed',
    file: 'src/drivers/redis/decision-log-decider.ts',
    find: "        if (each === 'full' && !isCertain) answer.reject(unknown(DECIDE.name, 'it was sent twice'));\n        else answer.resolve(each);",
    replace: '        answer.resolve(isCertain ? each : each);',
    tests: { ...faults, name: 'a full log that answered after a possible re-send' },
    why: 'The first copy of the request could still be recorded after the abort.',
  },
  {
    id: 'redis-log-time-up-is-a-refusal',
    file: 'src/drivers/redis/decision-log-decider.ts',
    find: "          if (scope.signal.aborted) throw unknown(DECIDE.name, 'its time was up', lost ?? error);",
    replace:
      "          if (scope.signal.aborted) throw unavailable(DECIDE.name, 'its time was up', lost ?? error);",
    tests: { ...faults, name: 'a frozen Redis at decide' },
    why: 'The coordinator would abort branches of a decision that is recorded when Redis thaws.',
  },
  {
    id: 'redis-log-one-command-a-decision',
    file: 'src/drivers/redis/decision-log-decider.ts',
    find: '    if (batch === undefined) {',
    replace: '    if (batch === undefined || batch.length > 0) {',
    tests: { ...faults, name: 'decisions of one tick' },
    why: 'Decisions would overtake each other in the batch, and be lost.',
  },
  {
    id: 'redis-log-index-after-the-incarnation',
    file: 'src/drivers/redis/decision-log.ts',
    find: '        await store.askIndex(INDEX_ADD, [incarnation], options?.signal);\n        const values = [node.nodeId];',
    replace: '        const values = [node.nodeId];',
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
    id: 'redis-log-fenced-after-a-lost-request-is-believed',
    file: 'src/drivers/redis/decision-log-decider.ts',
    find: '          if (lost === undefined) return answer;',
    replace: '          if (answer === lost || answer === "fenced") return answer;',
    tests: {
      project: 'unit',
      file: 'test/unit/redis/decision-log.test.ts',
      name: 'fenced after a lost request is unknown',
    },
    why: 'A commit that was recorded, finished by a recoverer and forgotten would be told as aborted.',
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
