import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource. ARGV id, tombstone ms (0: none), whether this is the release of a grant (1 or 0).
 *
 * → `R` held until now, or released by an earlier send · `N` not held here · `V|record`.
 *
 * Ends whatever there is of an id: its vote, its grant, its place in line. Calls the next in line.
 */
export const LEAVE: RedisScript = redisScript(
  'quorum.leave',
  `
${CLOCK}${RECORD}
local id = ARGV[1]
local s = load(KEYS[1])
if s.alien then return s.alien end
prune(s)
local own = s.holder and s.holder.id == id
local before = s.released == id
if own then s.holder = nil end
if own and ARGV[3] == '1' then s.released = id end
forget(s, id)
bury(s, id, tonumber(ARGV[2]))
if own or s.fields > 0 or tonumber(ARGV[2]) > 0 then save(s) end
callNext(s)
return (own or before) and 'R' or 'N'
`,
);
