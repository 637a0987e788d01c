import { type RedisScript, redisScript } from './script.js';

/** The format of everything that this log stores; a newer one is refused with UPGRADE_NEEDED. */
export const LOG_FORMAT = 1;

// An incarnation is four keys in one slot of a cluster:
//   KEYS[1] state     hash: format, node, heard (ms), fenced (ms)
//   KEYS[2] open      hash: transaction → "1 ‹decided ms› ‹unacknowledged, by comma› ‹record›"
//   KEYS[3] done      hash: the same, fully acknowledged
//   KEYS[4] order     list: "‹acknowledged ms› ‹transaction›", oldest first, for their retention
// None of them has a TTL. Times are the server's. Every script may run twice.

const PRELUDE = `
local format = redis.call('HGET', KEYS[1], 'format')
if format and format ~= '${LOG_FORMAT}' then return {'upgrade', format} end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
`;

/** Forgets up to \`most\` acknowledged records that are past their retention. */
const EXPIRE = `
local function expire(most, retain_ms)
  for _ = 1, most do
    local oldest = redis.call('LINDEX', KEYS[4], 0)
    if not oldest then return end
    local at, transaction = string.match(oldest, '^(%d+) (.*)$')
    if tonumber(now) - tonumber(at) < retain_ms then return end
    redis.call('HDEL', KEYS[3], transaction)
    redis.call('LPOP', KEYS[4])
  end
end
`;

const script = (name: string, lua: string): RedisScript =>
  redisScript(`log.${name}`, `${PRELUDE}${lua}`);

/** ARGV: nodeId. Answers ok or fenced. */
export const REGISTER: RedisScript = script(
  'register',
  `
if redis.call('HEXISTS', KEYS[1], 'fenced') == 1 then return {'fenced'} end
redis.call('HSET', KEYS[1], 'format', '${LOG_FORMAT}', 'node', ARGV[1], 'heard', now)
return {'ok'}
`,
);

/** Answers ok, or fenced, also for an incarnation that the store has lost. */
export const HEARTBEAT: RedisScript = script(
  'heartbeat',
  `
local node, fenced = unpack(redis.call('HMGET', KEYS[1], 'node', 'fenced'))
if fenced or not node then return {'fenced'} end
redis.call('HSET', KEYS[1], 'heard', now)
return {'ok'}
`,
);

/**
 * ARGV: limit, then transaction, unacknowledged and record for each decision. Answers ok and, for
 * each, committed, fenced or full. What is recorded already is committed, fenced or not.
 */
export const DECIDE: RedisScript = script(
  'decide',
  `
local node, fenced = unpack(redis.call('HMGET', KEYS[1], 'node', 'fenced'))
local limit, count = tonumber(ARGV[1]), redis.call('HLEN', KEYS[2])
local answers = {'ok'}
for i = 2, #ARGV, 3 do
  local transaction, answer = ARGV[i], 'committed'
  if redis.call('HEXISTS', KEYS[2], transaction) == 0
    and redis.call('HEXISTS', KEYS[3], transaction) == 0 then
    if fenced or not node then answer = 'fenced'
    elseif count >= limit then answer = 'full'
    else
      local value = '${LOG_FORMAT} ' .. now .. ' ' .. ARGV[i + 1] .. ' ' .. ARGV[i + 2]
      redis.call('HSET', KEYS[2], transaction, value)
      count = count + 1
    end
  end
  answers[#answers + 1] = answer
end
return answers
`,
);

/** Answers ok. An incarnation that nobody registered is fenced too. */
export const FENCE: RedisScript = script(
  'fence',
  `
redis.call('HSET', KEYS[1], 'format', '${LOG_FORMAT}')
redis.call('HSETNX', KEYS[1], 'fenced', now)
return {'ok'}
`,
);

/** ARGV: transaction. Answers none, or ok, now and the record. */
export const FIND: RedisScript = script(
  'find',
  `
local value = redis.call('HGET', KEYS[2], ARGV[1]) or redis.call('HGET', KEYS[3], ARGV[1])
if not value then return {'none'} end
return {'ok', now, value}
`,
);

/** Answers none, or ok, now, node, heard, fenced and how many records are open. */
export const STATUS: RedisScript = script(
  'status',
  `
if not format then return {'none'} end
local node, heard, fenced = unpack(redis.call('HMGET', KEYS[1], 'node', 'heard', 'fenced'))
return {'ok', now, node or '', heard or '0', fenced or '', redis.call('HLEN', KEYS[2])}
`,
);

