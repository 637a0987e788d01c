/**
 * The Lua of the line, the tombstones and the loop that grants, for the scripts that need it. Both
 * are linked lists through fields of the resource's hash, so that joining and leaving take the same
 * few commands however many stand in line.
 */

/** Tombstones of one resource; beyond, the oldest are dropped. */
const TOMBSTONES_MAX = 10_000;
/** Dead waiters or old tombstones that one script removes at most; the next one goes on. */
const PRUNED_MAX = 1_000;

/** Needs RECORD. */
export const TOMBSTONES: string = `
-- When the id ended for good, and why if somebody forced it.
local function tombstone(s, id)
  local till, behind, why = match(call('hget', s.key, 't:' .. id) or '', '^(%d+),([^,]*),(.*)$')
  if till then return { till = tonumber(till), behind = behind, why = why } end
end

local function isBuried(s, id)
  if s.tombs.count == 0 then return false end
  local known = tombstone(s, id)
  return known and known.till > now
end

local function unbury(s)
  local tombs = s.tombs
  local first = tombstone(s, tombs.first)
  call('hdel', s.key, 't:' .. tombs.first)
  tombs.count, tombs.first = tombs.count - 1, first and first.behind or ''
  if tombs.first == '' then s.tombs = chain('0') end
end

local function bury(s, id, ms, why)
  local till, tombs = now + ms * 1000, s.tombs
  keep(s, till)
  local known = tombs.count > 0 and tombstone(s, id)
  if known then
    call('hset', s.key, 't:' .. id, whole(max(till, known.till)) .. ',' .. known.behind .. ',' .. known.why)
    return
  end
  call('hset', s.key, 't:' .. id, whole(till) .. ',,' .. (why or ''))
  if tombs.count == 0 then
    tombs.first = id
  else
    local last = tombstone(s, tombs.last)
    call('hset', s.key, 't:' .. tombs.last, whole(last.till) .. ',' .. id .. ',' .. last.why)
  end
  tombs.count, tombs.last = tombs.count + 1, id
  if tombs.count > ${TOMBSTONES_MAX} then unbury(s) end
end

local function buryHolder(s, holder, why)
  bury(s, holder.id, max(holder.party.window, holder.ttl), why)
end

local function pruneTombstones(s)
  for _ = 1, ${PRUNED_MAX} do
    if s.tombs.count == 0 then return end
    local first = tombstone(s, s.tombs.first)
    if first and first.till > now then return end
    unbury(s)
  end
end
`;

