/**
 * The ZooKeeper drivers: a session, and what stands on it.
 *
 * @module
 */
export type { ZookeeperCacheOptions } from './drivers/zookeeper/cache.js';
export { zookeeperCache } from './drivers/zookeeper/cache.js';
export type { ZookeeperLockOptions } from './drivers/zookeeper/lock.js';
export { zookeeperLock } from './drivers/zookeeper/lock.js';
export type {
  ZookeeperAuth,
  ZookeeperOptions,
  ZookeeperSession,
} from './drivers/zookeeper/session.js';
export { zookeeper } from './drivers/zookeeper/session.js';
export type { ZookeeperTransportOptions } from './drivers/zookeeper/site-transport.js';
export { zookeeperTransport } from './drivers/zookeeper/site-transport.js';
export type { ZookeeperTransactionsOptions } from './drivers/zookeeper/transactions.js';
export { zookeeperTransactions } from './drivers/zookeeper/transactions.js';
