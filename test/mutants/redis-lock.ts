import type { Mutant } from './mutant.js';

const UNIT = { project: 'unit', file: 'test/unit/redis/lock.test.ts' } as const;
const CALLS = { project: 'unit', file: 'test/unit/redis/calls.test.ts' } as const;
const SCRIPTS = { project: 'integration', file: 'test/integration/redis-lock.test.ts' } as const;
const NETWORK = { project: 'fault', file: 'test/fault/redis-lock-network.test.ts' } as const;
const CONTRACT = { project: 'contract', file: 'test/contract/lock-redis.test.ts' } as const;
const LOCK = 'src/drivers/redis/lock';

export const mutants: readonly Mutant[] = [
  {
    id: 'redis-lock-no-tombstone-on-cancel',
    file: `${LOCK}/cancel.ts`,
    find: 'bury(s, id, tonumber(ARGV[2]))\nsettle',
    replace: 'forget(s, id)\nsettle',
    tests: { ...SCRIPTS, name: 'after a cancel the grant id is over' },
    why: 'An acquire that arrives after its own cancel would hold for a whole TTL.',
  },
  {
    id: 'redis-lock-ambiguous-release-leaves-no-tombstone',
    file: `${LOCK}/release.ts`,
    find: "if ARGV[2] == '1' then bury",
    replace: "if ARGV[2] == '2' then bury",
    tests: { ...SCRIPTS, name: 'after a release the grant id is over' },
    why: 'A delayed second send of an acquire would take the lock again after its release.',
  },
  {
    id: 'redis-lock-second-release-tells-lost',
    file: `${LOCK}/release.ts`,
    find: "return (own or before) and 'R' or 'N'",
    replace: "return own and 'R' or 'N'",
    tests: { ...SCRIPTS, name: 'a release sent twice' },
    why: 'A release whose first reply was lost would be told as a lost lease.',
  },
  {
    id: 'redis-lock-release-by-anybody',
    file: `${LOCK}/release.ts`,
    find: 'if holder == id then',
    replace: 'if holder then',
    tests: { ...CONTRACT, name: 'late release and renewal of a crashed holder' },
    why: 'The late release of a crashed holder would end the grant of the next one.',
  },
  {
    id: 'redis-lock-fence-without-bump',
    file: `${LOCK}/acquire.ts`,
    find: 'local fence = math.max(tonumber(last) + 1, now)',
    replace: 'local fence = now',
    tests: { ...SCRIPTS, name: 'tokens are whole numbers' },
    why: 'A token could be lower than one of a block that was reserved ahead of the clock.',
  },
  {
    id: 'redis-lock-token-of-fourteen-digits',
    file: `${LOCK}/acquire.ts`,
    find: "local token = string.format('%.0f', fence)",
    replace: "local token = string.format('%.14g', fence)",
    tests: { ...SCRIPTS, name: 'tokens are whole numbers' },
    why: 'Lua writes fourteen digits by itself, and two grants would carry one token.',
  },
  {
    id: 'redis-lock-heartbeat-does-not-grant',
    file: `${LOCK}/heartbeat.ts`,
    find: '    settle(s, id, buryMs)\n',
    replace: '',
    tests: { ...CONTRACT, name: 'what a crashed node held goes to the next' },
    why: 'Nobody would take over from a holder that died.',
  },
  {
    id: 'redis-lock-waiter-keeps-the-provisional-ttl',
    file: `${LOCK}/heartbeat.ts`,
    find: 'if own then own.at, own.ttl = now, tonumber(ttl) end',
    replace: '',
    tests: { ...SCRIPTS, name: 'a hand-over is provisional' },
    why: 'A lease that was handed over would end after two heartbeats instead of its TTL.',
  },
  {
    id: 'redis-lock-newer-format-misread',
    file: `${LOCK}/state.ts`,
    find: "string.match(record, '^1|(%d+)|(s?)|(%d+)|(%d+)|([^|]*)|(.*)$')\n  if not last then",
    replace:
      "string.match(record, '^1|(%d+)|(s?)|(%d+)|(%d+)|([^|]*)|(.*)$')\n  if not last then return s end\n  if not last then",
    tests: { ...SCRIPTS, name: 'a record of a newer format' },
    why: 'Data of a newer release would be overwritten.',
  },
  {
    id: 'redis-lock-gone-is-asked-again-under-the-same-id',
    file: `${LOCK}/contend.ts`,
    find: 'this.#grantId = this.#parts.context.node.nextGrantId();',
    replace: '',
    tests: { ...UNIT, name: 'contends under a new id' },
    why: 'A waiter that was dropped would ask for ever under an id that is used up.',
  },
  {
    id: 'redis-lock-unknown-acquire-is-not-cancelled',
    file: `${LOCK}/contend.ts`,
    find: 'if (this.#isInLine || this.#unanswered > 0) {',
    replace: 'if (this.#isInLine) {',
    tests: { ...UNIT, name: 'is cancelled in the background' },
    why: 'A request that was told unknown could hold the resource for a TTL all the same.',
  },
  {
    id: 'redis-lock-repeated-release-judged-as-lost',
    file: `${LOCK}/let-go.ts`,
    find: 'if (found) return wasValid',
    replace: "if (isRepeated) return 'lost';\n  if (found) return wasValid",
    tests: { ...NETWORK, name: 'a release that took effect' },
    why: 'A lost reply would be reported as a failure.',
  },
  {
    id: 'redis-lock-no-listener-after-reconnect',
    file: `${LOCK}/line.ts`,
    find: 'askAll: () => beatAll([...waiters.values()]),',
    replace: 'askAll: () => beatAll([]),',
    tests: { ...NETWORK, name: 'cut subscriber connection' },
    why: 'A wake-up that was lost with the subscriber connection would wait for a heartbeat.',
  },
  {
    id: 'redis-calls-sent-after-their-time',
    file: 'src/drivers/redis/calls.ts',
    find: 'abandoned = true;',
    replace: 'abandoned = false;',
    tests: { ...CALLS, name: 'no connection in time' },
    why: 'A command of which the caller was told that it was not sent would be sent later.',
  },
  {
    id: 'redis-calls-trust-an-answer-to-a-second-send',
    file: 'src/drivers/redis/errors.ts',
    find: 'if (!isReply(error) || maybeResent)',
    replace: 'if (!isReply(error))',
    tests: { ...CALLS, name: 'a refusal after a possible second send' },
    why: 'A first send that took effect would be reported as never run.',
  },
  {
    id: 'redis-lock-copy-of-a-released-acquire-is-granted',
    file: 'src/drivers/redis/lock/acquire.ts',
    find: '  if last and released ~= id then',
    replace: '  if last then',
    tests: {
      project: 'integration',
      file: 'test/integration/redis-lock.test.ts',
      name: 'a copy of an acquire that comes after an ordinary release',
    },
    why: 'A cluster client sends again on its own: the copy would hold the lock for nobody.',
  },
];
