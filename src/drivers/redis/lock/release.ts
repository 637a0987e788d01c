import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, LINE, RECORD } from './state.js';

/**
 * KEYS resource, line. ARGV grant id, whether an acquire of it may still be under way (1 or 0),
 * tombstone ms.
 *
 * → `R` released, now or by an earlier send · `N` not held · `V|record`.
 *
 * Hands over in the same step: the grant of the next in line is written here and told to its node.
 */
export const RELEASE: RedisScript = redisScript(
  'lock.release',
  `
local id = ARGV[1]
-- The fast path: the only holder, and nobody in line.
if ARGV[2] == '0' then
  local record = redis.call('hget', KEYS[1], 'r')
  local head, holder = string.match(record or '', '^(1|%d+|s?|0|%d+|)[^|]*|([^,;]+),[^;]*$')
  if holder == id then
    redis.call('hset', KEYS[1], 'r', head .. id .. '|')
    return 'R'
  end
end
${CLOCK}${RECORD}${LINE}
local s = load(KEYS[1], KEYS[2])
if s.alien then return s.alien end
local own, index = holderOf(s, id)
local before = s.released == id
if own then
  table.remove(s.holders, index)
  s.released = id
end
if ARGV[2] == '1' then bury(s, id, tonumber(ARGV[3])) end
settle(s, id, tonumber(ARGV[3]))
save(s)
return (own or before) and 'R' or 'N'
`,
);
