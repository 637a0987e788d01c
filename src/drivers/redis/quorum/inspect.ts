import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource. Writes nothing. → a list: `ok` or `V|record`, then
 * `h,id,token,age ms,ms left,owner` of the holder and `w,id,ticket,age ms,0,owner` of each waiter.
 */
export const INSPECT: RedisScript = redisScript(
  'quorum.inspect',
  `
${CLOCK}${RECORD}
local s = load(KEYS[1])
if s.alien then return { s.alien } end
local lines = { 'ok' }
local function add(kind, id, number, since, left, owner)
  local age = whole(math.max(math.floor((now - since) / 1000), 0))
  lines[#lines + 1] = table.concat({ kind, id, number, age, whole(left), owner }, ',')
end
local h = s.holder
if h and ends(h) > now then
  add('h', h.id, h.token, h.since, math.floor((ends(h) - now) / 1000), h.owner)
end
for id, w in pairs(s.waiters) do
  if w.alive > now then add('w', id, whole(w.ticket), w.since, 0, w.owner) end
end
return lines
`,
);
