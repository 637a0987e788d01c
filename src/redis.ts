/**
 * The Redis drivers.
 *
 * @module
 */
export type { RedisCacheOptions } from './drivers/redis/cache.js';
export { redisCache } from './drivers/redis/cache.js';
export type { RedisCacheClient } from './drivers/redis/cache-client.js';
