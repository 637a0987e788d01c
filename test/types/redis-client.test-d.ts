import type { Cluster, Redis } from 'ioredis';
import { test } from 'vitest';
import type { RedisClient } from '../../src/drivers/redis/client.js';

/** Takes what a user passes in; plain assignment tells which member does not fit. */
const accept = (client: RedisClient): RedisClient => client;

test('the Redis of ioredis is a RedisClient', () => {
  accept({} as Redis);
});

test('the Cluster of ioredis is a RedisClient', () => {
  accept({} as Cluster);
});
