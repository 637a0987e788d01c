import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource. ARGV grant id, tombstone ms. → `D` done · `V|record`.
 *
 * Leaves the line, or ends what was granted meanwhile; an acquire of the id that arrives later, out
 * of the buffer of a frozen server or after a redirection, is refused by its tombstone.
 */
export const CANCEL: RedisScript = redisScript(
  'lock.cancel',
  `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local id = ARGV[1]
local s = load(KEYS[1])
if s.alien then return s.alien end
local own, index = holderOf(s, id)
if own then
  table.remove(s.holders, index)
  s.changed = true
end
local waits = s.line.count > 0 and waiter(s, id)
if waits then leave(s, waits) end
bury(s, id, tonumber(ARGV[2]))
settle(s)
save(s)
return 'D'
`,
);
