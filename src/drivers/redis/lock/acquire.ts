import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, LINE, RECORD } from './state.js';

/**
 * KEYS resource, line. ARGV grant id, ttl ms, party, waiter's ttl ms (0: do not wait), tombstone ms.
 *
 * → `H|fence|ms left|waiters` held · `Q|first?|ms` in line · `B` busy · `G` the id is used up ·
 * `C|capacity` another capacity is in use · `V|record` of another format.
 *
 * Twice is once: who holds under this id is told so again, for the whole TTL.
 */
export const ACQUIRE: RedisScript = redisScript(
  'lock.acquire',
  `
local id, ttl, party = ARGV[1], ARGV[2], ARGV[3]
local record = redis.call('hget', KEYS[1], 'r')
${CLOCK}
-- The fast path: exclusive, one token, free, nobody in line, nothing buried.
if record and string.sub(party, 1, 8) == 'x,1,1,1,' then
  local last, released = string.match(record, '^1|(%d+)|s?|0|0|([^|]*)|$')
  if last and released ~= id then
    local fence = math.max(tonumber(last) + 1, now)
    local token = string.format('%.0f', fence)
    local at = fence == now and token or string.format('%.0f', now)
    redis.call('hset', KEYS[1], 'r', '1|' .. token .. '||0|0|' .. released .. '|' .. id .. ',' .. at
      .. ',' .. ttl .. ',' .. token .. ',' .. at .. ',' .. party)
    redis.call('pexpire', KEYS[1], string.format('%.0f', ttl + 3600000 + math.ceil((fence - now) / 1000)))
    return 'H|' .. token .. '|' .. ttl .. '|0'
  end
end
${RECORD}${LINE}
local waiterTtl, buryMs = tonumber(ARGV[4]), tonumber(ARGV[5])
local s = load(KEYS[1], KEYS[2])
if s.alien then return s.alien end
-- A copy that comes after the release of its id has no tombstone, as a rule, but is remembered.
if isBuried(s, id) or s.released == id then return 'G' end
local own = holderOf(s, id)
if own and ends(own) > now then
  own.at, own.ttl = now, tonumber(ttl)
  save(s)
  return held(s, own)
end
refresh(s, id, waiterTtl)
settle(s, id, buryMs)
local buried, waits = isBuried(s, id)
own = holderOf(s, id)
local mode, permits, capacity = string.match(party, '^(%a),(%d+),(%d+),')
local other = s.holders[1]
local reply
if buried then
  reply = 'G'
elseif not own and mode == 'c' and other and other.mode == 'c' and other.capacity ~= tonumber(capacity) then
  reply = 'C|' .. whole(other.capacity)
elseif not own and not waits and redis.call('zcount', s.queue, 1, '+inf') == 0
  and fits(s, tonumber(permits), tonumber(capacity)) then
  own = grant(s, id, ttl, party)
elseif not own and waiterTtl == 0 then
  reply = 'B'
elseif not own and not waits then
  local tail = redis.call('zrevrange', s.queue, 0, 0, 'withscores')[2]
  local number = tail and math.max(tonumber(tail), 0) + 1 or 1
  redis.call('zadd', s.queue, whole(number), id)
  s.alive = now + waiterTtl * 1000
  redis.call('hset', s.key, 'w:' .. id, whole(s.alive) .. ',' .. ttl .. ',' .. whole(now) .. ',' .. party)
  if s.waiters == 0 then
    for _, holder in ipairs(s.holders) do tell(s, holder.incarnation, '1 w ' .. holder.id .. ' 1') end
  end
end
save(s)
if own then return held(s, own) end
return reply or queued(s, id)
`,
);
