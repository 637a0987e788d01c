/**
 * What each node of a quorum lock keeps, and the Lua that its scripts share.
 *
 * `tricord:‹ns›:quorum:{‹resource›}` is a hash. Its field `r` is the record
 *
 *     1|counter|last released|id,round,at,ttl,delay,token,since,incarnation,owner
 *
 * that begins with the format version. What stands after the last bar is the holder, or nothing: it
 * has this node's vote for `ttl` ms from `at`, and is a vote alone while its token is 0. `w:‹id›` is
 * a waiter, `alive until,ticket,round,since,incarnation,owner`; `t:‹id›` is a tombstone,
 * `until|reason`. Waiters are served by their tickets, which are the same on all nodes.
 *
 * `tricord:‹ns›:quorum:node` is the node's marker, `1|run id|since|longest ttl ms|state|nonce`. A
 * node whose run id is not the marker's has lost its state, or part of it: an RDB restore brings the
 * marker back with the run id of an earlier life. It takes no part for the longest TTL, because it
 * may have forgotten a vote that somebody still relies on; then it is in service (`i`). Until then
 * its state is `b` with a marker of an earlier life and `f` without one; nodes that are all `f`, as
 * those of a new deployment are, become `r` and `i` at once: see admit.ts.
 *
 * Times are of the node, in µs; numbers are texts of whole numbers, because Lua writes 14 digits by
 * itself.
 */
export const FORMAT_VERSION = 1;

/** After the last grant a resource is remembered for so long. */
export const RETAIN_MS = 3_600_000;
/** Waiters and tombstones that one node keeps of one resource; whoever comes later polls. */
const FIELDS_MAX = 2_000;

/** Sets `now`. */
export const CLOCK = `
local time = redis.call('time')
local now = time[1] * 1000000 + time[2]
local function whole(number) return string.format('%.0f', number) end
`;

/** Whether this node takes part. Needs CLOCK. Answers a reply to give instead, or nil and the run id. */
export const MARKER = `
local function absence(marker, longest, nonce)
  local info = redis.call('info', 'server')
  -- A pattern is tried at every character before it, which costs more than all the rest of a script.
  local _, at = string.find(info, 'run_id:', 1, true)
  local run = string.match(info, '^%x+', at + 1)
  local major, minor = string.match(info, 'redis_version:(%d+)%.(%d+)')
  if major and major * 100 + minor < 602 then return 'X|' .. major .. '.' .. minor end
  local found = redis.call('get', marker)
  local known, since, ttl, state, mark = string.match(found or '', '^1|(%x+)|(%d+)|(%d+)|(%a)|(.*)$')
  if found and not known then return 'V|' .. string.sub(found, 1, 80) end
  longest = math.max(longest, tonumber(ttl) or 0)
  if known ~= run then
    known, since, state, mark = run, whole(now), found and 'b' or 'f', nonce
  elseif state ~= 'i' and now >= since + longest * 1000 then
    state = 'i'
  end
  local text = table.concat({ '1', run, since, whole(longest), state, mark }, '|')
  if text ~= found then redis.call('set', marker, text) end
  if state == 'i' then return nil, run end
  return table.concat({ 'O', whole(math.ceil((since - now) / 1000) + longest), state, mark }, '|')
end
`;

