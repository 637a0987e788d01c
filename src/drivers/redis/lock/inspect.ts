import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, RECORD } from './state.js';

/** How many waiters an inspection shows. */
export const SHOWN_WAITERS_MAX = 1_000;

/**
 * KEYS resource, line. Writes nothing.
 *
 * → a list: first `ok` or `V|record`, then `h,id,mode,permits,fence,age ms,ms left,owner` for each
 * holder that has not expired and `w,…` for each waiter in order, its fence and time left 0.
 */
export const INSPECT: RedisScript = redisScript(
  'lock.inspect',
  `
${CLOCK}${RECORD}
local s = load(KEYS[1])
if s.alien then return { s.alien } end
local lines = { 'ok' }
local function line(kind, id, party, fence, since, left)
  local mode, permits, owner = string.match(party, '^(%a),(%d+),%d+,%d+,%d+,[^,]*,(.*)$')
  local age = math.floor((now - since) / 1000)
  lines[#lines + 1] = table.concat({ kind, id, mode, permits, fence, whole(age), whole(left), owner }, ',')
end
for _, h in ipairs(s.holders) do
  local left = math.floor((ends(h) - now) / 1000)
  if left > 0 then line('h', h.id, h.party, h.fence, h.since, left) end
end
for _, id in ipairs(redis.call('zrangebyscore', KEYS[2], 1, '+inf', 'limit', 0, ${SHOWN_WAITERS_MAX})) do
  local waiter = redis.call('hget', KEYS[1], 'w:' .. id) or ''
  local since, party = string.match(waiter, '^%d+,%d+,(%d+),(.*)$')
  if since then line('w', id, party, '0', since, 0) end
end
return lines
`,
);
