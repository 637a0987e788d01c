import { type RedisScript, redisScript } from '../script.js';
import { CLOCK, MARKER, RECORD } from './state.js';

/**
 * Phase one. KEYS resource, marker. ARGV id, round, ttl ms, delay ms, longest ttl ms, nonce, ticket
 * (empty: none yet), waiter's ttl ms (0: do not wait), incarnation, owner.
 *
 * → `Y|proposal|now|run id` the vote is given · `B|holder|token|ms|ahead|now` it is not · `G` the id
 * is used up · `D` the round is over · `O|ms|state|nonce` the node takes no part · `X|version` ·
 * `V|record`.
 *
 * Sent twice it answers the same and does not extend the vote, so the lease counts from before the
 * first send. The proposal is the newest token that this node knows of, or its clock if that is
 * ahead.
 */
export const VOTE: RedisScript = redisScript(
  'quorum.vote',
  `
${CLOCK}${MARKER}${RECORD}
local id, round, ttl, delay = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ticket, aliveMs = tonumber(ARGV[7]) or math.huge, tonumber(ARGV[8])
local away, run = absence(KEYS[2], tonumber(ARGV[5]), ARGV[6])
if away then return away end
local s = load(KEYS[1])
if s.alien then return s.alien end
prune(s)
if s.buried[id] or s.released == id then return 'G' end
local waiter = s.waiters[id]
if waiter and waiter.round >= round then return 'D' end
local h = s.holder
if h and h.id == id and ends(h) <= now then return 'G' end
if not h then
  local head = line(s)
  local isMyTurn = not head or head.id == id or ticket < head.ticket
    or (ticket == head.ticket and id < head.id)
  if isMyTurn then
    h = {
      id = id, round = round, at = now, ttl = ttl, delay = delay, token = '0', since = now,
      incarnation = ARGV[9], owner = ARGV[10],
    }
    s.holder = h
    save(s)
  end
end
if h and h.id == id then
  h.round = math.max(h.round, round)
  save(s)
  return table.concat({ 'Y', whole(math.max(s.counter, now)), whole(now), run }, '|')
end
if aliveMs > 0 and ticket ~= math.huge then stand(s, id, round - 1, ticket, aliveMs, ARGV[9], ARGV[10]) end
return busy(s, id, ticket)
`,
);
