/**
 * What the scripts of the lock keep for one resource, and the Lua that all of them share.
 *
 * `tricord:‹ns›:lock:{‹resource›}` is a hash. Its field `r` is the record
 *
 *     1|last token|epoch|waiters|tombstones until|last released|holder;holder;…
 *
 * that begins with the format version; a holder is `id,at,ttl,fence,since,party`: it holds for `ttl`
 * ms from `at`. A party is `mode,permits,capacity,tokens,provisional ttl,incarnation,owner` as the
 * client made it. Field `w:‹id›` is a waiter: `alive until,ttl,since,party`. Times are of the
 * server, in µs; all numbers are texts of whole numbers, because Lua writes 14 digits by itself.
 *
 * `…:q` is a sorted set: waiters by number of arrival from 1 up; tombstones at minus the time until
 * which they are kept. So a waiter that leaves becomes a tombstone in one step, and the head of the
 * line is one range query.
 *
 * Why so: the uncontended pair is two small reads and writes of one field. Measured on one machine
 * with a round trip of 30 µs, server time of acquire and release together: raw SET NX and scripted
 * release 3.9 µs, two empty scripts 5.0, this 12.0, the same text in a string key 12.4, fields of a
 * hash 17, msgpack 20, sorted sets for holders 19.5. What a script is passed and answers weighs as
 * much as what it does: two keys, four arguments and one text as reply instead of four, nine and a
 * list took 5 µs off, and 11 µs off the client.
 *
 * The rules are those of the model in test/unit/redis/lock-model.ts.
 */
export const FORMAT_VERSION = 1;

/** After the last grant a resource is remembered for so long, so that its fence cannot go back. */
const RETAIN_MS = 3_600_000;
/** Tombstones of one resource; beyond, those that would end first are dropped. */
const TOMBSTONES_MAX = 10_000;
/** Dead waiters that one script removes at most; the next one goes on. */
const PRUNED_MAX = 1_000;

/** Sets `now`. */
export const CLOCK = `
local time = redis.call('time')
local now = time[1] * 1000000 + time[2]
`;

/** Reads and writes the record. Needs `now`. */
export const RECORD: string = `
local function whole(number) return string.format('%.0f', number) end

local function load(key, queue)
  local s = { key = key, queue = queue, last = 0, epoch = '', waiters = 0, buried = 0, released = '', holders = {} }
  local record = redis.call('hget', key, 'r')
  if not record then return s end
  local last, epoch, waiters, buried, released, holders =
    string.match(record, '^1|(%d+)|(s?)|(%d+)|(%d+)|([^|]*)|(.*)$')
  if not last then
    s.alien = 'V|' .. string.sub(record, 1, 80)
    return s
  end
  s.last, s.epoch, s.waiters = tonumber(last), epoch, tonumber(waiters)
  s.buried, s.released = tonumber(buried), released
  for id, at, ttl, fence, since, party in
    string.gmatch(holders, '([^,;]+),(%d+),(%d+),(%d+),(%d+),([^;]*)')
  do
    local mode, permits, capacity, _, _, incarnation =
      string.match(party, '^(%a),(%d+),(%d+),(%d+),(%d+),([^,]*),')
    s.holders[#s.holders + 1] = {
      id = id, at = tonumber(at), ttl = tonumber(ttl), fence = fence, since = since, party = party,
      mode = mode, permits = tonumber(permits), capacity = tonumber(capacity), incarnation = incarnation,
    }
  end
  return s
end

local function ends(holder) return holder.at + holder.ttl * 1000 end

local function save(s)
  local parts, latest = {}, math.max(s.last, s.buried, s.alive or 0)
  for index, h in ipairs(s.holders) do
    parts[index] = table.concat({ h.id, whole(h.at), whole(h.ttl), h.fence, h.since, h.party }, ',')
    latest = math.max(latest, ends(h))
  end
  if s.queue then
    s.waiters = redis.call('zcount', s.queue, 1, '+inf')
    local keep = math.max(s.buried, s.alive or 0) - now
    if keep > 0 and redis.call('pttl', s.queue) * 1000 < keep then
      redis.call('pexpire', s.queue, whole(math.ceil(keep / 1000)))
    end
  end
  if latest == 0 then return end
  redis.call('hset', s.key, 'r', table.concat({
    '1', whole(s.last), s.epoch, whole(s.waiters), whole(s.buried), s.released, table.concat(parts, ';'),
  }, '|'))
  redis.call('pexpire', s.key, whole(math.ceil(math.max(latest - now, 0) / 1000) + ${RETAIN_MS}))
end

local function holderOf(s, id)
  for index, holder in ipairs(s.holders) do
    if holder.id == id then return holder, index end
  end
end

local function held(s, holder)
  local left = math.floor((ends(holder) - now) / 1000)
  return table.concat({ 'H', holder.fence, whole(left), whole(s.waiters) }, '|')
end
`;

