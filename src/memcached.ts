/**
 * The cache in Memcached.
 *
 * @module
 */
export type { MemcachedCacheOptions } from './drivers/memcached/cache.js';
export { memcachedCache } from './drivers/memcached/cache.js';
