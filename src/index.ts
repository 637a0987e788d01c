/**
 * Lock, TransactionCoordinator and Cache: the interfaces, the engines behind them, ids and errors.
 * Drivers come from `tricord/memory`, `tricord/redis`, `tricord/zookeeper`, `tricord/postgres`,
 * `tricord/mysql` and `tricord/memcached`.
 *
 * @module
 */

export * from './cache/index.js';
export * from './core/index.js';
export * from './lock/index.js';
export * from './transaction/index.js';
