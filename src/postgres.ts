/**
 * The PostgreSQL drivers.
 *
 * @module
 */
export type {
  PostgresBranchClient,
  PostgresPool,
  PostgresPoolClient,
} from './drivers/postgres/client.js';
export type { PostgresParticipantOptions } from './drivers/postgres/participant.js';
export { postgresParticipant } from './drivers/postgres/participant.js';
