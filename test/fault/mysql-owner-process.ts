// A process that prepares a branch and then stays until it is killed: `tsx … ‹url› ‹id›`.

import mysql from 'mysql2/promise';
import { newTransactionId } from 'tricord';
import { mysqlParticipant } from 'tricord/mysql';
import { systemClock } from '../../src/core/clock.js';

const [uri = '', id = '0'] = process.argv.slice(2);
const pool = mysql.createPool({ uri, connectionLimit: 1 });
const participant = mysqlParticipant({ name: 'orders', pool });
const transactionId = newTransactionId('order:1', 'owner');
const branchId = `${transactionId}.1`;
const branch = await participant.enlist({
  transactionId,
  branchId,
  timeoutMs: 60_000,
  signal: new AbortController().signal,
  clock: systemClock,
});
await branch.handle.query('insert into item values (?)', [Number(id)]);
const vote = await branch.prepare();
process.stdout.write(`${JSON.stringify({ branchId, vote })}\n`);
setInterval(() => {}, 1_000);
