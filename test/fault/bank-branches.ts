// The four banks as a process opens them, and what a transfer does in each.

import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { type Clock, systemClock } from '../../src/core/clock.js';
import { createTransactionCoordinator, type TransactionCoordinator } from '../../src/index.js';
import { mysqlParticipant } from '../../src/mysql.js';
import { postgresParticipant } from '../../src/postgres.js';
import { redisParticipant, redisTransactions } from '../../src/redis.js';
import type { Participant } from '../../src/transaction/participant.js';

export const BANKS = ['north', 'south', 'maria', 'redis'] as const;
export type Bank = (typeof BANKS)[number];

/** Where the banks are; the log is in the same Redis as the last one. */
export type BankUrls = Readonly<Record<Bank, string>>;

/** Money that leaves one account and arrives in others. The sum of all legs is zero. */
export interface Transfer {
  readonly id: string;
  readonly legs: readonly { readonly bank: Bank; readonly account: number; readonly by: number }[];
}

export const ACCOUNTS = 5;
export const OPENING_BALANCE = 1_000;
export const LIVENESS_TIMEOUT_MS = 1_000;
const SWEEP_MS = 300;

export interface BankNode extends AsyncDisposable {
  readonly coordinator: TransactionCoordinator;
  transfer(transfer: Transfer): ReturnType<TransactionCoordinator['run']>;
}

interface Sql {
  query(text: string, values: unknown[]): Promise<unknown>;
}

/** One process's way into all banks. */
export function bankNode(
  urls: BankUrls,
  options: { readonly clock?: Clock; readonly sweepMs?: number } = {},
): BankNode {
  const { clock = systemClock, sweepMs = SWEEP_MS } = options;
  const pools = [urls.north, urls.south].map((connectionString) => {
    const pool = new pg.Pool({ connectionString, max: 8, connectionTimeoutMillis: 2_000 });
    pool.on('error', () => {});
    return pool;
  });
  const maria = mysql.createPool({ uri: urls.maria, connectionLimit: 8, connectTimeout: 2_000 });
  const client = new Redis(urls.redis, { maxRetriesPerRequest: null });
  client.on('error', () => {});
  const bounds = { clock, callTimeoutMs: 2_000 };
  const database = (name: string, pool: pg.Pool | undefined) =>
    postgresParticipant({ name, pool: pool as pg.Pool, ...bounds }) as Participant<Sql>;
  const [north, south] = [database('north', pools[0]), database('south', pools[1])];
  const participants = {
    north,
    south,
    maria: mysqlParticipant({ name: 'maria', pool: maria, ...bounds }) as Participant<unknown>,
    redis: redisParticipant({ name: 'redis', client, clock, replyTimeoutMs: 1_000 }),
  };
  const coordinator = createTransactionCoordinator({
    log: redisTransactions({
      client,
      livenessTimeoutMs: LIVENESS_TIMEOUT_MS,
      replyTimeoutMs: 500,
    }),
    participants: Object.values(participants),
    clock,
    sweepMs,
    requireGuarantee: 'process',
  });
  return {
    coordinator,
    transfer: ({ id, legs }) =>
      coordinator.run({ resourceId: `transfer:${id}`, timeoutMs: 3_000 }, async (tx) => {
        const note = JSON.stringify(legs);
        for (const { bank, account, by } of legs) {
          if (bank === 'redis') {
            const branch = await tx.enlist(participants.redis);
            await branch.increment(`account:${account}`, by, { min: 0 });
            await branch.set(`ledger:${id}`, note);
            continue;
          }
          const sql = (await tx.enlist(participants[bank] as Participant<Sql>)) as Sql;
          const [move, book] = bank === 'maria' ? MYSQL : POSTGRES;
          await sql.query(move, [by, account]);
          await sql.query(book, [id, account, by, note]);
        }
      }),
    async [Symbol.asyncDispose]() {
      await coordinator.close({ drainMs: 1_000 });
      client.disconnect();
      await Promise.allSettled([...pools.map((pool) => pool.end()), maria.end()]);
    },
  };
}

const POSTGRES = [
  'update account set balance = balance + $1 where id = $2',
  'insert into ledger (transfer, account, amount, legs) values ($1, $2, $3, $4)',
] as const;
const MYSQL = [
  'update account set balance = balance + ? where id = ?',
  'insert into ledger (transfer, account, amount, legs) values (?, ?, ?, ?)',
] as const;

/** The tables of a bank; a balance below zero is refused by the database. */
export const bankTables = (engine: '' | 'engine=InnoDB'): readonly string[] => [
  `create table account (id int primary key, balance int not null check (balance >= 0)) ${engine}`,
  `create table ledger (transfer varchar(40) primary key, account int not null,
    amount int not null, legs varchar(400) not null) ${engine}`,
  ...Array.from(
    { length: ACCOUNTS },
    (_, id) => `insert into account values (${id}, ${OPENING_BALANCE})`,
  ),
];
