// A process that performs one step of a function participant and says where it is, so that it can be
// killed there: `tsx … ‹url› ‹branch› ‹prepare|commit|abort› ‹pause point›`. Pause points: `effect`
// (inside the function, after its statement) and `reply` (the step is done, nobody was told).

import { writeSync } from 'node:fs';
import pg from 'pg';
import { functionParticipant } from 'tricord';
import { type PostgresBarrierClient, postgresBarrier } from 'tricord/postgres';
import { systemClock } from '../../src/core/clock.js';

type Db = PostgresBarrierClient<pg.Pool>;

const [connectionString = '', branchId = '', step = '', at = ''] = process.argv.slice(2);
const pool = new pg.Pool({ connectionString, max: 1 });
const here = async (point: string): Promise<void> => {
  if (point !== at) return;
  writeSync(1, `${point}\n`);
  await new Promise(() => setInterval(() => {}, 1_000));
};
const move = (from: string, to: string) => async (db: Db) => {
  await db.query(`update stock set ${from} = ${from} - 1, ${to} = ${to} + 1`);
  await here('effect');
};
const participant = functionParticipant<{ sku: string }, Db>({
  name: 'stock',
  barrier: postgresBarrier({ pool }),
  prepare: move('available', 'reserved'),
  commit: move('reserved', 'sold'),
  abort: move('reserved', 'available'),
});
if (step === 'prepare') {
  const branch = await participant.enlist({
    transactionId: branchId as never,
    branchId,
    timeoutMs: 60_000,
    signal: new AbortController().signal,
    clock: systemClock,
  });
  await branch.handle.request({ sku: 'sku:42' });
  await branch.prepare();
} else {
  await participant[step as 'commit' | 'abort']({ branchId, evidence: '' });
}
await here('reply');
await pool.end();
