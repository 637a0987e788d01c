import { type RedisScript, redisScript } from '../script.js';
import { CLOCK } from './state.js';

/**
 * KEYS marker. ARGV nonce. → `A` in service · `N` not.
 *
 * Begins a blank node at once instead of after the longest TTL. Only for a new deployment: the
 * client has read all nodes twice, and all were blank with the same nonces both times. Then there
 * was a moment between the two at which no node was in service, so nobody had a lock. The nonce is
 * of this blank period: a node that loses its state again has another one.
 */
export const ADMIT: RedisScript = redisScript(
  'quorum.admit',
  `
${CLOCK}
local run = string.match(redis.call('info', 'server'), 'run_id:(%x+)')
local found = redis.call('get', KEYS[1])
local known, since, ttl, state, mark = string.match(found or '', '^1|(%x+)|(%d+)|(%d+)|(%a)|(.*)$')
if known ~= run or mark ~= ARGV[1] then return 'N' end
if state == 'f' then
  redis.call('set', KEYS[1], table.concat({ '1', run, since, ttl, 'i', mark }, '|'))
  state = 'i'
end
return state == 'i' and 'A' or 'N'
`,
);
