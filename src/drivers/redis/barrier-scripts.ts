import { type RedisScript, redisScript } from './script.js';

/** The format of what a barrier stores; a newer one is refused with UPGRADE_NEEDED. */
export const BARRIER_FORMAT = 1;

// A barrier of one participant is four keys in one slot of a cluster, and the keys of the functions:
//   KEYS[1] states     hash: `:format`, and branch → prepared, committed or aborted
//   KEYS[2] payloads   hash: branch → what its first step stored, while it is prepared
//   KEYS[3] prepared   sorted set: prepared branch, by when (ms)
//   KEYS[4] ended      sorted set: branch that ended, by when (ms)
//   KEYS[5] and on     the keys of the step's writes, in their order
// None of them has a TTL. Times are the server's. Every script may run twice. A step checks everything
// before it writes anything, so that no write can fail in the middle.

const PRELUDE = `
local format = redis.call('HGET', KEYS[1], ':format')
if format and format ~= '${BARRIER_FORMAT}' then return {'upgrade', format} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
`;

const script = (name: string, lua: string): RedisScript =>
  redisScript(`barrier.${name}`, `${PRELUDE}${lua}`);

/** ARGV: branch. Answers ok, its state or an empty text, and its payload. */
export const LOOK: RedisScript = script(
  'look',
  `
local state = redis.call('HGET', KEYS[1], ARGV[1])
return {'ok', state or '', redis.call('HGET', KEYS[2], ARGV[1]) or ''}
`,
);

/**
 * ARGV: branch, the state that it has (an empty text for none), the state that it gets, payload,
 * writes, how long ended branches are kept in ms. Answers ok; changed, when the state is another; or
 * no, the key and why.
 */
export const STEP: RedisScript = script(
  'step',
  `
local branch, from, to = ARGV[1], ARGV[2], ARGV[3]
if (redis.call('HGET', KEYS[1], branch) or '') ~= from then return {'changed'} end
local writes = cjson.decode(ARGV[5])
for i, write in ipairs(writes) do
  local key = KEYS[4 + i]
  local kind = redis.call('TYPE', key).ok
  if write.need ~= '' and kind ~= 'none' and kind ~= write.need then
    return {'no', write.key, 'it is a ' .. kind .. ', not a ' .. write.need}
  end
  if write.expect then
    local value = redis.call('GET', key)
    local is_met = value == write.seen
    if write.expect == 'absent' then is_met = not value end
    if not is_met then return {'no', write.key, 'its value is not the expected one'} end
  end
  if write.by then
    local value = redis.call('GET', key) or '0'
    if #value > 17 or not string.match(value, '^-?%d+$') then
      return {'no', write.key, 'it is not a whole number'}
    end
    local sum = tonumber(value) + write.by
    if math.abs(sum) > ${Number.MAX_SAFE_INTEGER} then
      return {'no', write.key, 'the sum would not be a safe integer'}
    end
    if write.min and sum < write.min then
      return {'no', write.key, string.format(
        '%s is available, %.0f would fall below %.0f', value, -write.by, write.min)}
    end
  end
end
redis.call('HSET', KEYS[1], ':format', '${BARRIER_FORMAT}', branch, to)
if to == 'prepared' then
  redis.call('HSET', KEYS[2], branch, ARGV[4])
  redis.call('ZADD', KEYS[3], now, branch)
else
  redis.call('HDEL', KEYS[2], branch)
  redis.call('ZREM', KEYS[3], branch)
  redis.call('ZADD', KEYS[4], now, branch)
end
for i, write in ipairs(writes) do
  if write.by then redis.call('INCRBY', KEYS[4 + i], string.format('%.0f', write.by))
  elseif write.command ~= '' then
    redis.call(write.command, KEYS[4 + i], unpack(write.values))
  end
end
local due = tonumber(now) - tonumber(ARGV[6])
for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', due, 'LIMIT', 0, 4)) do
  redis.call('ZREM', KEYS[4], old)
  redis.call('HDEL', KEYS[1], old)
end
return {'ok'}
`,
);

/** ARGV: nothing, limit. Answers ok, now, and branch and time of the longest prepared ones. */
export const PREPARED: RedisScript = script(
  'prepared',
  `
local found = redis.call('ZRANGE', KEYS[3], 0, ARGV[2] - 1, 'WITHSCORES')
return {'ok', now, unpack(found)}
`,
);
