import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resources, each once. ARGV grant id and `ttl ms,party` for each.
 *
 * → a list: `H|fence|ms left|waiters` for each resource in order, or one answer for all of them: `B`
 * busy · `G` one of the ids is used up · `C|capacity|index` · `V|record`.
 *
 * All or none, and nobody is put in line. Twice is once.
 */
export const ACQUIRE_ALL: RedisScript = redisScript(
  'lock.acquireAll',
  `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local wanted, refusal, isGone, isKnown = {}, nil, false, false
for index, key in ipairs(KEYS) do
  local id = ARGV[index * 2 - 1]
  local ttl, party = match(ARGV[index * 2], '^(%d+),(.*)$')
  local s = load(key)
  if s.alien then return { s.alien } end
  local w = { s = s, id = id, ttl = tonumber(ttl), party = partyOf(party), own = holderOf(s, id) }
  wanted[index] = w
  if s.released == id or isBuried(s, id) or w.own and ends(w.own) <= now then
    isGone = true
  elseif w.own then
    isKnown = true
  else
    -- What is found out here is true, whatever becomes of the rest.
    settle(s)
    save(s)
    local other = mismatch(s, w.party)
    if other then refusal = other .. '|' .. index end
    if not refusal and (s.line.count > 0 or not fits(s, w.party)) then refusal = 'B' end
  end
end
-- Some of an earlier send are over: it was granted whole, and is whole no more.
if isGone or refusal and isKnown then return { 'G' } end
if refusal then return { refusal } end
local replies = {}
for index, w in ipairs(wanted) do
  if w.own then
    extend(w.own, w.ttl)
  else
    w.own = grant(w.s, w.id, w.ttl, w.party)
  end
  save(w.s)
  replies[index] = held(w.s, w.own)
end
return replies
`,
);
