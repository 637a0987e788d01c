import { type RedisScript, redisScript } from './script.js';

// Unless said otherwise, KEYS[1] is the entry, KEYS[2] the claim of the same key.
//
// An entry is a text: `["‹generation›",‹value›]`, see cache-entry.ts.
// A claim is a text: the format's version, then the kind, then the token of the attempt; a lease has
// the generation under which it will fill before it:
//   1l‹generation›‹token›  a lease    1w‹generation›‹token›  a lease that others wait for
//   1h‹token›  a hold
// All scripts may run twice: a token is compared before anything of another attempt is touched.

/** Values with their times. KEYS: any. → { value or nil, milliseconds left, value or nil, … } */
export const READ: RedisScript = redisScript(
  'cache.read',
  `local found = {}
for i, key in ipairs(KEYS) do
  local value = redis.call('get', key)
  found[2 * i - 1] = value
  found[2 * i] = value and redis.call('pttl', key) or 0
end
return found`,
);

/**
 * Leases of several keys. KEYS: first so many marks as ARGV[1] says, none or the generation and the
 * epoch; then the entries of all keys, and their claims. ARGV[2]: the generation; milliseconds; `1` for a
 * refresh, to which an entry is no answer; then for each key a token. Entries and leases of another
 * generation are as good as none.
 * → the marks, and unless the generation is another one, for each key
 *   { 'found', entry, milliseconds left, 1 held by a writer | 0 } | 'leader' | 'held' |
 *   { 'follower', milliseconds left } | { 'unknown', claim }
 */
export const LEASE: RedisScript = redisScript(
  'cache.lease',
  `local call, current, ms = redis.call, ARGV[2], ARGV[3]
local isRefresh = ARGV[4] == '1'
local function lease(value, entry, name, token)
  local own = '1l' .. current .. token
  if value and string.sub(value, 3, 24) == current then
    local claim = call('get', name) or ''
    local isHeld = string.sub(claim, 1, 2) == '1h'
    if not isHeld and string.sub(claim, 25) == token then call('del', name) end
    return { 'found', value, call('pttl', entry), isHeld and 1 or 0 }
  end
  if call('set', name, own, 'NX', 'PX', ms) then return 'leader' end
  local claim = call('get', name)
  if not claim then return { 'follower', 0 } end
  local kind, generation = string.sub(claim, 1, 2), string.sub(claim, 3, 24)
  if kind == '1h' then return 'held' end
  if kind ~= '1l' and kind ~= '1w' then return { 'unknown', claim } end
  if generation ~= current then
    call('set', name, own, 'PX', ms)
    return 'leader'
  end
  if string.sub(claim, 25) == token then return 'leader' end
  if kind == '1l' then call('set', name, '1w' .. string.sub(claim, 3), 'KEEPTTL') end
  return { 'follower', call('pttl', name) }
end
local marks = tonumber(ARGV[1])
local count = (#KEYS - marks) / 2
local found = call('mget', unpack(KEYS, 1, marks + count))
local replies = {}
for i = 1, marks do replies[i] = found[i] end
if marks > 0 and replies[1] ~= current then return replies end
for at = marks + 1, marks + count do
  local value = not isRefresh and found[at]
  replies[at] = lease(value, KEYS[at], KEYS[at + count], ARGV[4 + at - marks])
end
return replies`,
);

/** ARGV: kind `l` or `h`, token, milliseconds. → 1 renewed | 0 it is not ours any more */
export const RENEW: RedisScript = redisScript(
  'cache.renew',
  `local claim = redis.call('get', KEYS[2]) or ''
local kind = string.sub(claim, 1, 2)
local isLease = ARGV[1] == 'l' and (kind == '1l' or kind == '1w')
if (isLease and string.sub(claim, 25) == ARGV[2]) or claim == '1h' .. ARGV[2] then
  return redis.call('pexpire', KEYS[2], ARGV[3])
end
return 0`,
);

/**
 * Ends leases of several keys, each with an entry, or without one when the milliseconds are 0.
 * KEYS: the generation, if ARGV[1] is `1`; then the claims of all keys, and their entries. ARGV[2]: the
 * channel; then for each key token, key as published, milliseconds, value.
 * → for each key the generation under which it was filled | 0 the lease is not ours, or was given
 *   before the cache was cleared
 */
