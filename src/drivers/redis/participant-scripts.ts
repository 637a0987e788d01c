import { FENCE_FORMAT } from './fence-script.js';
import { type RedisScript, redisScript } from './script.js';

/** The format of everything that a participant stores; a newer one is refused with UPGRADE_NEEDED. */
export const PARTICIPANT_FORMAT = 1;

// A participant is five keys, and the keys of its user, all in one slot of a cluster:
//   KEYS[1] intents     hash: `:format`, and prepared branch → what it will do, as JSON
//   KEYS[2] prepared    sorted set: prepared branch, by when (ms)
//   KEYS[3] locks       hash: key → `x` (one branch), `s‹n›` (n that only look) or `a‹n›` (n that add)
//   KEYS[4] committed   sorted set: branch, by when (ms); evidence of the newest
//   KEYS[5] aborted     the same
//   KEYS[6] and on      the keys of the branch, in the order of its intents
// None of them has a TTL. Times are the server's. Every script may run twice. It checks everything
// before it writes, and where it ends a branch its first write frees memory: Redis refuses a script
// that finds memory used up only before its first write, so a prepared branch can end even then.
// ARGV of the four that end a branch: branch, evidence's retention in ms, how much of it at most.

const PRELUDE = `
local format = redis.call('HGET', KEYS[1], ':format')
if format and format ~= '${PARTICIPANT_FORMAT}' then return {'upgrade', format} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local branch = ARGV[1]
local function ended()
  if redis.call('ZSCORE', KEYS[4], branch) then return 'committed' end
  if redis.call('ZSCORE', KEYS[5], branch) then return 'aborted' end
end
`;

const ENDING = `
local function note(evidence)
  if not format then redis.call('HSET', KEYS[1], ':format', '${PARTICIPANT_FORMAT}') end
  redis.call('ZADD', evidence, now, branch)
  for _ = 1, 4 do
    local oldest = redis.call('ZRANGE', evidence, 0, 0, 'WITHSCORES')
    local is_due = tonumber(now) - tonumber(oldest[2]) > tonumber(ARGV[2])
    if not is_due and redis.call('ZCARD', evidence) <= tonumber(ARGV[3]) then return end
    redis.call('ZREM', evidence, oldest[1])
  end
end
local function whole(key)
  local value = redis.pcall('GET', key)
  if not value then return 0 end
  if type(value) == 'string' and #value < 19 and string.match(value, '^-?%d+$') then
    return tonumber(value)
  end
end
local function add(key, by)
  redis.call('INCRBY', key, string.format('%.0f', by))
end
local function apply(intents)
  for i, intent in ipairs(intents) do
    local key = KEYS[5 + i]
    if intent.op == 'set' then redis.call('SET', key, intent.value)
    elseif intent.op == 'delete' then redis.call('DEL', key)
    elseif intent.op == 'fence' then
      local stored, token = redis.pcall('GET', key), '${FENCE_FORMAT} ' .. intent.value
      if not stored or (type(stored) == 'string' and stored < token) then redis.call('SET', key, token) end
    elseif intent.op == 'add' and intent.by > 0 then add(key, intent.by) end
  end
end
local function take(intents, sign)
  for i, intent in ipairs(intents) do
    if intent.op == 'add' and intent.by < 0 then add(KEYS[5 + i], sign * intent.by) end
  end
end
local function finish(intents)
  redis.call('HDEL', KEYS[1], branch)
  redis.call('ZREM', KEYS[2], branch)
  for _, intent in ipairs(intents) do
    local held = redis.call('HGET', KEYS[3], intent.key)
    local count = tonumber(string.sub(held or '', 2)) or 1
    if count > 1 then redis.call('HSET', KEYS[3], intent.key, intent.mode .. (count - 1))
    else redis.call('HDEL', KEYS[3], intent.key) end
  end
end
local function spoilt(intents, sign)
  for i, intent in ipairs(intents) do
    if intent.op == 'add' and sign * intent.by > 0 and not whole(KEYS[5 + i]) then
      return intent.key
    end
  end
end
`;

const script = (name: string, lua: string): RedisScript =>
  redisScript(`participant.${name}`, `${PRELUDE}${lua}`);

/**
 * ARGV further: intents, `prepare` or `commit` in one phase, how many branches may be prepared.
 * Answers yes, read-only, committed, aborted, or no, the key and why; a no is an end.
 *
 * What a branch takes off a number leaves it at once, so that others cannot be promised the same
 * (escrow, O'Neil 1986: "The Escrow Transactional Method"); what it adds comes with the commit.
 */
