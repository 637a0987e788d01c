import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource. ARGV id, round, ticket, waiter's ttl ms, incarnation, owner.
 *
 * → `B|holder|token|ms|ahead|now` · `G` the id is used up · `V|record`.
 *
 * Takes the vote of a round that failed back, and stands in line. A vote of that round that arrives
 * later is refused.
 */
export const STAND: RedisScript = redisScript(
  'quorum.stand',
  `
${CLOCK}${RECORD}
local id, round, ticket = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local s = load(KEYS[1])
if s.alien then return s.alien end
prune(s)
if s.buried[id] then return 'G' end
local h = s.holder
if h and h.id == id and h.round <= round then s.holder = nil end
stand(s, id, round, ticket, tonumber(ARGV[4]), ARGV[5], ARGV[6])
save(s)
callNext(s, id)
return busy(s, id, ticket)
`,
);
