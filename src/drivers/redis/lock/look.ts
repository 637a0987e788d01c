import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

/** How many waiters an inspection shows. */
export const SHOWN_WAITERS_MAX = 1_000;

/**
 * KEYS resource. Writes nothing.
 *
 * → a list: first `ok` or `V|record`, then `h,id,mode,permits,fence,age ms,ms left,owner` for each
 * holder that has not expired and `w,…` for each waiter in order, its fence and time left 0.
 */
export const INSPECT: RedisScript = redisScript(
  'lock.inspect',
  `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local s = load(KEYS[1])
if s.alien then return { s.alien } end
local lines = { 'ok' }
local function line(kind, id, party, fence, since, left)
  local owner = match(party.text, '([^,]*)$')
  local age = math.floor((now - since) / 1000)
  lines[#lines + 1] = table.concat(
    { kind, id, party.mode, whole(party.permits), fence, whole(age), whole(left), owner }, ',')
end
for _, h in ipairs(s.holders) do
  local left = math.floor((ends(h) - now) / 1000)
  if left > 0 then line('h', h.id, h.party, h.fence, h.since, left) end
end
local next = waiter(s, s.line.first)
for _ = 1, ${SHOWN_WAITERS_MAX} do
  if not next then break end
  if next.alive > now then line('w', next.id, next.party, '0', next.since, 0) end
  next = waiter(s, next.behind)
end
return lines
`,
);

/** KEYS resources. → for each, how many stand in line there. Writes nothing. */
export const COUNT_WAITERS: RedisScript = redisScript(
  'lock.countWaiters',
  `
${CLOCK}${RECORD}
local counts = {}
for index, key in ipairs(KEYS) do counts[index] = load(key).line.count end
return counts
`,
);

/**
 * KEYS resource. ARGV ms. → `D` done · `V|record`.
 *
 * For so long every change of hands is published on the resource's channel `…:lock:watch:‹tag›`.
 */
export const WATCH: RedisScript = redisScript(
  'lock.watch',
  `
${CLOCK}${RECORD}
local s = load(KEYS[1])
if s.alien then return s.alien end
s.watched = max(s.watched, now + tonumber(ARGV[1]) * 1000)
keep(s, s.watched)
save(s)
return 'D'
`,
);
