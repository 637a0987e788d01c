export { type MemcachedCacheOptions, memcachedCache } from './drivers/memcached/cache.js';