export const FILL: RedisScript = redisScript(
  'cache.fill',
  `local call, marks = redis.call, tonumber(ARGV[1])
local count = (#KEYS - marks) / 2
local found = call('mget', unpack(KEYS, 1, marks + count))
local current = marks > 0 and (found[1] or '')
local ended = {}
local function fill(name, claim, entry, token, key, ms, value)
  local kind, generation = string.sub(claim, 1, 2), string.sub(claim, 3, 24)
  if (kind ~= '1l' and kind ~= '1w') or string.sub(claim, 25) ~= token then return 0 end
  local isCurrent = not current or current == generation
  if ms ~= '0' and isCurrent then
    call('set', entry, '["' .. generation .. '",' .. value .. ']', 'PX', ms)
  end
  ended[#ended + 1] = name
  if kind == '1w' then call('publish', ARGV[2], key) end
  return isCurrent and generation or 0
end
local replies = {}
for i = 1, count do
  local at, from = marks + i, 4 * i - 1
  local token, key, ms, value = ARGV[from], ARGV[from + 1], ARGV[from + 2], ARGV[from + 3]
  replies[i] = fill(KEYS[at], found[at] or '', KEYS[at + count], token, key, ms, value)
end
if #ended > 0 then call('del', unpack(ended)) end
return replies`,
);

/**
 * Removes the entry and the claim, puts another claim, keeps the hold of somebody else unless the new
 * claim is a hold too.
 * With a fencing token KEYS[3] is the newest one that the key has seen.
 * ARGV: the caller's own hold as a claim or '', channel, key as published, new claim or '',
 * milliseconds, fencing token or '', milliseconds to remember it. → 1 done | 0 the entry is gone, and
 * somebody else's hold stays | the newest token, nothing was done
 */
export const WITHDRAW: RedisScript = redisScript(
  'cache.withdraw',
  `if ARGV[6] ~= '' then
  local fence, newest = '1' .. ARGV[6], redis.call('get', KEYS[3])
  if newest and (#newest ~= #fence or newest > fence) then return newest end
  redis.call('set', KEYS[3], fence, 'PX', ARGV[7])
end
redis.call('unlink', KEYS[1])
local claim = redis.call('get', KEYS[2]) or ''
local kind = string.sub(claim, 1, 2)
if kind == '1w' then redis.call('publish', ARGV[2], ARGV[3]) end
if kind == '1h' and claim ~= ARGV[1] and string.sub(ARGV[4], 1, 2) ~= '1h' then return 0 end
if ARGV[4] ~= '' then
  redis.call('set', KEYS[2], ARGV[4], 'PX', ARGV[5])
elseif claim ~= '' then
  redis.call('del', KEYS[2])
end
return 1`,
);

/** Lets an entry last so many milliseconds from now. KEYS[1] alone. → the entry | nil */
export const TOUCH: RedisScript = redisScript(
  'cache.touch',
  `local value = redis.call('get', KEYS[1])
if value then redis.call('pexpire', KEYS[1], ARGV[1]) end
return value`,
);

/** Removes keys. KEYS: any. → nothing */
export const FORGET: RedisScript = redisScript(
  'cache.forget',
  `for _, key in ipairs(KEYS) do redis.call('unlink', key) end`,
);

/**
 * Lets entries last longer, none shorter. KEYS: any; ARGV: for each key milliseconds, and a text that
 * the entry must have in it. → for each key 1 extended | 0 not
 */
export const EXTEND: RedisScript = redisScript(
  'cache.extend',
  `local replies = {}
for i, key in ipairs(KEYS) do
  local ms, mark = ARGV[2 * i - 1], ARGV[2 * i]
  local left = redis.call('pttl', key)
  local value = left >= 0 and left < tonumber(ms) and redis.call('get', key)
  local isSame = value and string.find(value, mark, 1, true)
  replies[i] = isSame and redis.call('pexpire', key, ms) or 0
end
return replies`,
);

/**
 * Versions, made where there are none: the format's version, the server's time, and chance. So none
 * is given out twice, whatever becomes of the clock.
 * KEYS: any. ARGV: 8 characters of chance; how many of the keys, from the first, end by themselves;
 * for how many milliseconds they are needed at least. → the version of each key
 */
export const MAKE: RedisScript = redisScript(
  'cache.make',
  `local now = redis.call('time')
local new = string.format('1%08x%05x', now[1], now[2]) .. ARGV[1]
local keepMs = tonumber(ARGV[3])
local versions = {}
for i, key in ipairs(KEYS) do
  local version = redis.call('get', key)
  local ends = i <= tonumber(ARGV[2])
  if not version then
    version = new
    if ends then redis.call('set', key, new, 'PX', string.format('%.0f', 2 * keepMs))
    else redis.call('set', key, new) end
  elseif ends and redis.call('pttl', key) < keepMs then
    redis.call('pexpire', key, string.format('%.0f', 2 * keepMs))
  end
  versions[i] = version
end
return versions`,
);
