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
return (own or before) and 1 or 0
`;

/**
 * KEYS resource. ARGV grant id, and, while an acquire of it may still be under way, for how many ms
 * its end is remembered.
 *
 * → 1 released, now or by an earlier send · 0 not held · `V|record`.
 *
 * Hands over in the same step: the grant of the next in line is written here and told to its node.
 */
export const RELEASE: RedisScript = redisScript('lock.release', BODY);

/** The same when every acquire of the id was answered: the only writer ever since it was granted, never renewed, is one read and one write. */
export const RELEASE_PLAIN: RedisScript = redisScript(
  'lock.release',
  `
do
  local call, sub, id = redis.call, string.sub, ARGV[1]
  local record = call('hget', KEYS[1], 'r')
  if record and sub(record, 1, 2) == '1h' and sub(record, 35, 35 + #id) == id .. ',' then
    call('hset', KEYS[1], 'r', '1f' .. sub(record, 19, 34) .. sub(record, 3, 18) .. id)
    return 1
  end
end
${BODY}`,
);
