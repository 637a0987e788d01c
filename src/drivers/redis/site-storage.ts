import { CoordinationError } from '../../core/errors.js';
import { assertNumber, assertOptions } from '../../core/validate.js';
import type {
  SiteNode,
  SiteStorage,
  SiteStore,
  StoredSite,
} from '../../transaction/three-phase/site-storage.js';
import { REPLY_TIMEOUT_MS_DEFAULT, redisCalls } from './calls.js';
import { assertClient, type RedisClient } from './client.js';
import { readRedisGuarantees } from './guarantees.js';
import { redisKeys } from './keys.js';
import { redisScript } from './script.js';

/** Options of {@link redisSiteStorage}. */
export interface RedisSiteStorageOptions {
  /** The service's own ioredis client (`Redis` or `Cluster`, 5 or 6). It is never closed. */
  readonly client: RedisClient;
  /** Keeps deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /** How long one reply is awaited, in milliseconds. Default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
}

/**
 * A record over the one before it. KEYS[1] hash of records, KEYS[2] their ids in order; ARGV id, version,
 * text → 1 written, now or before, 0 another one stands there.
 */
const WRITE = redisScript(
  'site.write',
  `local found = redis.call('hget', KEYS[1], ARGV[1])
local mine = ARGV[2] .. ':' .. ARGV[3]
if found == mine then return 1 end
local version = found and tonumber(string.match(found, '^(%d+):')) or 0
if version ~= tonumber(ARGV[2]) - 1 then return 0 end
redis.call('hset', KEYS[1], ARGV[1], mine)
redis.call('zadd', KEYS[2], 0, ARGV[1])
return 1`,
);
/** KEYS[1] hash of records; ARGV id → the record, or nothing. */
const READ = redisScript('site.read', `return redis.call('hget', KEYS[1], ARGV[1])`);
/** KEYS as WRITE; ARGV first bound, limit → id, record, id, record, … in the order of the ids. */
const LIST = redisScript(
  'site.list',
  `local ids = redis.call('zrangebylex', KEYS[2], ARGV[1], '+', 'limit', 0, ARGV[2])
local rows = {}
for _, id in ipairs(ids) do
  rows[#rows + 1] = id
  rows[#rows + 1] = redis.call('hget', KEYS[1], id) or ''
end
return rows`,
);
/** KEYS as WRITE; ARGV id, version → 1 removed, 0 another version stands there, or none. */
const REMOVE = redisScript(
  'site.remove',
  `local found = redis.call('hget', KEYS[1], ARGV[1])
if not found or string.match(found, '^(%d+):') ~= ARGV[2] then return 0 end
redis.call('hdel', KEYS[1], ARGV[1])
redis.call('zrem', KEYS[2], ARGV[1])
return 1`,
);

/**
 * The storage of sites in Redis (6.2 or newer): what a vote survives is what this Redis survives, so it
 * needs `appendonly yes`, and `appendfsync always` against a loss of power; see `guarantees()`. Best
 * the site's own Redis: with one for all sites, its loss stops all of them at once.
 *
 * The records of a site live in one slot of a cluster.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed client, namespace or number.
 */
export function redisSiteStorage(options: RedisSiteStorageOptions): SiteStorage {
  assertOptions(options, '{ client }');
  const { client, namespace, replyTimeoutMs = REPLY_TIMEOUT_MS_DEFAULT } = options;
  assertClient(client);
  assertNumber('replyTimeoutMs', replyTimeoutMs, { min: 1 });
  const keys = redisKeys('site', namespace);
  return {
    backend: 'redis',
    open: (node) => {
      const tag = `${node.namespace}:${node.site}`;
      const own = [keys.key(tag, ':records'), keys.key(tag, ':ids')] as const;
      return redisSiteStore(node, own, { client, replyTimeoutMs });
    },
  };
}

function redisSiteStore(
  { site, clock }: SiteNode,
  keys: readonly [string, string],
  {
    client,
    replyTimeoutMs,
  }: Required<Pick<RedisSiteStorageOptions, 'client'>> & {
    readonly replyTimeoutMs: number;
  },
): SiteStore {
  const calls = redisCalls({ client, clock, timeoutMs: replyTimeoutMs });
  return {
    async write({ transactionId, version, text }, call) {
      const values = [transactionId, version, text];
      const isWritten = await calls.script(WRITE, keys, values, { signal: call?.signal });
      return isWritten === 1 ? 'written' : 'conflict';
    },
    async read(transactionId, call) {
      const found = await calls.script(READ, keys, [transactionId], { signal: call?.signal });
      return typeof found === 'string' ? storedOf(keys[0], transactionId, found) : undefined;
    },
    async list(after, limit, call) {
      const values = [after === '' ? '-' : `(${after}`, limit];
      const rows = await calls.script(LIST, keys, values, { signal: call?.signal });
      const texts = (rows as readonly unknown[]).map(String);
      return texts.flatMap((id, index) => {
        const found = texts[index + 1];
        return index % 2 === 0 && found ? [storedOf(keys[0], id, found)] : [];
      });
    },
    async remove(transactionId, version, call) {
      await calls.script(REMOVE, keys, [transactionId, version], { signal: call?.signal });
    },
    guarantees: (call) => {
      const about = { subject: `redis site ${site}`, user: `site "${site}"`, kept: 'votes' };
      return readRedisGuarantees(calls, about, call);
    },
    async close() {
      calls.dispose();
    },
  };
}

function storedOf(where: string, transactionId: string, found: string): StoredSite {
  const colon = found.indexOf(':');
  const version = Number(found.slice(0, colon));
  if (colon > 0 && Number.isSafeInteger(version)) {
    return { transactionId, version, text: found.slice(colon + 1) };
  }
  throw new CoordinationError('DATA_CORRUPT', `${where} holds what no site has written`, {
    where,
    found: found.slice(0, 80),
  });
}
