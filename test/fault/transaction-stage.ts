// What the fault tests of transactions share: two databases and a log, processes that end at a
// chosen step, and the audit.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import pg from 'pg';
import { systemClock } from '../../src/core/clock.js';
import { systemRandom } from '../../src/core/random.js';
import { createTransactionCoordinator, type TransactionCoordinator } from '../../src/index.js';
import { type PostgresBranchClient, postgresParticipant } from '../../src/postgres.js';
import { redisTransactions } from '../../src/redis.js';
import type { Participant } from '../../src/transaction/participant.js';
import { eventually } from '../integration/postgres-stage.js';
import {
  type PostgresHandle,
  type ServerHandle,
  startPostgres,
  startRedis,
} from '../servers/provider.js';
import type { OwnerConfig } from './transaction-owner.js';

/** Short, so that tests need not wait long until a dead owner counts as silent. */
const LIVENESS_TIMEOUT_MS = 600;
const SWEEP_MS = 50;

export interface TransactionNode extends AsyncDisposable {
  readonly coordinator: TransactionCoordinator;
  readonly orders: Participant<PostgresBranchClient<pg.Pool>>;
  readonly payments: Participant<PostgresBranchClient<pg.Pool>>;
  /** Writes one row in both databases in one transaction. */
  place(id: number, timeoutMs?: number): ReturnType<TransactionCoordinator['run']>;
}

export interface TransactionStage extends AsyncDisposable {
  readonly postgres: PostgresHandle;
  readonly redis: ServerHandle;
  readonly ordersUrl: string;
  readonly paymentsUrl: string;
  /** A coordinator of this process; addresses may lead through proxies. */
  node(options?: {
    ordersUrl?: string;
    paymentsUrl?: string;
    redisUrl?: string;
    sweepMs?: number;
  }): TransactionNode;
  /** A process of its own that places order `id` and meets a signal at `point`. */
  owner(config: Pick<OwnerConfig, 'id' | 'point' | 'signal'>): Owner;
  /** In which databases the order is. */
  where(id: number): Promise<readonly string[]>;
  /** Orders that are in one database alone. */
  mixed(): Promise<readonly number[]>;
  prepared(): Promise<readonly string[]>;
  /** Waits until nothing is prepared and every decision is acknowledged. */
  quiet(): Promise<void>;
}

export interface Owner {
  readonly child: ChildProcess;
  /** The next line that it writes. */
  line(): Promise<string>;
  readonly exited: Promise<NodeJS.Signals | number | null>;
}

export async function transactionStage(): Promise<TransactionStage> {
  const [postgres, redis] = await Promise.all([
    startPostgres(),
    startRedis({ appendonly: 'always' }),
  ]);
  const ordersUrl = await postgres.createDatabase('orders');
  const paymentsUrl = await postgres.createDatabase('payments');
  const databases = {
    orders: poolOf(ordersUrl),
    payments: poolOf(paymentsUrl),
  };
  for (const pool of Object.values(databases)) {
    await pool.query('create table placed (id int primary key)');
  }
  const watch = new Redis(redis.url);
  watch.on('error', () => {});
  const log = redisTransactions({ client: watch, livenessTimeoutMs: LIVENESS_TIMEOUT_MS });
  const looking = log.open({
    nodeId: 'watch',
    namespace: 'default',
    clock: systemClock,
    random: systemRandom,
  });
  const children = new Set<ChildProcess>();
  const idsIn = async (pool: pg.Pool): Promise<readonly number[]> => {
    const { rows } = await pool.query<{ id: number }>('select id from placed order by id');
    return rows.map(({ id }) => id);
  };
  const prepared = async (): Promise<readonly string[]> => {
    const { rows } = await databases.orders.query<{ gid: string }>(
      'select gid from pg_prepared_xacts',
    );
    return rows.map(({ gid }) => gid);
  };
  return {
    postgres,
    redis,
    ordersUrl,
    paymentsUrl,
    prepared,
    node: (options = {}) => nodeOf({ ordersUrl, paymentsUrl, redisUrl: redis.url, ...options }),
    owner(config) {
      const owner = startOwner({ ...config, redisUrl: redis.url, ordersUrl, paymentsUrl });
      children.add(owner.child);
      return owner;
    },
    async where(id) {
      const found = await Promise.all(
        Object.entries(databases).map(async ([name, pool]) => {
          const { rowCount } = await pool.query('select 1 from placed where id = $1', [id]);
          return rowCount === 1 ? [name] : [];
        }),
      );
      return found.flat();
    },
    async mixed() {
      const [orders, payments] = await Promise.all([
        idsIn(databases.orders),
        idsIn(databases.payments),
      ]);
      const inBoth = new Set(orders.filter((id) => payments.includes(id)));
      return [...orders, ...payments].filter((id) => !inBoth.has(id));
    },
    async quiet() {
      await eventually(async () => (await prepared()).length === 0, 20_000);
      await eventually(async () => {
        const statuses = await looking.incarnations();
        return statuses.every(({ unacknowledgedCount }) => unacknowledgedCount === 0);
      }, 20_000);
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill('SIGKILL');
      await looking.close();
      watch.disconnect();
      await Promise.all(Object.values(databases).map((pool) => pool.end()));
      await Promise.all([postgres[Symbol.asyncDispose](), redis[Symbol.asyncDispose]()]);
    },
  };
}

