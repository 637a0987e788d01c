/**
 * The Redis drivers.
 *
 * @module
 */
export type { RedisBarrierOptions } from './drivers/redis/barrier.js';
export { redisBarrier } from './drivers/redis/barrier.js';
export type { RedisBarrierClient } from './drivers/redis/barrier-client.js';
export type { RedisCacheOptions } from './drivers/redis/cache.js';
export { redisCache } from './drivers/redis/cache.js';
export type { RedisCacheClient } from './drivers/redis/cache-client.js';
export type { RedisCacheNews } from './drivers/redis/cache-follow.js';
export type {
  RedisArgument,
  RedisClient,
  RedisClientOptions,
  RedisEvents,
  RedisSubscriber,
} from './drivers/redis/client.js';
export type { RedisTransactionsOptions } from './drivers/redis/decision-log.js';
export { redisTransactions } from './drivers/redis/decision-log.js';
export type {
  RedisFence,
  RedisFenceCallOptions,
  RedisFenceOptions,
  RedisFenceWriteOptions,
} from './drivers/redis/fence.js';
export { redisFence } from './drivers/redis/fence.js';
export type { RedisLockOptions } from './drivers/redis/lock.js';
export { redisLock } from './drivers/redis/lock.js';
export type { RedisParticipantOptions } from './drivers/redis/participant.js';
export { redisParticipant } from './drivers/redis/participant.js';
export type { RedisBranch, RedisIncrementBounds } from './drivers/redis/participant-intents.js';
export type { RedisQuorumLockOptions } from './drivers/redis/quorum/lock.js';
export { redisQuorumLock } from './drivers/redis/quorum/lock.js';
export type { RedisSiteStorageOptions } from './drivers/redis/site-storage.js';
export { redisSiteStorage } from './drivers/redis/site-storage.js';
export type { RedisTransportOptions } from './drivers/redis/site-transport.js';
export { redisTransport } from './drivers/redis/site-transport.js';
export type { WaitReplicasOptions } from './drivers/redis/wait-replicas.js';
