import { describe, expect, test } from 'vitest';
import { type CacheConsistency, type CacheOptions, createCache } from '../../../src/index.js';
import { memcachedCache } from '../../../src/memcached.js';
import { memoryCache } from '../../../src/memory.js';
import { redisCache } from '../../../src/redis.js';
import { zookeeper, zookeeperCache } from '../../../src/zookeeper.js';

const LEVELS: readonly CacheConsistency[] = [
  'ttl',
  'sequential',
  'lease',
  'tracked',
  'notified',
  'strict',
];

/** A client that is never used. */
const client = { evalsha() {}, duplicate() {}, options: {}, status: 'wait', on() {} } as never;
const DRIVERS = {
  memory: () => memoryCache(),
  redis: () => redisCache({ client }),
  'redis with a bus': () => redisCache({ client, news: 'bus' }),
  'redis with either': () => redisCache({ client, news: 'auto' }),
  memcached: () => memcachedCache({ servers: '127.0.0.1:1' }),
  zookeeper: () => zookeeperCache({ session: zookeeper({ servers: '127.0.0.1:1' }) }),
};

/** Which tiers give which levels; every other is refused. */
const GIVEN: readonly [(keyof typeof DRIVERS)[], readonly CacheConsistency[]][] = [
  [['memory'], ['ttl', 'lease']],
  [['redis'], ['ttl', 'lease', 'strict']],
  [['memcached'], ['ttl', 'lease']],
  [['zookeeper'], ['ttl', 'sequential', 'lease']],
  [
    ['memory', 'redis'],
    ['ttl', 'tracked', 'strict'],
  ],
  [['redis with a bus'], ['ttl', 'lease', 'strict']],
  [
    ['memory', 'redis with a bus'],
    ['ttl', 'notified', 'strict'],
  ],
  [
    ['memory', 'redis with either'],
    ['ttl', 'notified', 'strict'],
  ],
  [['memory', 'memcached'], ['ttl']],
  [['memory', 'zookeeper'], ['ttl']],
];

const CASES = GIVEN.flatMap(([names, given]) =>
  LEVELS.map((level) => ({
    tiers: names.join(' before '),
    names,
    level,
    is: given.includes(level),
  })),
);

describe('the consistency of a cache', () => {
  test.each(CASES)('$level with $tiers: given is $is', ({ names, level, is }) => {
    // What a tier opens it opens when it is first asked; one that hears of changes listens at once.
    const tiers = names.map((name) => DRIVERS[name]());
    const create = () => createCache({ name: 'n', tiers, ttlMs: 1_000, consistency: level });
    if (!is) {
      const refusal = { code: 'INVALID_ARGUMENT', message: expect.stringContaining(level) };
      expect(create).toThrow(expect.objectContaining(refusal));
    } else if (level !== 'tracked' && level !== 'notified') expect(create).not.toThrow();
  });

  test.each<[string, Partial<CacheOptions>]>([
    ['a copy that lives longer than its lease', { localTtlMs: 2_000 }],
    ['copies of what nobody tells of', { outageTtlMs: 1 }],
    ['an invalidation that waits here', { deferredInvalidation: true }],
    ['a write that waits longer than it may take', { strictLeaseMs: 4_950 }],
    ['no lease', { strictLeaseMs: 0 }],
  ])('strict refuses %s', (_, options) => {
    const tiers = [memoryCache(), redisCache({ client })];
    const create = () =>
      createCache({ name: 'n', tiers, ttlMs: 60_000, consistency: 'strict', ...options });
    expect(create).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
  });
});
