import type { TransactionId } from '../../core/ids.js';
import type {
  DecisionLogSession,
  KeyReservation,
  LogCallOptions,
} from '../../transaction/decision-log.js';
import { KEY_RESERVE_MS, KEY_RETAIN_MS } from '../../transaction/log-keys.js';
import { LOG_FORMAT } from './decision-log-scripts.js';
import type { LogReply, LogStore } from './decision-log-store.js';
import { type RedisScript, redisScript } from './script.js';

// The key of a transaction is a text of its own, in a slot of its own, with a TTL:
//   KEYS[1]  "1 ‹r, reserved, or c, committed› ‹transaction›"
// Every script may run twice.

const PRELUDE = `
local value = redis.call('GET', KEYS[1])
local state, holder
if value then
  local format = string.match(value, '^(%d+) ') or value
  if format ~= '${LOG_FORMAT}' then return {'upgrade', format} end
  state, holder = string.match(value, '^%d+ (%a) (.*)$')
end
`;

const script = (name: string, lua: string): RedisScript =>
  redisScript(`log.key-${name}`, `${PRELUDE}${lua}`);

/** Answers none, or ok, state and holder. */
const FIND: RedisScript = script(
  'find',
  `
if not holder then return {'none'} end
return {'ok', state, holder}
`,
);

/** ARGV: transaction, whom it replaces or empty, TTL in ms. Answers ok, state and holder. */
const RESERVE: RedisScript = script(
  'reserve',
  `
if not holder or (state == 'r' and holder == ARGV[2]) then
  redis.call('SET', KEYS[1], '${LOG_FORMAT} r ' .. ARGV[1], 'PX', ARGV[3])
  return {'ok', 'r', ARGV[1]}
end
return {'ok', state, holder}
`,
);

/** ARGV: transaction, TTL in ms. Answers ok. */
const CONFIRM: RedisScript = script(
  'confirm',
  `
if holder == ARGV[1] and state == 'r' then
  redis.call('SET', KEYS[1], '${LOG_FORMAT} c ' .. ARGV[1], 'PX', ARGV[2])
end
return {'ok'}
`,
);

/** ARGV: transaction. Answers ok. */
const RELEASE: RedisScript = script(
  'release',
  `
if holder == ARGV[1] and state == 'r' then redis.call('UNLINK', KEYS[1]) end
return {'ok'}
`,
);

/** The part of a session that is about keys of transactions. */
export type KeyMethods = Pick<
  DecisionLogSession,
  'findKey' | 'reserveKey' | 'confirmKey' | 'releaseKey'
>;

/** Keys of transactions in one namespace; `step` lets calls in while the session is open. */
export function logKeys(
  store: LogStore,
  step: <T>(options: LogCallOptions | undefined, work: () => Promise<T>) => Promise<T>,
): KeyMethods {
  return {
    findKey: (key, options) =>
      step(options, async () => {
        const reply = await store.askKey(FIND, key, [], options?.signal);
        return reply.status === 'none' ? undefined : reservationIn(reply);
      }),
    reserveKey: ({ key, transactionId, replaces = '' }, options) =>
      step(options, async () => {
        const values = [transactionId, replaces, KEY_RESERVE_MS];
        return reservationIn(await store.askKey(RESERVE, key, values, options?.signal));
      }),
    confirmKey: (key, transactionId, options) =>
      step(options, async () => {
        await store.askKey(CONFIRM, key, [transactionId, KEY_RETAIN_MS], options?.signal);
      }),
    releaseKey: (key, transactionId, options) =>
      step(options, async () => {
        await store.askKey(RELEASE, key, [transactionId], options?.signal);
      }),
  };
}

function reservationIn({ values: [state, holder] }: LogReply): KeyReservation {
  return { transactionId: holder as TransactionId, isCommitted: state === 'c' };
}