/** ARGV: limit. Answers ok, now, and transaction and record of the oldest open ones. */
export const OPEN_RECORDS: RedisScript = script(
  'unacknowledged',
  `
local flat, records = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #flat, 2 do
  local decided = tonumber(string.match(flat[i + 1], '^%d+ (%d+) ') or '0')
  records[#records + 1] = {flat[i], flat[i + 1], decided}
end
-- Ids sort by time too, but Lua compares texts by the server's locale.
table.sort(records, function(a, b)
  if a[3] ~= b[3] then return a[3] < b[3] end
  return a[1] < b[1]
end)
local answer = {'ok', now}
for i = 1, math.min(#records, tonumber(ARGV[1])) do
  answer[#answer + 1] = records[i][1]
  answer[#answer + 1] = records[i][2]
end
return answer
`,
);

/** Answers ok and the names of the participants that have not acknowledged open records. */
export const BLOCKERS: RedisScript = script(
  'blockers',
  `
local seen, answer = {}, {'ok'}
for _, value in ipairs(redis.call('HVALS', KEYS[2])) do
  for name in string.gmatch(string.match(value, '^%d+ %d+ (%S*)') or '', '[^,]+') do
    if not seen[name] then
      seen[name] = true
      answer[#answer + 1] = name
    end
  end
end
return answer
`,
);

/** ARGV: retention in ms, then transaction and participant for each. Answers ok. */
export const ACKNOWLEDGE: RedisScript = script(
  'acknowledge',
  `${EXPIRE}
for i = 2, #ARGV, 2 do
  local transaction = ARGV[i]
  local value = redis.call('HGET', KEYS[2], transaction)
  if value then
    local head, names, record = string.match(value, '^(%d+ %d+) (%S*) (.*)$')
    local left = {}
    for name in string.gmatch(names, '[^,]+') do
      if name ~= ARGV[i + 1] then left[#left + 1] = name end
    end
    local rest = head .. ' ' .. table.concat(left, ',') .. ' ' .. record
    if #left > 0 then
      redis.call('HSET', KEYS[2], transaction, rest)
    else
      redis.call('HDEL', KEYS[2], transaction)
      redis.call('HSET', KEYS[3], transaction, rest)
      redis.call('RPUSH', KEYS[4], now .. ' ' .. transaction)
    end
  end
end
expire(#ARGV, tonumber(ARGV[1]))
return {'ok'}
`,
);

/** ARGV: retention in ms, most. Answers ok and idle or busy: idle is fenced without open records. */
export const PRUNE: RedisScript = script(
  'prune',
  `${EXPIRE}
expire(tonumber(ARGV[2]), tonumber(ARGV[1]))
local fenced = redis.call('HEXISTS', KEYS[1], 'fenced') == 1
if fenced and redis.call('HLEN', KEYS[2]) == 0 then return {'ok', 'idle'} end
return {'ok', 'busy'}
`,
);

/** Ends an incarnation of which nothing is needed any more. Answers ok and gone or kept. */
export const FORGET: RedisScript = script(
  'forget',
  `
if redis.call('HLEN', KEYS[2]) > 0 then return {'ok', 'kept'} end
redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
return {'ok', 'gone'}
`,
);

// The index of a namespace is apart from its incarnations, and written before them:
//   KEYS[1] active    hash: format, and incarnation → format
//   KEYS[2] retired   sorted set: fenced incarnations without open records, by when that was seen

/** ARGV: incarnation. Answers ok. */
export const INDEX_ADD: RedisScript = script(
  'index-add',
  `
redis.call('HSET', KEYS[1], 'format', '${LOG_FORMAT}', ARGV[1], '${LOG_FORMAT}')
return {'ok'}
`,
);

/** Answers ok and the active incarnations. */
export const INDEX_LIST: RedisScript = script(
  'index-list',
  `
local answer = {'ok'}
for _, name in ipairs(redis.call('HKEYS', KEYS[1])) do
  if name ~= 'format' then answer[#answer + 1] = name end
end
return answer
`,
);

/** ARGV: incarnations, which recovery needs no longer. Answers ok. */
export const INDEX_RETIRE: RedisScript = script(
  'index-retire',
  `
for _, name in ipairs(ARGV) do
  redis.call('ZADD', KEYS[2], 'NX', now, name)
  redis.call('HDEL', KEYS[1], name)
end
return {'ok'}
`,
);

/** ARGV: retention in ms, most. Answers ok and the incarnations that were retired before that. */
export const INDEX_DUE: RedisScript = script(
  'index-due',
  `
local before = string.format('%.0f', tonumber(now) - tonumber(ARGV[1]))
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', before, 'LIMIT', 0, tonumber(ARGV[2]))
return {'ok', unpack(due)}
`,
);

/** ARGV: incarnations that are gone. Answers ok. */
export const INDEX_DROP: RedisScript = script(
  'index-drop',
  `
for _, name in ipairs(ARGV) do redis.call('ZREM', KEYS[2], name) end
return {'ok'}
`,
);