/** The line, the tombstones and the loop that grants. Needs RECORD. */
export const LINE: string = `
local function tell(s, incarnation, message)
  -- Where publishing is not permitted, the heartbeats of the waiters find their grants.
  redis.pcall('publish', string.match(s.key, '^(.*){') .. 'inbox:' .. incarnation, message)
end

local function forget(s, id)
  redis.call('zrem', s.queue, id)
  redis.call('hdel', s.key, 'w:' .. id)
end

local function bury(s, id, ms)
  local till = now + ms * 1000
  redis.call('zadd', s.queue, whole(-till), id)
  redis.call('hdel', s.key, 'w:' .. id)
  local count = redis.call('zcount', s.queue, '-inf', -1)
  if count > ${TOMBSTONES_MAX} then redis.call('zremrangebyrank', s.queue, ${TOMBSTONES_MAX}, count - 1) end
  s.buried = math.max(s.buried, till)
end

local function isBuried(s, id)
  local score = redis.call('zscore', s.queue, id)
  return score and tonumber(score) < 0, score and tonumber(score) > 0
end

-- One rule for all modes: what is used and what is asked fit into the smallest capacity in play.
-- Exclusive is 1 of 1, shared 1 of very many, counting some of some.
local function fits(s, permits, capacity)
  local used = 0
  for _, holder in ipairs(s.holders) do
    used = used + holder.permits
    capacity = math.min(capacity, holder.capacity)
  end
  return used + permits <= capacity
end

-- Above every earlier token, also of a life of this server whose memory is lost, as long as its
-- clock is not behind by more than the time since the last grant.
local function takeTokens(s, count)
  local first = math.max(s.last + 1, now)
  s.last = first + count - 1
  return whole(first)
end

local function grant(s, id, ttl, party)
  local mode, permits, capacity, tokens, _, incarnation =
    string.match(party, '^(%a),(%d+),(%d+),(%d+),(%d+),([^,]*),')
  local fence = '0'
  if mode == 'x' then
    fence, s.epoch = takeTokens(s, tonumber(tokens)), ''
  elseif mode == 's' then
    fence = s.epoch == 's' and whole(s.last) or takeTokens(s, 1)
    s.epoch = 's'
  end
  local holder = {
    id = id, at = now, ttl = tonumber(ttl), fence = fence, since = whole(now), party = party,
    mode = mode, permits = tonumber(permits), capacity = tonumber(capacity), incarnation = incarnation,
  }
  s.holders[#s.holders + 1] = holder
  return holder
end

-- Ends what has expired, drops dead waiters at the head, and writes the grants of those whose turn
-- it is. The grant of a waiter is provisional: short, until the waiter is heard from.
local function settle(s, caller, buryMs)
  if s.buried > 0 then redis.call('zremrangebyscore', s.queue, whole(-now), -1) end
  if s.buried <= now then s.buried = 0 end
  for index = #s.holders, 1, -1 do
    local holder = s.holders[index]
    if ends(holder) <= now then
      -- A delayed acquire of this id must not take the resource again.
      bury(s, holder.id, math.max(buryMs, holder.ttl))
      table.remove(s.holders, index)
    end
  end
  for _ = 1, ${PRUNED_MAX} do
    local id = redis.call('zrangebyscore', s.queue, 1, '+inf', 'limit', 0, 1)[1]
    if not id then return end
    local alive, _, _, party = string.match(
      redis.call('hget', s.key, 'w:' .. id) or '', '^(%d+),(%d+),(%d+),(.*)$')
    if not alive or tonumber(alive) <= now then
      forget(s, id)
    else
      local permits, capacity, provisional =
        string.match(party, '^%a,(%d+),(%d+),%d+,(%d+),')
      if not fits(s, tonumber(permits), tonumber(capacity)) then return end
      forget(s, id)
      local holder = grant(s, id, provisional, party)
      if id ~= caller then tell(s, holder.incarnation, '1 g ' .. id) end
    end
  end
end

-- Keeps a waiter in line that is there; never puts one into it.
local function refresh(s, id, waiterTtl)
  local waiter = redis.call('hget', s.key, 'w:' .. id)
  if not waiter then return end
  s.alive = math.max(s.alive or 0, now + waiterTtl * 1000)
  redis.call('hset', s.key, 'w:' .. id, (string.gsub(waiter, '^%d+', whole(now + waiterTtl * 1000))))
end

-- 'Q|whether first in line|ms until a holder ends unless it renews'
local function queued(s, id)
  local first = redis.call('zrangebyscore', s.queue, 1, '+inf', 'limit', 0, 1)[1] == id
  local soonest
  for _, holder in ipairs(s.holders) do soonest = math.min(soonest or ends(holder), ends(holder)) end
  local left = soonest and math.ceil((soonest - now) / 1000) or 0
  return 'Q|' .. (first and '1' or '0') .. '|' .. whole(left)
end
`;
