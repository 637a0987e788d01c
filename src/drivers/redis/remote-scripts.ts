import { type RedisScript, redisScript } from './script.js';

/** The format of everything that calls store; a newer one is refused with UPGRADE_NEEDED. */
export const CALL_FORMAT = 1;

// The calls of a service are three keys in one slot of a cluster:
//   KEYS[1] calls    hash: call → "1 ‹write› ‹state› ‹attempt› ‹deadline ms› ‹server or -› ‹caller›\n‹rest›"
//   KEYS[2] queue    list: ids of open calls, oldest first; one that is open no more is passed over
//   KEYS[3] servers  zset: address → heard (ms)
// Times are the server's. Every script may run twice: a write is known by its own name. Hints are
// published; each may be lost.

const PRELUDE = `
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local function head(value)
  local format = string.match(value, '^(%d+) ') or value
  if format ~= '${CALL_FORMAT}' then return nil, format end
  local write, state, attempt, deadline, server, caller, rest =
    string.match(value, '^%d+ (%S+) (%S+) (%d+) (%d+) (%S+) (%S+)\\n(.*)$')
  return { write = write, state = state, attempt = tonumber(attempt), deadline = deadline,
    server = server, caller = caller, rest = rest }
end
`;

/** So long a service that nobody touches stays, in ms; a call that is gone is asked for in the log. */
const RETAIN = `
redis.call('PEXPIRE', KEYS[1], 604800000)
redis.call('PEXPIRE', KEYS[2], 604800000)
`;

const script = (name: string, lua: string): RedisScript =>
  redisScript(`call.${name}`, `${PRELUDE}${lua}`);

/**
 * ARGV: call, write, time-out in ms, caller, rest, most that may wait, channel of the service.
 * Answers ok and what stands there, or full.
 */
export const CREATE: RedisScript = script(
  'create',
  `
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then return {'ok', known} end
if redis.call('LLEN', KEYS[2]) >= tonumber(ARGV[6]) then return {'full'} end
local deadline = string.format('%.0f', now + math.ceil(tonumber(ARGV[3])))
local value = table.concat({'${CALL_FORMAT}', ARGV[2], 'open', '0', deadline, '-', ARGV[4]}, ' ')
  .. '\\n' .. ARGV[5]
redis.call('HSET', KEYS[1], ARGV[1], value)
redis.call('RPUSH', KEYS[2], ARGV[1])
${RETAIN}
redis.call('PUBLISH', ARGV[7], 'q')
return {'ok', value}
`,
);

/** ARGV: call, write, caller, rest. Answers ok and what stands there. */
export const BURY: RedisScript = script(
  'bury',
  `
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then return {'ok', known} end
local value = table.concat({'${CALL_FORMAT}', ARGV[2], 'ended', '0', now, '-', ARGV[3]}, ' ')
  .. '\\n' .. ARGV[4]
redis.call('HSET', KEYS[1], ARGV[1], value)
${RETAIN}
return {'ok', value}
`,
);

/** ARGV: call. Answers ok and the value, or none. */
export const READ: RedisScript = script(
  'read',
  `
local value = redis.call('HGET', KEYS[1], ARGV[1])
return value and {'ok', value} or {'none'}
`,
);

/**
 * ARGV: call, the write that it replaces, value, channel to tell, message, and how many bytes of value
 * may go with it. Answers ok and what stands there, or none. A message is sent when the reply is, after
 * the disk has the write: who hears it need not read what it says.
 */
export const REPLACE: RedisScript = script(
  'replace',
  `
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then return {'none'} end
local old, alien = head(known)
if alien then return {'upgrade', alien} end
if old.write ~= ARGV[2] then return {'ok', known} end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if head(ARGV[3]).state == 'open' then redis.call('RPUSH', KEYS[2], ARGV[1]) end
if ARGV[4] ~= '' then
  local told = ARGV[5]
  if #ARGV[3] <= tonumber(ARGV[6]) then told = told .. '\\n' .. ARGV[3] end
  redis.call('PUBLISH', ARGV[4], told)
end
return {'ok', ARGV[3]}
`,
);

/** ARGV: call, write, channel of the caller, channel of the server, message. Answers ok. */
export const REMOVE: RedisScript = script(
  'remove',
  `
local known = redis.call('HGET', KEYS[1], ARGV[1])
if not known then return {'ok'} end
local old, alien = head(known)
if alien then return {'upgrade', alien} end
if old.write ~= ARGV[2] then return {'ok'} end
redis.call('HDEL', KEYS[1], ARGV[1])
if old.state == 'open' then redis.call('LREM', KEYS[2], 1, ARGV[1]) end
redis.call('PUBLISH', ARGV[3], ARGV[5])
if ARGV[4] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return {'ok'}
`,
);

/**
 * ARGV: write, server. Answers ok, call, value, time and how many wait behind it; none; or more, when
 * it looked long enough.
 */
export const TAKE: RedisScript = script(
  'take',
  `
for _ = 1, 100 do
  local call = redis.call('LPOP', KEYS[2])
  if not call then return {'none'} end
  local known = redis.call('HGET', KEYS[1], call)
  if known then
    local old, alien = head(known)
    if alien then return {'upgrade', alien} end
    if old.state == 'open' and tonumber(old.deadline) > tonumber(now) then
      local value = table.concat({'${CALL_FORMAT}', ARGV[1], 'claimed', old.attempt + 1,
        old.deadline, ARGV[2], old.caller}, ' ') .. '\\n' .. old.rest
      redis.call('HSET', KEYS[1], call, value)
      return {'ok', call, value, now, redis.call('LLEN', KEYS[2])}
    end
  end
end
return {'more'}
`,
);

/** ARGV: most calls, most bytes. Answers ok and, for each, call and value. */
export const LIST: RedisScript = script(
  'list',
  `
local most, bytes, cursor, reply = tonumber(ARGV[1]), tonumber(ARGV[2]), '0', {'ok'}
repeat
  local page = redis.call('HSCAN', KEYS[1], cursor, 'COUNT', 100)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    bytes = bytes - #page[2][i + 1]
    if #reply > 2 * most or bytes < 0 then return reply end
    reply[#reply + 1] = page[2][i]
    reply[#reply + 1] = page[2][i + 1]
  end
until cursor == '0'
return reply
`,
);

/** ARGV: server, silent after so many ms. Answers ok. */
export const ANNOUNCE: RedisScript = script(
  'announce',
  `
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - 10 * tonumber(ARGV[2]))
redis.call('ZADD', KEYS[3], now, ARGV[1])
redis.call('PEXPIRE', KEYS[3], 10 * tonumber(ARGV[2]))
return {'ok'}
`,
);

/** ARGV: server. Answers ok. */
export const WITHDRAW: RedisScript = script(
  'withdraw',
  `
redis.call('ZREM', KEYS[3], ARGV[1])
return {'ok'}
`,
);

/** ARGV: silent after so many ms. Answers ok, the time, and the addresses. */
export const SERVERS: RedisScript = script(
  'servers',
  `
local reply = redis.call('ZRANGEBYSCORE', KEYS[3], now - tonumber(ARGV[1]), '+inf')
table.insert(reply, 1, now)
table.insert(reply, 1, 'ok')
return reply
`,
);
