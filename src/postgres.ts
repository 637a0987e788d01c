/**
 * The PostgreSQL drivers.
 *
 * @module
 */
export type { PostgresBarrierClient, PostgresBarrierOptions } from './drivers/postgres/barrier.js';
export { postgresBarrier } from './drivers/postgres/barrier.js';
export type {
  PostgresBranchClient,
  PostgresPool,
  PostgresPoolClient,
  PostgresPoolOptions,
} from './drivers/postgres/client.js';
export type { PostgresTransactionsOptions } from './drivers/postgres/decision-log.js';
export { postgresTransactions } from './drivers/postgres/decision-log.js';
export type {
  PostgresFence,
  PostgresFenceClient,
  PostgresFenceOptions,
} from './drivers/postgres/fence.js';
export { postgresFence } from './drivers/postgres/fence.js';
export type { LastStatementOptions } from './drivers/postgres/last-statement.js';
export type { PostgresLiteral } from './drivers/postgres/literal.js';
export type { PostgresParticipantOptions } from './drivers/postgres/participant.js';
export { postgresParticipant } from './drivers/postgres/participant.js';
export type { SetupSqlOptions } from './drivers/postgres/setup-sql.js';
export { setupSql } from './drivers/postgres/setup-sql.js';
export type { PostgresSiteStorageOptions } from './drivers/postgres/site-storage.js';
export { postgresSiteStorage } from './drivers/postgres/site-storage.js';
