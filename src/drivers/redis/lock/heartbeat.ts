import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, LINE, RECORD } from './state.js';

/**
 * KEYS resource, line for each waiter. ARGV waiter's ttl ms, tombstone ms, then grant id and ttl ms
 * for each waiter.
 *
 * → for each, in order: `H|fence|ms left|waiters` · `Q|first?|ms` · `G` not known here · `V|record`.
 *
 * It never puts anybody in line. It runs the loop that grants, so a lost message costs one
 * heartbeat; and a waiter that finds its grant has been heard from, so it holds for its whole TTL.
 */
export const HEARTBEAT: RedisScript = redisScript(
  'lock.heartbeat',
  `
${CLOCK}${RECORD}${LINE}
local waiterTtl, buryMs = tonumber(ARGV[1]), tonumber(ARGV[2])
local replies = {}
for index = 1, #KEYS / 2 do
  local id, ttl = ARGV[index * 2 + 1], ARGV[index * 2 + 2]
  local s = load(KEYS[index * 2 - 1], KEYS[index * 2])
  local reply = s.alien
  if not reply then
    refresh(s, id, waiterTtl)
    settle(s, id, buryMs)
    local own = holderOf(s, id)
    if own then own.at, own.ttl = now, tonumber(ttl) end
    local _, waits = isBuried(s, id)
    save(s)
    reply = own and held(s, own) or waits and queued(s, id) or 'G'
  end
  replies[index] = reply
end
return replies
`,
);
