import { type RedisScript, redisScript } from '../script.js';
import { CLOCK } from './state.js';

/**
 * KEYS marker. ARGV nonce, state: `f` to make a blank node ready, `r` to begin a ready one. → `A` done,
 * now or before · `N` not.
 *
 * Begins the nodes of a new deployment at once instead of after the longest TTL, in the two steps of
 * `mayMakeReady` and `mayStart`. The nonce is of this life of the node's state: a node that lost it
 * again has another one.
 */
export const ADMIT: RedisScript = redisScript(
  'quorum.admit',
  `
${CLOCK}
local run = string.match(redis.call('info', 'server'), 'run_id:(%x+)')
local found = redis.call('get', KEYS[1])
local known, since, ttl, state, mark = string.match(found or '', '^1|(%x+)|(%d+)|(%d+)|(%a)|(.*)$')
if known ~= run or mark ~= ARGV[1] or state ~= ARGV[2] then return 'N' end
local following = state == 'f' and 'r' or 'i'
redis.call('set', KEYS[1], table.concat({ '1', run, since, ttl, following, mark }, '|'))
return 'A'
`,
);
