/**
 * The MariaDB and MySQL drivers.
 *
 * @module
 */
export type { MysqlBarrierOptions } from './drivers/mysql/barrier.js';
export { mysqlBarrier } from './drivers/mysql/barrier.js';
export type {
  MysqlBranchClient,
  MysqlPool,
  MysqlPoolConnection,
  MysqlQuery,
} from './drivers/mysql/client.js';
export type { MysqlParticipantOptions } from './drivers/mysql/participant.js';
export { mysqlParticipant } from './drivers/mysql/participant.js';
export { setupSql } from './drivers/mysql/setup-sql.js';
export type { MysqlSiteStorageOptions } from './drivers/mysql/site-storage.js';
export { mysqlSiteStorage } from './drivers/mysql/site-storage.js';
