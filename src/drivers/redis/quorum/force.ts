import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource. ARGV reason, tombstone ms. → `F|id|token` ended · `N` nobody held it here ·
 * `V|record`.
 *
 * The tombstone keeps a renewal of the victim from taking the vote again, and tells it why.
 */
export const FORCE: RedisScript = redisScript(
  'quorum.force',
  `
${CLOCK}${RECORD}
local s = load(KEYS[1])
if s.alien then return s.alien end
prune(s)
local h = s.holder
if not h then return 'N' end
s.holder = nil
bury(s, h.id, math.max(tonumber(ARGV[2]), h.ttl), ARGV[1])
save(s)
tell(s, h.incarnation, '1 f ' .. h.id .. ' ' .. ARGV[1])
callNext(s)
return 'F|' .. h.id .. '|' .. h.token
`,
);
