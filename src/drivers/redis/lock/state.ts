/**
 * What the scripts of the lock keep for one resource, and the Lua that reads and writes it.
 *
 * `tricord:‹ns›:lock:{‹resource›}` is one hash; a resource is one key, because a script of two keys
 * is refused (TRYAGAIN) for as long as a cluster moves the slot. Its field `r` is the record
 *
 *     1|last token|epoch|line|tombstones|watched until|fresh until|last released|holder;holder;…
 *
 * that begins with the format version. A resource that only ever had one writer at a time, as most
 * have, is written shorter, so that the scripts of such a pair need no pattern to read it, and times
 * have sixteen digits there: free, and held since a grant that was not renewed yet:
 *
 *     1f‹last token›‹fresh until›‹last released›
 *     1h‹fresh until›‹token, and when it was granted›‹id›,‹last released›,‹ttl›,‹party›
 *
 * `line` and `tombstones` are linked lists, `0` when empty,
 * else `count:first:last`; their members are fields of the hash:
 *
 * - `w:‹id›` a waiter: `alive until,ttl,since,id before,id behind,party`
 * - `t:‹id›` the end of a grant id: `kept until,id behind,why`
 *
 * A holder is `at,fence,since,number,id,ttl,party`: it holds for `ttl` ms from `at`, as told by the
 * renewal of that number. A party is what its client made of the request:
 * `mode,permits,capacity,tokens,provisional ttl,waiter's ttl,lock delay,tombstone ms,incarnation,owner`.
 * Times are of the server, in µs; all numbers are texts of whole numbers, because Lua writes 14
 * digits by itself.
 *
 * The key lives for more than an hour after all that it holds, so that a fence cannot go back; its
 * expiry is set anew only once `fresh until` has passed, which takes a command off most grants.
 *
 * Why so: the uncontended pair is two small reads and writes of one field. Server time of acquire and
 * release together, network included, on one quiet machine: raw SET NX and scripted release 14.6 µs;
 * two empty scripts 14.2; two that read, write and look at the clock 18.4; this 19.8; with the long
 * form and patterns 22.1. A string key with GETSET in place of the hash gains 0.3, an answer that is
 * a number 0.3.
 *
 * The rules are those of the model in test/unit/redis/lock-model.ts.
 */
export const FORMAT_VERSION = 1;

/** After the last grant a resource is remembered for so long, so that its fence cannot go back. */
const RETAIN_US = 3_600_000_000;
/** A grant of up to so long needs no look at the expiry of its key before `fresh until`. */
export const PLAIN_TTL_MS_MAX = 600_000;
const PLAIN_TTL_US_MAX = PLAIN_TTL_MS_MAX * 1_000;
/** Stands for no limit, and is exact in Lua. */
export const CAPACITY_MAX: number = 2 ** 52;

const TIME_DIGITS = 16;
const TIME: string = `(${'%d'.repeat(TIME_DIGITS)})`;

/** Sets `now`, and the names that all scripts use. */
export const CLOCK = `
local call, match, format, max, min = redis.call, string.match, string.format, math.max, math.min
local time = call('time')
local now = time[1] * 1000000 + time[2]
`;

