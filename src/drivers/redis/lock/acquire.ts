import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

const BODY: string = `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local id, wait = ARGV[1], ARGV[3] ~= '0'
local ttl, party = match(ARGV[2], '^(%d+),(.*)$')
ttl, party = tonumber(ttl), partyOf(party)
local s = load(KEYS[1])
if s.alien then return s.alien end
-- A copy that comes after the release of its id has no tombstone, as a rule, but is remembered.
if s.released == id or isBuried(s, id) then return 'G' end
local own = holderOf(s, id)
if own then
  if ends(own) <= now then return 'G' end
  extend(own, ttl)
  save(s)
  return held(s, own)
end
local waits = refresh(s, id)
settle(s, id)
own = holderOf(s, id)
local reply
if not own and not waits then
  reply = mismatch(s, party)
  if reply then
    -- Nothing of it is kept.
  elseif s.line.count == 0 and fits(s, party) then
    own = grant(s, id, ttl, party)
  elseif wait then
    join(s, id, ttl, party)
  else
    reply = 'B'
  end
end
save(s)
return own and held(s, own) or reply or queued(s, id)
`;

/**
 * KEYS resource. ARGV grant id, `ttl ms,party`, and `0` where it does not wait.
 *
 * → `H|fence|ms left|waiters` held · `Q|first?|ms|now` in line · `B` busy · `G` the id is used up ·
 * `C|capacity` those who are here use the resource in another way · `V|record` of another format.
 *
 * Twice is once: who holds under this id is told so again, for the whole TTL.
 */
export const ACQUIRE: RedisScript = redisScript('lock.acquire', BODY);

/**
 * The same for an exclusive lock with one token and a TTL up to PLAIN_TTL_MS_MAX: when it is free,
 * with nobody in line, nothing buried and nobody watching, it is one read and one write.
 *
 * → also a number: held for the whole TTL with this token, and nobody waits.
 */
export const ACQUIRE_PLAIN: RedisScript = redisScript(
  'lock.acquire',
  `
do
  local call, sub, id = redis.call, string.sub, ARGV[1]
  local record = call('hget', KEYS[1], 'r')
  if record and sub(record, 1, 2) == '1f' then
    local time = call('time')
    local now, fresh = time[1] .. sub('00000' .. time[2], -6), sub(record, 19, 34)
    local released = sub(record, 35)
    -- Texts of sixteen digits compare as their numbers do; a time that is longer takes the long way.
    if #now == 16 and now > sub(record, 3, 18) and now < fresh and released ~= id then
      call('hset', KEYS[1], 'r', '1h' .. fresh .. now .. id .. ',' .. released .. ',' .. ARGV[2])
      return tonumber(now)
    end
  end
end
${BODY}`,
);
