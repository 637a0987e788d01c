import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

const BODY: string = `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local id = ARGV[1]
local s = load(KEYS[1])
if s.alien then return s.alien end
local own, index = holderOf(s, id)
local before = s.released == id
if own then
  table.remove(s.holders, index)
  s.released, s.changed = id, true
else
  -- A late copy of its acquire, sent to a server that had lost its memory, may have put it in line.
  local waits = s.line.count > 0 and waiter(s, id)
  if waits then leave(s, waits) end
end
if ARGV[2] then bury(s, id, tonumber(ARGV[2])) end
settle(s)
save(s)
return (own or before) and 'R' or 'N'
`;

/**
 * KEYS resource. ARGV grant id, and, while an acquire of it may still be under way, for how many ms
 * its end is remembered.
 *
 * → `R` released, now or by an earlier send · `N` not held · `V|record`.
 *
 * Hands over in the same step: the grant of the next in line is written here and told to its node.
 */
export const RELEASE: RedisScript = redisScript('lock.release', BODY);

/** The same when every acquire of the id was answered: the only holder, with nobody in line or watching, is one read and one write. */
export const RELEASE_PLAIN: RedisScript = redisScript(
  'lock.release',
  `
do
  local call = redis.call
  local record = call('hget', KEYS[1], 'r')
  if record then
    local head, id = string.match(record, '^(1|%d+|s?|0|[^|]+|0|%d+|)[^|]*|%d+,%d+,%d+,%d+,([^,]+),[^;]*$')
    if id == ARGV[1] then
      call('hset', KEYS[1], 'r', head .. id .. '|')
      return 'R'
    end
  end
end
${BODY}`,
);