/** Reads and writes the state of a resource. Needs CLOCK. */
export const RECORD: string = `
local function load(key)
  local s = { key = key, counter = 0, released = '', waiters = {}, buried = {}, fields = 0 }
  local all = redis.call('hgetall', key)
  for index = 1, #all, 2 do
    local kind, id, value = string.sub(all[index], 1, 2), string.sub(all[index], 3), all[index + 1]
    if kind == 'r' then
      local counter, released, holder = string.match(value, '^1|(%d+)|([^|]*)|(.*)$')
      if not counter then
        s.alien = 'V|' .. string.sub(value, 1, 80)
        return s
      end
      s.counter, s.released = tonumber(counter), released
      local own, round, at, ttl, delay, token, since, incarnation, owner =
        string.match(holder, '^([^,]+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),([^,]*),(.*)$')
      if own then
        s.holder = {
          id = own, round = tonumber(round), at = tonumber(at), ttl = tonumber(ttl),
          delay = tonumber(delay), token = token, since = tonumber(since),
          incarnation = incarnation, owner = owner,
        }
      end
    elseif kind == 'w:' then
      local alive, ticket, round, since, incarnation, owner =
        string.match(value, '^(%d+),(%d+),(%d+),(%d+),([^,]*),(.*)$')
      s.waiters[id] = {
        id = id, alive = tonumber(alive), ticket = tonumber(ticket), round = tonumber(round),
        since = tonumber(since), incarnation = incarnation, owner = owner,
      }
      s.fields = s.fields + 1
    elseif kind == 't:' then
      local till, reason = string.match(value, '^(%d+)|(.*)$')
      s.buried[id] = { till = tonumber(till), reason = reason }
      s.fields = s.fields + 1
    end
  end
  return s
end

local function ends(holder) return holder.at + holder.ttl * 1000 end

-- Until when it keeps others out: the delay counts only where it ends without a release.
local function blocks(holder) return ends(holder) + holder.delay * 1000 end

local function save(s)
  local h, holder, latest = s.holder, '', s.counter
  if h then
    holder = table.concat({
      h.id, whole(h.round), whole(h.at), whole(h.ttl), whole(h.delay), h.token, whole(h.since),
      h.incarnation, h.owner,
    }, ',')
    latest = math.max(latest, blocks(h))
  end
  for _, mark in pairs(s.buried) do latest = math.max(latest, mark.till) end
  redis.call('hset', s.key, 'r', table.concat({ '1', whole(s.counter), s.released, holder }, '|'))
  redis.call('pexpire', s.key, whole(math.ceil(math.max(latest - now, 0) / 1000) + ${RETAIN_MS}))
end

local function bury(s, id, ms, reason)
  if ms <= 0 or (not s.buried[id] and s.fields >= ${FIELDS_MAX}) then return end
  s.buried[id] = { till = now + ms * 1000, reason = reason or '' }
  redis.call('hset', s.key, 't:' .. id, whole(now + ms * 1000) .. '|' .. (reason or ''))
end

-- Ends what has expired: a holder, waiters that were not heard from, old tombstones.
local function prune(s)
  local h = s.holder
  if h and blocks(h) <= now then
    -- A delayed vote under this id must not take the node again.
    bury(s, h.id, h.ttl, 'its time ran out')
    s.holder = nil
  end
  for id, waiter in pairs(s.waiters) do
    if waiter.alive <= now then
      s.waiters[id] = nil
      redis.call('hdel', s.key, 'w:' .. id)
    end
  end
  for id, mark in pairs(s.buried) do
    if mark.till <= now then
      s.buried[id] = nil
      redis.call('hdel', s.key, 't:' .. id)
    end
  end
end

local function forget(s, id)
  if s.waiters[id] and redis.call('hdel', s.key, 'w:' .. id) then s.waiters[id] = nil end
end

-- Who is first in line, and how many others than the one who asks wait.
local function line(s, id)
  local head, others = nil, 0
  for _, waiter in pairs(s.waiters) do
    if waiter.id ~= id then others = others + 1 end
    if not head or waiter.ticket < head.ticket
      or (waiter.ticket == head.ticket and waiter.id < head.id) then head = waiter end
  end
  return head, others
end

local function tell(s, incarnation, message)
  -- Where publishing is not permitted, the waiters' own polls find out.
  redis.pcall('publish', string.match(s.key, '^(.*){') .. 'inbox:' .. incarnation, message)
end

-- Tells the first in line that this node's vote is free.
local function callNext(s, asker)
  if s.holder then return end
  local head = line(s)
  if head and head.id ~= asker then tell(s, head.incarnation, '1 t ' .. head.id) end
end

-- Puts a request in line, or keeps it there; rounds up to this one are over.
local function stand(s, id, round, ticket, aliveMs, incarnation, owner)
  local known = s.waiters[id]
  if not known and s.fields >= ${FIELDS_MAX} then return end
  local waiter = known or { id = id, ticket = ticket, round = 0, since = now, incarnation = incarnation, owner = owner }
  waiter.alive, waiter.round = now + aliveMs * 1000, math.max(waiter.round, round)
  s.waiters[id] = waiter
  redis.call('hset', s.key, 'w:' .. id, table.concat({
    whole(waiter.alive), whole(waiter.ticket), whole(waiter.round), whole(waiter.since), incarnation, owner,
  }, ','))
  redis.call('pexpire', s.key, whole(math.max(redis.call('pttl', s.key), aliveMs)))
  if known or not s.holder or s.holder.id == id then return end
  local _, others = line(s, s.holder.id)
  tell(s, s.holder.incarnation, '1 w ' .. s.holder.id .. ' ' .. whole(others))
end

-- 'B|holder or empty|its token|ms that it blocks|how many are ahead|now'
local function busy(s, id, ticket)
  local ahead, h = 0, s.holder
  for _, waiter in pairs(s.waiters) do
    if waiter.id ~= id and (waiter.ticket < ticket or (waiter.ticket == ticket and waiter.id < id)) then
      ahead = ahead + 1
    end
  end
  return table.concat({
    'B', h and h.id or '', h and h.token or '0', whole(h and math.ceil((blocks(h) - now) / 1000) or 0),
    whole(ahead), whole(now),
  }, '|')
end
`;
