import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

const BODY: string = `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local id, wait = ARGV[1], ARGV[3] == '1'
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
 * KEYS resource. ARGV grant id, `ttl ms,party`, whether to wait (1 or 0).
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
 * → also `h‹fence›`: held for the whole TTL, and nobody waits.
 */
export const ACQUIRE_PLAIN: RedisScript = redisScript(
  'lock.acquire',
  `
do
  local call = redis.call
  local record = call('hget', KEYS[1], 'r')
  if record then
    local last, fresh, released = string.match(record, '^1|(%d+)|s?|0|0|0|(%d+)|([^|]*)|$')
    if last then
      local time, id = call('time'), ARGV[1]
      local now = time[1] .. string.sub('00000' .. time[2], -6)
      -- Texts of sixteen digits compare as their numbers do; others take the long way.
      if #last == #now and last < now and now < fresh and released ~= id then
        call('hset', KEYS[1], 'r', '1|' .. now .. '||0|0|0|' .. fresh .. '|' .. released .. '|' .. now .. ','
          .. now .. ',' .. now .. ',0,' .. id .. ',' .. ARGV[2])
        return 'h' .. now
      end
    end
  end
end
${BODY}`,
);