export const PREPARE: RedisScript = script(
  'prepare',
  `${ENDING}
local done = ended()
if done then return {done} end
if redis.call('ZSCORE', KEYS[2], branch) then return {'yes'} end
local function refuse(key, why)
  note(KEYS[5])
  return {'no', key, why}
end
local intents, writes = cjson.decode(ARGV[4]), false
for i, intent in ipairs(intents) do
  local key = KEYS[5 + i]
  local held = redis.call('HGET', KEYS[3], intent.key)
  if held and (intent.mode == 'x' or string.sub(held, 1, 1) ~= intent.mode) then
    return refuse(intent.key, 'it is held by another prepared transaction')
  end
  if intent.expect then
    local value = redis.pcall('GET', key)
    if type(value) == 'table' then return refuse(intent.key, 'it is not a string') end
    local is_met = value == intent.seen
    if intent.expect == 'absent' then is_met = not value end
    if not is_met then return refuse(intent.key, 'its value is not the expected one') end
  end
  if intent.op == 'fence' then
    local stored, token = redis.pcall('GET', key), '${FENCE_FORMAT} ' .. intent.value
    if stored and (type(stored) ~= 'string' or #stored ~= #token or stored > token) then
      return refuse(intent.key, type(stored) == 'string' and stored or 'it is not a fencing token')
    end
  end
  if intent.op == 'add' then
    local value = whole(key)
    if not value then return refuse(intent.key, 'it is not a whole number') end
    local sum = value + intent.by
    if math.abs(sum) > ${Number.MAX_SAFE_INTEGER} then
      return refuse(intent.key, 'the sum would not be a safe integer')
    end
    if intent.by < 0 and intent.min and sum < intent.min then
      return refuse(intent.key, string.format(
        '%.0f is available, %.0f would fall below %.0f', value, -intent.by, intent.min))
    end
  end
  writes = writes or intent.op ~= nil
end
if not writes then return {'read-only'} end
if ARGV[5] == 'commit' then
  take(intents, 1)
  apply(intents)
  note(KEYS[4])
  return {'committed'}
end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[6]) then
  return refuse('', 'as many branches as preparedMax allows are prepared')
end
redis.call('HSET', KEYS[1], ':format', '${PARTICIPANT_FORMAT}', branch, ARGV[4])
redis.call('ZADD', KEYS[2], now, branch)
for _, intent in ipairs(intents) do
  local held, value = redis.call('HGET', KEYS[3], intent.key), 'x'
  if intent.mode ~= 'x' then
    value = intent.mode .. ((tonumber(string.sub(held or '', 2)) or 0) + 1)
  end
  redis.call('HSET', KEYS[3], intent.key, value)
end
take(intents, 1)
return {'yes'}
`,
);

/**
 * Answers committed, aborted, or unknown for a branch of which nothing is known; keys and the
 * intents when it was called without the branch's keys; corrupt and the key that cannot be added to.
 */
export const COMMIT: RedisScript = script(
  'commit',
  `${ENDING}
local done = ended()
if done then return {done} end
local stored = redis.call('HGET', KEYS[1], branch)
if not stored then return {'unknown'} end
local intents = cjson.decode(stored)
if #KEYS ~= 5 + #intents then return {'keys', stored} end
local key = spoilt(intents, 1)
if key then return {'corrupt', key} end
finish(intents)
apply(intents)
note(KEYS[4])
return {'committed'}
`,
);

/** Answers the same; an unknown branch is aborted, so that a prepare that comes later is refused. */
export const ABORT: RedisScript = script(
  'abort',
  `${ENDING}
local done = ended()
if done then return {done} end
local stored = redis.call('HGET', KEYS[1], branch)
if not stored then
  note(KEYS[5])
  return {'aborted'}
end
local intents = cjson.decode(stored)
if #KEYS ~= 5 + #intents then return {'keys', stored} end
local key = spoilt(intents, -1)
if key then return {'corrupt', key} end
finish(intents)
take(intents, -1)
note(KEYS[5])
return {'aborted'}
`,
);

/** ARGV: branch. Answers prepared, committed, aborted or unknown. */
export const OUTCOME: RedisScript = script(
  'outcome',
  `
if redis.call('ZSCORE', KEYS[2], branch) then return {'prepared'} end
return {ended() or 'unknown'}
`,
);

/** ARGV: nothing, limit. Answers ok, now, and branch and time of the longest prepared ones. */
export const RECOVER: RedisScript = script(
  'recover',
  `
local last = tonumber(ARGV[2]) - 1
return {'ok', now, unpack(redis.call('ZRANGE', KEYS[2], 0, last, 'WITHSCORES'))}
`,
);

/** KEYS[1] one key of the user. Answers value and it, none, or type for what is not a string. */
export const LOOK: RedisScript = redisScript(
  'participant.look',
  `
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'table' then return {'type'} end
if not value then return {'none'} end
return {'value', value}
`,
);
