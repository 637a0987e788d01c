import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource. ARGV an id of this order, tombstone ms, why. → `T|how many grants were ended` ·
 * `V|record`.
 *
 * Ends every grant and tells each holder's inbox; what waits is served at once, without a lock
 * delay. The reason stays with the tombstones, so that a holder that cannot be reached finds it with
 * its next renewal. The order leaves a tombstone too: a second send tells what the first has done,
 * and ends nothing that was granted after it.
 */
export const FORCE: RedisScript = redisScript(
  'lock.force',
  `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local order, why = ARGV[1], ARGV[3]
local s = load(KEYS[1])
if s.alien then return s.alien end
local done = s.tombs.count > 0 and tombstone(s, order)
if done then return 'T|' .. done.why end
local ended = 0
for _, holder in ipairs(s.holders) do
  if ends(holder) > now then
    ended = ended + 1
    tell(s, holder.party.incarnation, '1 f ' .. holder.id .. ' ' .. why)
  end
  buryHolder(s, holder, why)
end
if #s.holders > 0 then s.holders, s.changed = {}, true end
bury(s, order, tonumber(ARGV[2]), tostring(ended))
settle(s)
save(s)
return 'T|' .. ended
`,
);
