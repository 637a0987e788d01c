import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, MARKER, RECORD } from './state.js';

/**
 * Phase two. KEYS resource, marker. ARGV id, longest ttl ms, nonce, first token, last token.
 *
 * → `W|waiters` the tokens are known here · `L` the id does not hold here · `O|…` the node takes no
 * part · `X|version` · `V|record`.
 *
 * A node where the id no longer holds must not count: without that, two grants get one token with no
 * fault at all (a client that is slow between its phases, another that takes over meanwhile).
 */
export const WRITE_BACK: RedisScript = redisScript(
  'quorum.write',
  `
${CLOCK}${MARKER}${RECORD}
local id, first, last = ARGV[1], ARGV[4], tonumber(ARGV[5])
local away = absence(KEYS[2], tonumber(ARGV[2]), ARGV[3])
if away then return away end
local s = load(KEYS[1])
if s.alien then return s.alien end
local h = s.holder
if not h or h.id ~= id or ends(h) <= now then return 'L' end
h.token, s.counter = first, math.max(s.counter, last)
forget(s, id)
save(s)
prune(s)
local _, others = line(s, id)
return 'W|' .. whole(others)
`,
);