/** Needs TOMBSTONES. */
export const LINE: string = `
local function waiter(s, id)
  if id == '' then return end
  local alive, ttl, since, before, behind, party =
    match(call('hget', s.key, 'w:' .. id) or '', '^(%d+),(%d+),(%d+),([^,]*),([^,]*),(.*)$')
  if not alive then return end
  return {
    id = id, alive = tonumber(alive), ttl = tonumber(ttl), since = since, before = before,
    behind = behind, party = partyOf(party),
  }
end

local function put(s, w)
  keep(s, w.alive)
  call('hset', s.key, 'w:' .. w.id, whole(w.alive) .. ',' .. whole(w.ttl) .. ',' .. w.since .. ',' .. w.before
    .. ',' .. w.behind .. ',' .. w.party.text)
end

-- Takes a waiter out of the line. Who is first may have an outdated 'before', which nobody reads.
local function leave(s, w)
  local line = s.line
  local isFirst, isLast = line.first == w.id, line.last == w.id
  if isFirst then line.first = w.behind end
  if isLast then line.last = isFirst and '' or w.before end
  if not isFirst then
    local before = waiter(s, w.before)
    before.behind = w.behind
    put(s, before)
  end
  if not isFirst and not isLast then
    local behind = waiter(s, w.behind)
    behind.before = w.before
    put(s, behind)
  end
  call('hdel', s.key, 'w:' .. w.id)
  line.count = line.count - 1
end

local function tell(s, incarnation, message)
  -- Where publishing is not permitted, the heartbeats of the waiters find their grants.
  redis.pcall('publish', channel(s, 'inbox:') .. incarnation, message)
end

local function join(s, id, ttl, party)
  local line = s.line
  -- Who died behind everybody else leaves no gap for long, whatever stays in front.
  for _ = 1, ${PRUNED_MAX} do
    local last = waiter(s, line.last)
    if not last or last.alive > now then break end
    leave(s, last)
  end
  local last = waiter(s, line.last)
  if last then
    last.behind = id
    put(s, last)
  else
    line.first = id
    for _, holder in ipairs(s.holders) do tell(s, holder.party.incarnation, '1 w ' .. holder.id .. ' 1') end
  end
  put(s, {
    id = id, alive = now + party.patience * 1000, ttl = ttl, since = whole(now),
    before = last and last.id or '', behind = '', party = party,
  })
  line.last, line.count = id, line.count + 1
end

-- Keeps a waiter in line that is there; never puts one into it.
local function refresh(s, id)
  if s.line.count == 0 then return end
  local w = waiter(s, id)
  if not w then return end
  w.alive = now + w.party.patience * 1000
  put(s, w)
  return w
end

-- One rule for all modes: what is used and what is asked fit into the smallest capacity in play.
-- Exclusive is 1 of 1, shared 1 of very many, counting some of some.
local function fits(s, party)
  local used, capacity = party.permits, party.capacity
  for _, holder in ipairs(s.holders) do
    used = used + holder.party.permits
    capacity = min(capacity, holder.party.capacity)
  end
  return used <= capacity
end

-- Above every earlier token, also of a life of this server whose memory is lost, as long as its
-- clock is not behind by more than the time since the last grant.
local function takeTokens(s, count)
  local first = max(s.last + 1, now)
  s.last = first + count - 1
  return whole(first)
end

local function grant(s, id, ttl, party)
  local fence = '0'
  if party.mode == 'x' then
    fence, s.epoch = takeTokens(s, party.tokens), ''
  elseif party.mode == 's' then
    fence = s.epoch == 's' and whole(s.last) or takeTokens(s, 1)
    s.epoch = 's'
  end
  local holder =
    { id = id, at = now, ttl = ttl, fence = fence, since = whole(now), number = 0, party = party }
  s.holders[#s.holders + 1] = holder
  s.changed = true
  return holder
end

-- Ends what has expired, drops dead waiters at the head, and writes the grants of those whose turn
-- it is. The grant of a waiter is provisional: short, until the waiter is heard from.
local function settle(s, caller)
  pruneTombstones(s)
  for index = #s.holders, 1, -1 do
    local holder = s.holders[index]
    if frees(holder) <= now then
      -- A delayed acquire of this id must not take the resource again.
      buryHolder(s, holder)
      table.remove(s.holders, index)
      s.changed = true
    end
  end
  for _ = 1, ${PRUNED_MAX} do
    if s.line.count == 0 then return end
    local first = waiter(s, s.line.first)
    if first and first.alive > now and not fits(s, first.party) then return end
    if not first then
      s.line = chain('0')
    else
      leave(s, first)
      if first.alive > now then
        local own = grant(s, first.id, first.id == caller and first.ttl or first.party.provisional, first.party)
        if first.id ~= caller then
          tell(s, own.party.incarnation, '1 g ' .. own.id .. ' ' .. own.fence .. ' ' .. whole(ends(own)) .. ' '
            .. own.ttl .. ' ' .. s.line.count)
        end
      end
    end
  end
end

-- 'Q|whether first in line|ms until a holder frees it unless it renews|now'
local function queued(s, id)
  local soonest
  for _, holder in ipairs(s.holders) do soonest = min(soonest or frees(holder), frees(holder)) end
  local left = soonest and math.ceil((soonest - now) / 1000) or 0
  return 'Q|' .. (s.line.first == id and '1' or '0') .. '|' .. whole(left) .. '|' .. whole(now)
end

-- The capacity that all who are here count to, 1 where they read and write; nil when nobody is.
local function usedAs(s)
  for _, holder in ipairs(s.holders) do
    if ends(holder) > now then return holder.party end
  end
  local first = waiter(s, s.line.first)
  return first and first.party
end

local function mismatch(s, party)
  local other = usedAs(s)
  if not other then return end
  local one, two = other.mode == 'c' and other.capacity or 0, party.mode == 'c' and party.capacity or 0
  if one ~= two then return 'C|' .. whole(max(one, 1)) end
end
`;