function poolOf(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 10 });
  pool.on('error', () => {});
  return pool;
}

/** Opens a coordinator as a service would. The owner process uses it too. */
export function nodeOf(options: {
  readonly ordersUrl: string;
  readonly paymentsUrl: string;
  readonly redisUrl: string;
  readonly sweepMs?: number;
  readonly through?: {
    participant(participant: Participant): Participant;
    log(log: ReturnType<typeof redisTransactions>): ReturnType<typeof redisTransactions>;
  };
}): TransactionNode {
  const { ordersUrl, paymentsUrl, redisUrl, sweepMs = SWEEP_MS, through } = options;
  const pools = [poolOf(ordersUrl), poolOf(paymentsUrl)] as const;
  const client = new Redis(redisUrl);
  client.on('error', () => {});
  const wrap = (participant: Participant<PostgresBranchClient<pg.Pool>>) =>
    (through?.participant(participant) ?? participant) as typeof participant;
  const bounds = { callTimeoutMs: 1_500 };
  const orders = wrap(postgresParticipant({ name: 'orders', pool: pools[0], ...bounds }));
  const payments = wrap(postgresParticipant({ name: 'payments', pool: pools[1], ...bounds }));
  const log = redisTransactions({
    client,
    livenessTimeoutMs: LIVENESS_TIMEOUT_MS,
    replyTimeoutMs: 500,
  });
  const coordinator = createTransactionCoordinator({
    log: through?.log(log) ?? log,
    participants: [orders, payments],
    sweepMs,
    requireGuarantee: 'power-loss',
  });
  return {
    coordinator,
    orders,
    payments,
    place: (id, timeoutMs = 5_000) =>
      coordinator.run({ resourceId: `order:${id}`, timeoutMs }, async (tx) => {
        const handles = await Promise.all([tx.enlist(orders), tx.enlist(payments)]);
        const insert = 'insert into placed values ($1)';
        await Promise.all(handles.map((db) => db.query(insert, [id])));
      }),
    async [Symbol.asyncDispose]() {
      await coordinator.close({ drainMs: 1_000 });
      client.disconnect();
      await Promise.all(pools.map((pool) => pool.end()));
    },
  };
}

const OWNER = fileURLToPath(new URL('./transaction-owner.ts', import.meta.url));

function startOwner(config: OwnerConfig): Owner {
  const child = spawn(process.execPath, ['--import', 'tsx', OWNER, JSON.stringify(config)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit').then(([code, signal]) => signal ?? code);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    exited,
    async line() {
      const { value, done } = await lines.next();
      assert.ok(done !== true, 'the owner ended before it wrote what was awaited');
      return value;
    },
  };
}
