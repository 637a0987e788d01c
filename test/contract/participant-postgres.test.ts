import pg from 'pg';
import { type PostgresBranchClient, postgresParticipant } from 'tricord/postgres';
import { participantContract } from 'tricord/testing';
import { afterAll, beforeAll, test } from 'vitest';
import { onServer, sharedDatabase } from '../servers/shared.js';

onServer('postgresql', 'postgresParticipant', async () => {
  const connectionString = await sharedDatabase('participant');
  const reader = new pg.Pool({ connectionString, max: 2 });
  beforeAll(() => reader.query('create table kit (key text primary key, value text)'));
  afterAll(() => reader.end());

  const cases = participantContract<PostgresBranchClient<pg.Pool>>({
    open() {
      const pool = new pg.Pool({ connectionString, max: 4 });
      pool.on('error', () => {});
      const participant = postgresParticipant({ name: 'orders', pool });
      return { participant, close: () => pool.end() };
    },
    write: (client, key, value) => client.query('insert into kit values ($1, $2)', [key, value]),
    async read(key) {
      const { rows } = await reader.query('select value from kit where key = $1', [key]);
      return rows[0]?.value;
    },
    look: (client, key) => client.query('select value from kit where key = $1', [key]),
    spoil: (client) => client.query('select 1 / 0'),
  });
  for (const { name, run } of cases) test(name, run);
});
