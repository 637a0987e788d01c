import { FENCING_TOKEN_DIGITS, fenceStaleError } from '../../core/fencing-token.js';
import { formatError } from './errors.js';
import { type RedisScript, redisScript } from './script.js';

/** The format of a stored token. */
export const FENCE_FORMAT = 1;

/**
 * KEYS[1] the newest token, `1 ‹40 digits›`; KEYS[2] the value.
 * ARGV: write, delete, advance or check; token, 40 digits; value; its ttl in ms; the token's ttl in
 * ms, each empty for none. Answers ok, or stale and what is stored. Running it twice is harmless.
 *
 * Tokens are texts of one length: a Lua number would round beyond 2^53.
 */
export const FENCED: RedisScript = redisScript(
  'fence',
  `
local stored = redis.call('GET', KEYS[1])
local token = '${FENCE_FORMAT} ' .. ARGV[2]
if stored and (#stored ~= #token or stored > token) then return {'stale', stored} end
if ARGV[1] == 'check' then return {'ok'} end
if ARGV[5] == '' then redis.call('SET', KEYS[1], token)
else redis.call('SET', KEYS[1], token, 'PX', ARGV[5]) end
if ARGV[1] == 'delete' then redis.call('DEL', KEYS[2])
elseif ARGV[1] == 'write' then
  if ARGV[4] == '' then redis.call('SET', KEYS[2], ARGV[3])
  else redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4]) end
end
return {'ok'}
`,
);

const STORED = new RegExp(`^${FENCE_FORMAT} (\\d{${FENCING_TOKEN_DIGITS}})$`);

/** The newest token, as it is stored. Throws UPGRADE_NEEDED or DATA_CORRUPT. */
export function newestOf(where: string, stored: string): bigint {
  const digits = STORED.exec(stored)?.[1];
  if (digits === undefined) throw formatError(where, stored, FENCE_FORMAT);
  return BigInt(digits);
}

/** Throws FENCE_STALE when what is stored for a resource is newer than a token. */
export function assertNotStale(resource: string, token: bigint, stored: string | undefined): void {
  if (stored === undefined) return;
  const newest = newestOf(`the fence of ${JSON.stringify(resource)}`, stored);
  if (newest > token) throw fenceStaleError(resource, token, newest);
}
