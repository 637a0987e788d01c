import { type RedisScript, redisScript } from './script.js';

// Of a strict cache; keys, claims and entries as in cache-scripts.ts.

/**
 * Values with their times, and whether a writer holds each. KEYS: so many values without a claim as ARGV[1] says,
 * then entries, then the claims of those. → { value or nil, milliseconds left, 1 held | 0, … }
 */
export const READ_HELD: RedisScript = redisScript(
  'cache.readHeld',
  `local bare = tonumber(ARGV[1])
local count = (#KEYS + bare) / 2
local found = {}
for i = 1, count do
  local value = redis.call('get', KEYS[i])
  local claim = value and i > bare and redis.call('get', KEYS[count + i - bare]) or ''
  found[3 * i - 2] = value
  found[3 * i - 1] = value and redis.call('pttl', KEYS[i]) or 0
  found[3 * i] = string.sub(claim, 1, 2) == '1h' and 1 or 0
end
return found`,
);

/**
 * Holds a key for a writer and leaves its entry, in place of any other claim and as long as that at
 * least. KEYS: the entry, the claim, and with a fencing token the newest one that the key has seen.
 * ARGV: the hold as a claim, milliseconds, channel, key as published, fencing token or '',
 * milliseconds to remember it. → 1 done | the newest token, nothing was done
 */
export const RESERVE: RedisScript = redisScript(
  'cache.reserve',
  `if ARGV[5] ~= '' then
  local fence, newest = '1' .. ARGV[5], redis.call('get', KEYS[3])
  if newest and (#newest ~= #fence or newest > fence) then return newest end
  redis.call('set', KEYS[3], fence, 'PX', ARGV[6])
end
local claim = redis.call('get', KEYS[2]) or ''
local kind = string.sub(claim, 1, 2)
local ms = tonumber(ARGV[2])
if kind == '1h' then ms = math.max(ms, redis.call('pttl', KEYS[2])) end
redis.call('set', KEYS[2], ARGV[1], 'PX', ms)
if kind == '1w' then redis.call('publish', ARGV[3], ARGV[4]) end
return 1`,
);

/**
 * Ends a hold: the entry is replaced, or removed. If the hold is not the caller's the entry is removed,
 * and any lease.
 * ARGV: the hold as a claim, channel, key as published, generation, milliseconds of the entry or 0 for
 * none, value, milliseconds that the hold stays or 0. → 1 done | 0 the hold was not the caller's
 */
export const CONCLUDE: RedisScript = redisScript(
  'cache.conclude',
  `local claim = redis.call('get', KEYS[2]) or ''
local kind = string.sub(claim, 1, 2)
if claim ~= ARGV[1] then
  redis.call('unlink', KEYS[1])
  if kind == '1l' or kind == '1w' then redis.call('del', KEYS[2]) end
  if kind == '1w' then redis.call('publish', ARGV[2], ARGV[3]) end
  return 0
end
if ARGV[5] ~= '0' then
  redis.call('set', KEYS[1], '["' .. ARGV[4] .. '",' .. ARGV[6] .. ']', 'PX', ARGV[5])
else
  redis.call('unlink', KEYS[1])
end
if ARGV[7] ~= '0' then redis.call('pexpire', KEYS[2], ARGV[7]) else redis.call('del', KEYS[2]) end
return 1`,
);
