import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, MARKER, RECORD } from './state.js';

/**
 * KEYS marker, then a resource for each grant. ARGV longest ttl ms, nonce, then for each grant: id,
 * ttl ms, delay ms, first token, last token, incarnation, owner.
 *
 * → for each, in order: `H|waiters` · `L|reason` lost here · `O|…` the node takes no part · `X|…` ·
 * `V|record`.
 *
 * A node that does not know the grant, and where nobody else has the vote, takes it up: so a lease
 * that is held for days outlives restarts of the nodes, one at a time. What was released or ended
 * here has a tombstone where a copy of a renewal may still be under way.
 */
export const RENEW: RedisScript = redisScript(
  'quorum.renew',
  `
${CLOCK}${MARKER}${RECORD}
local away = absence(KEYS[1], tonumber(ARGV[1]), ARGV[2])
local replies = {}
local function renew(key, id, ttl, delay, first, last, incarnation, owner)
  if away then return away end
  local s = load(key)
  if s.alien then return s.alien end
  prune(s)
  local h, mark = s.holder, s.buried[id]
  if mark then return 'L|' .. mark.reason end
  if s.released == id or (h and (h.id ~= id or ends(h) <= now)) then return 'L|' end
  if not h then
    h = { id = id, round = 0, since = now, incarnation = incarnation, owner = owner }
    s.holder = h
  end
  h.at, h.ttl, h.delay, h.token = now, tonumber(ttl), tonumber(delay), first
  s.counter = math.max(s.counter, tonumber(last))
  forget(s, id)
  save(s)
  local _, others = line(s, id)
  return 'H|' .. whole(others)
end
for index = 2, #KEYS do
  local from = 3 + (index - 2) * 7
  replies[index - 1] = renew(KEYS[index], unpack(ARGV, from, from + 6))
end
return replies
`,
);
