import { type RedisScript, redisScript } from './script.js';

// Each script: KEYS[1] is the entry, KEYS[2] the claim of the same key.
//
// A claim is a text: the format's version, then the kind, then the token of the attempt:
//   1l‹token›  a lease    1w‹token›  a lease that others wait for    1h‹token›  a hold
// All scripts may run twice: a token is compared before anything of another attempt is touched.

/** An entry with its time. → false | { value, milliseconds left } */
export const READ: RedisScript = redisScript(
  'cache.read',
  `local value = redis.call('get', KEYS[1])
if not value then return false end
return { value, redis.call('pttl', KEYS[1]) }`,
);

/**
 * ARGV: token, milliseconds, `1` for a refresh, to which an entry is no answer.
 * → { 'found', value, milliseconds left } | { 'leader' } | { 'follower', milliseconds left } |
 *   { 'held' } | { 'unknown', claim }
 */
export const LEASE: RedisScript = redisScript(
  'cache.lease',
  `local value = ARGV[3] ~= '1' and redis.call('get', KEYS[1])
if value then return { 'found', value, redis.call('pttl', KEYS[1]) } end
if redis.call('set', KEYS[2], '1l' .. ARGV[1], 'NX', 'PX', ARGV[2]) then return { 'leader' } end
local claim = redis.call('get', KEYS[2])
if not claim then return { 'follower', 0 } end
local kind, token = string.sub(claim, 1, 2), string.sub(claim, 3)
if kind == '1h' then return { 'held' } end
if kind ~= '1l' and kind ~= '1w' then return { 'unknown', claim } end
if token == ARGV[1] then return { 'leader' } end
if kind == '1l' then redis.call('set', KEYS[2], '1w' .. token, 'KEEPTTL') end
return { 'follower', redis.call('pttl', KEYS[2]) }`,
);

/** ARGV: kind `l` or `h`, token, milliseconds. → 1 renewed | 0 it is not ours any more */
export const RENEW: RedisScript = redisScript(
  'cache.renew',
  `local claim = redis.call('get', KEYS[2])
if claim == '1' .. ARGV[1] .. ARGV[2] or (ARGV[1] == 'l' and claim == '1w' .. ARGV[2]) then
  return redis.call('pexpire', KEYS[2], ARGV[3])
end
return 0`,
);

/**
 * Ends a lease with an entry, or without one when the milliseconds are 0.
 * ARGV: token, channel, key as published, milliseconds, value. → 1 done | 0 the lease is not ours
 */
export const FILL: RedisScript = redisScript(
  'cache.fill',
  `local claim = redis.call('get', KEYS[2])
local isAwaited = claim == '1w' .. ARGV[1]
if not isAwaited and claim ~= '1l' .. ARGV[1] then return 0 end
if ARGV[4] ~= '0' then redis.call('set', KEYS[1], ARGV[5], 'PX', ARGV[4]) end
redis.call('del', KEYS[2])
if isAwaited then redis.call('publish', ARGV[2], ARGV[3]) end
return 1`,
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

/** Ends a lease, whosever it is; a hold stays. KEYS[1] is the claim alone. */
export const END_LEASE: RedisScript = redisScript(
  'cache.end-lease',
  `local claim = redis.call('get', KEYS[1])
if claim and string.sub(claim, 1, 2) ~= '1h' then redis.call('del', KEYS[1]) end
return 1`,
);
