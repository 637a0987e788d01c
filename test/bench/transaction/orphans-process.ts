// A coordinator's process that is killed with a thousand branches prepared:
// node orphans-process.ts ‹config as JSON›

import { Redis } from 'ioredis';
import pg from 'pg';
import { systemClock } from '../../../src/core/clock.js';
import { newTransactionIds } from '../../../src/core/ids.js';
import { systemRandom } from '../../../src/core/random.js';
import { redisTransactions } from '../../../src/drivers/redis/decision-log.js';

const { redisUrl, urls, transactions, livenessTimeoutMs } = JSON.parse(process.argv[2] ?? '{}') as {
  redisUrl: string;
  urls: string[];
  transactions: number;
  livenessTimeoutMs: number;
};
const log = redisTransactions({ client: new Redis(redisUrl), livenessTimeoutMs });
const [clock, random] = [systemClock, systemRandom];
const session = log.open({ nodeId: 'killed', namespace: 'default', clock, random });
const incarnation = random.token(11);
await session.register(incarnation);
const newId = newTransactionIds({ namespace: 'default', authority: 'redis', incarnation });
const pools = urls.map((connectionString) => new pg.Pool({ connectionString, max: 4 }));

async function prepare(number: number): Promise<void> {
  const transactionId = newId(`order:${number}`, 'killed');
  const branches = await Promise.all(
    pools.map(async (pool, index) => {
      const branchId = `${transactionId}.${index + 1}`;
      const client = await pool.connect();
      await client.query('begin');
      await client.query('insert into item (number) values ($1)', [number]);
      const { rows } = await client.query('select pg_current_xact_id()::text as xid');
      await client.query(`prepare transaction '${branchId}'`);
      client.release();
      return { branchId, evidence: `xid8:${rows[0].xid}`, participant: `part${index}` };
    }),
  );
  // Every other one was decided: recovery has both kinds of work.
  if (number % 2 === 0) return;
  const record = { transactionId, resourceId: `order:${number}`, nodeId: 'killed', branches };
  await session.decide(incarnation, record);
}

const numbers = Array.from({ length: transactions }, (_, number) => number).values();
await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (const number of numbers) await prepare(number);
  }),
);
process.kill(process.pid, 'SIGKILL');
