import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource for each grant. ARGV grant id and ttl ms for each.
 *
 * → for each, in order: `H|fence|ms left|waiters` · `L` lost · `V|record`.
 *
 * It creates nothing, and what has expired stays expired, though nobody may have noticed yet.
 */
export const RENEW: RedisScript = redisScript(
  'lock.renew',
  `
${CLOCK}${RECORD}
local replies = {}
for index = 1, #KEYS do
  local s = load(KEYS[index])
  local own = holderOf(s, ARGV[index * 2 - 1])
  if own and ends(own) > now then
    own.at, own.ttl = now, tonumber(ARGV[index * 2])
    save(s)
    replies[index] = held(s, own)
  else
    replies[index] = s.alien or 'L'
  end
end
return replies
`,
);

/**
 * KEYS resource. ARGV grant id, count. → the first token of a further block · `L` lost · `V|record`.
 *
 * Twice wastes a block and harms nothing.
 */
export const RESERVE: RedisScript = redisScript(
  'lock.reserve',
  `
${CLOCK}${RECORD}
local s = load(KEYS[1])
if s.alien then return s.alien end
local own = holderOf(s, ARGV[1])
if not own or ends(own) <= now or own.mode ~= 'x' then return 'L' end
local first = math.max(s.last + 1, now)
s.last = first + tonumber(ARGV[2]) - 1
save(s)
return 'T|' .. whole(first)
`,
);
