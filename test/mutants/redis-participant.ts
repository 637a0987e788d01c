import type { Mutant } from './mutant.js';

const contract = { project: 'contract', file: 'test/contract/participant-redis.test.ts' } as const;
const rules = {
  project: 'integration',
  file: 'test/integration/redis-participant.test.ts',
} as const;
const faults = { project: 'fault', file: 'test/fault/redis-participant.test.ts' } as const;
const scripts = 'src/drivers/redis/participant-scripts.ts';

export const mutants: readonly Mutant[] = [
  {
    id: 'redis-participant-missing-branch-is-committed',
    file: scripts,
    find: "if not stored then return {'unknown'} end",
    replace: "if not stored then return {'committed'} end",
    tests: { ...faults, name: 'a Redis that forgot a prepared branch' },
    why: 'A branch that a fail-over lost would be told as committed.',
  },
  {
    id: 'redis-participant-abort-without-a-tombstone',
    file: scripts,
    find: "if not stored then\n  note(KEYS[5])\n  return {'aborted'}",
    replace: "if not stored then\n  return {'aborted'}",
    tests: { ...contract, name: 'a branch that was aborted elsewhere before it voted votes no' },
    why: 'A late prepare would hold its keys until somebody looks.',
  },
  {
    id: 'redis-participant-floor-not-checked-at-prepare',
    file: scripts,
    find: '    if intent.by < 0 and intent.min and sum < intent.min then',
    replace: '    if false then',
    tests: { ...rules, name: 'of 64 prepares at once' },
    why: 'More would be promised than there is.',
  },
  {
    id: 'redis-participant-stock-taken-at-commit',
    file: scripts,
    find: "take(intents, 1)\nreturn {'yes'}",
    replace: "return {'yes'}",
    tests: { ...rules, name: 'of 64 prepares at once' },
    why: 'Two prepared branches would count on the same unit.',
  },
  {
    id: 'redis-participant-abort-keeps-what-was-taken',
    file: scripts,
    find: 'finish(intents)\ntake(intents, -1)',
    replace: 'finish(intents)',
    tests: { ...rules, name: 'of 64 prepares at once' },
    why: 'Every refused order would lose stock.',
  },
  {
    id: 'redis-participant-yes-with-a-time-to-live',
    file: scripts,
    find: "redis.call('HSET', KEYS[1], ':format', '${PARTICIPANT_FORMAT}', branch, ARGV[4])",
    replace:
      "redis.call('HSET', KEYS[1], ':format', '${PARTICIPANT_FORMAT}', branch, ARGV[4])\nredis.call('EXPIRE', KEYS[1], 3600)",
    tests: { ...rules, name: 'has a time to live' },
    why: 'A yes that expires is a no that nobody hears.',
  },
  {
    id: 'redis-participant-lock-with-a-time-to-live',
    file: scripts,
    find: "  redis.call('HSET', KEYS[3], intent.key, value)",
    replace:
      "  redis.call('HSET', KEYS[3], intent.key, value)\n  redis.call('EXPIRE', KEYS[3], 3600)",
    tests: { ...rules, name: 'has a time to live' },
    why: 'Somebody else would change what a prepared branch relies on.',
  },
  {
    id: 'redis-participant-second-reader-frees-the-lock',
    file: scripts,
    find: '    if count > 1 then redis.call',
    replace: '    if count > 9 then redis.call',
    tests: { ...rules, name: 'what a branch read is held too' },
    why: 'A writer would change what a prepared branch has read.',
  },
  {
    id: 'redis-participant-condition-not-checked',
    file: scripts,
    find: "    if not is_met then return refuse(intent.key, 'its value is not the expected one') end",
    replace: '',
    tests: { ...rules, name: 'agree with a naive model' },
    why: 'A branch would build on what another transaction has changed.',
  },
  {
    id: 'redis-participant-commit-that-needs-memory-first',
    file: scripts,
    find: 'finish(intents)\napply(intents)',
    replace: 'apply(intents)\nfinish(intents)',
    tests: { ...faults, name: 'when memory is used up' },
    why: 'A yes could not be kept while Redis is full.',
  },
  {
    id: 'redis-participant-lost-reply-is-passed-on',
    file: 'src/drivers/redis/participant-store.ts',
    find: "        const isOver = !isCoordinationError(error, 'RESULT_UNKNOWN');",
    replace: '        const isOver = true;',
    tests: { ...faults, name: 'lost replies to prepare, commit, abort' },
    why: 'The caller would be left in doubt although one more question would tell.',
  },
  {
    id: 'redis-participant-ended-branch-prepares-again',
    file: scripts,
    find: "if done then return {done} end\nif redis.call('ZSCORE', KEYS[2], branch) then return {'yes'} end",
    replace: "if redis.call('ZSCORE', KEYS[2], branch) then return {'yes'} end",
    tests: { ...contract, name: 'a branch that was aborted elsewhere before it voted votes no' },
    why: 'A prepare that was sent twice would hold what nobody ends.',
  },
  {
    id: 'redis-participant-unbounded-evidence',
    file: scripts,
    find: "    if not is_due and redis.call('ZCARD', evidence) <= tonumber(ARGV[3]) then return end",
    replace: '    if not is_due then return end',
    tests: { ...rules, name: 'evidence is bounded in number' },
    why: 'Redis would fill up with the outcomes of old branches.',
  },
  {
    id: 'redis-participant-slots-not-compared',
    file: 'src/drivers/redis/participant-store.ts',
    find: '      if (!calls.client.isCluster || hashTagOf(`${prefix}${key}`) === slotTag) return;',
    replace: '      if (hashTagOf(`${prefix}${key}`) !== key) return;',
    tests: {
      project: 'unit',
      file: 'test/unit/redis/participant.test.ts',
      name: 'a key of another slot',
    },
    why: 'A cluster would refuse the whole branch at prepare with CROSSSLOT.',
  },
];
