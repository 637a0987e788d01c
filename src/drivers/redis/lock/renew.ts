import { type RedisScript, redisScript } from '../script.js';
import { LINE, TOMBSTONES } from './queue.js';
import { CLOCK, RECORD } from './state.js';

/**
 * KEYS resource for each grant. ARGV number of this renewal, then grant id and ttl ms for each.
 *
 * → for each, in order: `H|fence|ms left|waiters` · `L` lost · `F|why` ended by somebody ·
 * `V|record`.
 *
 * It creates nothing, and what has expired stays expired, though nobody may have noticed yet. A
 * renewal whose number is not above the last one's is a late copy: it changes nothing, so it cannot
 * shorten what a newer one has extended.
 */
export const RENEW: RedisScript = redisScript(
  'lock.renew',
  `
${CLOCK}${RECORD}${TOMBSTONES}
local number = tonumber(ARGV[1])
local replies = {}
for index = 1, #KEYS do
  local id, ttl = ARGV[index * 2], tonumber(ARGV[index * 2 + 1])
  local s = load(KEYS[index])
  local own = holderOf(s, id)
  if own and ends(own) > now then
    if number > own.number then
      own.at, own.ttl, own.number = now, ttl, number
      save(s)
    end
    replies[index] = held(s, own)
  else
    local ended = s.tombs.count > 0 and tombstone(s, id)
    replies[index] = s.alien or ended and ended.why ~= '' and 'F|' .. ended.why or 'L'
  end
end
return replies
`,
);

/**
 * KEYS resource. ARGV grant id, count. → the first token of a further block · `L` lost · `V|record`.
 *
 * Twice wastes a block and harms nothing.
 */
export const RESERVE: RedisScript = redisScript(
  'lock.reserve',
  `
${CLOCK}${RECORD}
local s = load(KEYS[1])
if s.alien then return s.alien end
local own = holderOf(s, ARGV[1])
if not own or ends(own) <= now or own.party.mode ~= 'x' then return 'L' end
local first = max(s.last + 1, now)
s.last = first + tonumber(ARGV[2]) - 1
save(s)
return 'T|' .. whole(first)
`,
);

/**
 * KEYS resource. ARGV grant id. → `H|fence|ms left|waiters` · `L` lost · `V|record`.
 *
 * Makes a writer a reader under the same id, with the last token as its epoch, and grants the
 * readers at the head of the line. Twice is once.
 */
export const DOWNGRADE: RedisScript = redisScript(
  'lock.downgrade',
  `
${CLOCK}${RECORD}${TOMBSTONES}${LINE}
local s = load(KEYS[1])
if s.alien then return s.alien end
local own = holderOf(s, ARGV[1])
if not own or ends(own) <= now or own.party.mode == 'c' then return 'L' end
if own.party.mode == 'x' then
  -- Only this writer can have taken tokens since it was granted.
  own.fence, s.epoch, s.changed = whole(s.last), 's', true
  own.party = partyOf((string.gsub(own.party.text, '^x,1,1,%d+', 's,1,4503599627370496,1')))
end
settle(s)
save(s)
return held(s, own)
`,
);
