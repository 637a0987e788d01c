import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createTransactionCoordinator } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { redisTransactions } from 'tricord/redis';
import type { PostgresHandle, ServerHandle } from '../../servers/provider.js';
import { sleep } from '../lock/measure.js';
import { ms, rate, type Table } from '../lock/report.js';

const PROCESS = fileURLToPath(new URL('./orphans-process.ts', import.meta.url));
const LIVENESS_TIMEOUT_MS = 1_000;

/** How long one node takes to finish what a killed one left. */
export async function recovery(
  { postgres, redis }: { readonly postgres: PostgresHandle; readonly redis: ServerHandle },
  { branches }: { readonly branches: number },
): Promise<Table> {
  const urls = [await postgres.createDatabase('left'), await postgres.createDatabase('right')];
  const pools = urls.map((connectionString) => new pg.Pool({ connectionString, max: 8 }));
  for (const pool of pools) {
    await pool.query('create table item (id bigserial primary key, number int)');
  }
  const transactions = branches / urls.length;
  const livenessTimeoutMs = LIVENESS_TIMEOUT_MS;
  const config = { redisUrl: redis.url, urls, transactions, livenessTimeoutMs };
  const child = spawn(process.execPath, ['--import', 'tsx', PROCESS, JSON.stringify(config)], {
    stdio: 'inherit',
  });
  await once(child, 'exit');
  const killedAt = performance.now();
  const client = new Redis(redis.url);
  const coordinator = createTransactionCoordinator({
    log: redisTransactions({ client, livenessTimeoutMs }),
    participants: pools.map((pool, index) => postgresParticipant({ name: `part${index}`, pool })),
    sweepMs: Number.POSITIVE_INFINITY,
  });
  await sleep(2 * LIVENESS_TIMEOUT_MS);
  const startedAt = performance.now();
  let [committed, aborted] = [0, 0];
  while (committed + aborted < branches && performance.now() - startedAt < 60_000) {
    const report = await coordinator.recover();
    committed += report.committed;
    aborted += report.aborted;
  }
  const tookMs = performance.now() - startedAt;
  const sinceKillMs = performance.now() - killedAt;
  await coordinator.close();
  await Promise.all(pools.map((pool) => pool.end()));
  client.disconnect();
  return {
    title: 'In-doubt branches after kill -9',
    method: `A process is killed with ${branches} branches prepared in two databases, half of its transactions decided. Another one recovers.`,
    columns: ['branches', 'committed', 'aborted', 'recovery took', 'branches/s', 'since the kill'],
    rows: [
      [
        String(branches),
        String(committed),
        String(aborted),
        ms(tookMs),
        rate((branches / tookMs) * 1_000),
        ms(sinceKillMs),
      ],
    ],
    notes: [
      `The time since the kill has the ${2 * LIVENESS_TIMEOUT_MS} ms in it that the bench waits until the log takes the process for dead (livenessTimeoutMs ${LIVENESS_TIMEOUT_MS}).`,
    ],
  };
}