/** Reads and writes the record. Needs CLOCK. */
export const RECORD: string = `
local function whole(number) return format('%.0f', number) end

local function chain(text)
  local count, first, last = match(text, '^(%d+):([^:]*):(.*)$')
  return { count = tonumber(count) or 0, first = first or '', last = last or '' }
end

local function chainText(list)
  return list.count == 0 and '0' or list.count .. ':' .. list.first .. ':' .. list.last
end

local function partyOf(text)
  local mode, permits, capacity, tokens, provisional, patience, delay, window, incarnation =
    match(text, '^(%a),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),([^,]*),')
  return {
    text = text, mode = mode, permits = tonumber(permits), capacity = tonumber(capacity),
    tokens = tonumber(tokens), provisional = tonumber(provisional), patience = tonumber(patience),
    delay = tonumber(delay), window = tonumber(window), incarnation = incarnation,
  }
end

local function readShort(s, record)
  local form = string.sub(record, 1, 2)
  if form == '1f' then
    local last, fresh, released = match(record, '^1f${TIME}${TIME}(.*)$')
    if not last then return end
    s.last, s.fresh, s.released = tonumber(last), tonumber(fresh), released
    return true
  elseif form == '1h' then
    local fresh, at, id, released, ttl, party = match(record, '^1h${TIME}${TIME}([^,]+),([^,]*),(%d+),(.*)$')
    if not fresh then return end
    s.last, s.fresh, s.released = tonumber(at), tonumber(fresh), released
    s.holders[1] = {
      at = tonumber(at), fence = at, since = at, number = 0, id = id, ttl = tonumber(ttl), party = partyOf(party),
    }
    return true
  end
end

local function shortText(s)
  local isPlain = s.epoch == '' and s.line.count == 0 and s.tombs.count == 0 and s.watched == 0 and #s.holders < 2
  if not isPlain then return end
  local last, fresh, h = whole(s.last), whole(s.fresh), s.holders[1]
  if #last ~= ${TIME_DIGITS} or #fresh ~= ${TIME_DIGITS} then return end
  if not h then return '1f' .. last .. fresh .. s.released end
  if h.number == 0 and h.fence == last and h.since == last and h.at == s.last and h.party.mode == 'x' then
    return '1h' .. fresh .. last .. h.id .. ',' .. s.released .. ',' .. whole(h.ttl) .. ',' .. h.party.text
  end
end

local function longText(s)
  local parts = {}
  for index, h in ipairs(s.holders) do
    parts[index] = whole(h.at) .. ',' .. h.fence .. ',' .. h.since .. ',' .. whole(h.number) .. ',' .. h.id
      .. ',' .. whole(h.ttl) .. ',' .. h.party.text
  end
  return '1|' .. whole(s.last) .. '|' .. s.epoch .. '|' .. chainText(s.line) .. '|' .. chainText(s.tombs)
    .. '|' .. whole(s.watched) .. '|' .. whole(s.fresh) .. '|' .. s.released .. '|' .. table.concat(parts, ';')
end

local function load(key)
  local s = {
    key = key, last = 0, epoch = '', line = chain('0'), tombs = chain('0'), watched = 0, fresh = 0,
    released = '', holders = {}, need = 0,
  }
  local record = call('hget', key, 'r')
  if not record then return s end
  s.record = record
  if readShort(s, record) then return s end
  local last, epoch, line, tombs, watched, fresh, released, holders =
    match(record, '^1|(%d+)|(s?)|([^|]+)|([^|]+)|(%d+)|(%d+)|([^|]*)|(.*)$')
  if not last then
    s.alien = 'V|' .. string.sub(record, 1, 80)
    return s
  end
  s.last, s.epoch, s.line, s.tombs = tonumber(last), epoch, chain(line), chain(tombs)
  s.watched, s.fresh, s.released = tonumber(watched), tonumber(fresh), released
  for at, fence, since, number, id, ttl, party in
    string.gmatch(holders, '(%d+),(%d+),(%d+),(%d+),([^,;]+),(%d+),([^;]*)')
  do
    s.holders[#s.holders + 1] = {
      at = tonumber(at), fence = fence, since = since, number = tonumber(number), id = id,
      ttl = tonumber(ttl), party = partyOf(party),
    }
  end
  return s
end

local function ends(holder) return holder.at + holder.ttl * 1000 end
-- What a dead holder leaves is nobody's until its delay is over too.
local function frees(holder) return ends(holder) + holder.party.delay * 1000 end

local function holderOf(s, id)
  for index, holder in ipairs(s.holders) do
    if holder.id == id then return holder, index end
  end
end

local function channel(s, name) return match(s.key, '^(.*){') .. name end

-- The key outlives whatever is kept in it until then.
local function keep(s, till) s.need = max(s.need, till) end

local function save(s)
  for _, holder in ipairs(s.holders) do keep(s, frees(holder)) end
  keep(s, s.last)
  if s.watched <= now then s.watched = 0 end
  -- Nothing was ever kept here.
  if s.need == 0 and not s.record then return end
  local expires = s.fresh <= now or s.need > s.fresh + ${PLAIN_TTL_US_MAX}
  if expires then s.fresh = max(now, s.need) + ${RETAIN_US} end
  local record = shortText(s) or longText(s)
  if record ~= s.record then call('hset', s.key, 'r', record) end
  if expires then
    call('pexpire', s.key, whole(math.ceil((s.fresh - now + ${RETAIN_US} + ${PLAIN_TTL_US_MAX}) / 1000)))
  end
  if s.changed and s.watched > 0 then
    redis.pcall('publish', channel(s, 'watch:') .. match(s.key, '{([^{]*)}$'), '1')
  end
end

-- Never shortens: an older request may arrive after a newer one.
local function extend(holder, ttl)
  if now + ttl * 1000 > ends(holder) then holder.at, holder.ttl = now, ttl end
end

local function held(s, holder)
  local left = math.floor((ends(holder) - now) / 1000)
  return 'H|' .. holder.fence .. '|' .. whole(left) .. '|' .. s.line.count
end
`;
