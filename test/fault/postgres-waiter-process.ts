// A process whose branch waits for a row lock until it is killed: `tsx … ‹url› ‹timeoutMs›`.

import { writeSync } from 'node:fs';
import pg from 'pg';
import { newTransactionId } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { systemClock } from '../../src/core/clock.js';

const [connectionString = '', timeoutMs = '0'] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString, max: 1 });
const participant = postgresParticipant({ name: 'orders', pool });
const transactionId = newTransactionId('order:1', 'waiter');
const branch = await participant.enlist({
  transactionId,
  branchId: `${transactionId}.1`,
  timeoutMs: Number(timeoutMs),
  signal: new AbortController().signal,
  clock: systemClock,
});
const { rows } = await branch.handle.query('select pg_backend_pid() as pid');
writeSync(1, `${rows[0].pid}\n`);
await branch.handle.query('update item set n = n + 1 where id = 1');
