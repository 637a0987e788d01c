import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource for each waiter. ARGV grant id and ttl ms for each.
 *
 * → for each, in order: `H|fence|ms left|waiters` · `Q|first?|ms|now` · `G` not known here ·
 * `V|record`.
 *
 * It never puts anybody in line. It runs the loop that grants, so a lost message costs one
 * heartbeat; and a waiter that finds its grant has been heard from, so it holds for its whole TTL.
 */
export const HEARTBEAT: RedisScript = redisScript(
  'lock.heartbeat',
  `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local replies = {}
for index = 1, #KEYS do
  local id, ttl = ARGV[index * 2 - 1], tonumber(ARGV[index * 2])
  local s = load(KEYS[index])
  local reply = s.alien
  if not reply then
    refresh(s, id)
    settle(s, id)
    local own = holderOf(s, id)
    local isOwn = own and ends(own) > now
    if isOwn then extend(own, ttl) end
    save(s)
    reply = isOwn and held(s, own) or waiter(s, id) and queued(s, id) or 'G'
  end
  replies[index] = reply
end
return replies
`,
);
