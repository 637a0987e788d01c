// What the fault tests of remote participants and their processes share: a caller with a database of
// its own, and a server with another one, on one store.

import { Redis } from 'ioredis';
import pg from 'pg';
import {
  createTransactionCoordinator,
  type DecisionLog,
  type Outcome,
  type Participant,
  type ServedParticipant,
  serveParticipant,
  type TransactionCoordinator,
} from '../../src/index.js';
import { postgresParticipant } from '../../src/postgres.js';
import { redisTransactions } from '../../src/redis.js';
import { zookeeper, zookeeperTransactions } from '../../src/zookeeper.js';

export interface StoreAddress {
  readonly kind: 'redis' | 'zookeeper';
  readonly url: string;
}

/** Wraps what a process uses, so that a signal can meet it at a chosen step. */
export interface Through {
  log(log: DecisionLog): DecisionLog;
  participant<Handle>(participant: Participant<Handle>): Participant<Handle>;
}

export interface NodeOptions {
  readonly store: StoreAddress;
  readonly databaseUrl: string;
  readonly service: string;
  readonly sweepMs?: number;
  readonly through?: Through;
}

const LIVENESS_TIMEOUT_MS = 800;
const SWEEP_MS = 100;

/** A client of the store, and how to let it go. */
export async function openStore({ kind, url }: StoreAddress) {
  if (kind === 'redis') {
    const client = new Redis(url);
    client.on('error', () => {});
    const log = redisTransactions({ client, livenessTimeoutMs: LIVENESS_TIMEOUT_MS });
    return { log, close: async () => client.disconnect() };
  }
  const session = zookeeper({ servers: url, sessionTimeoutMs: 2_000 });
  await session.ready();
  return { log: zookeeperTransactions({ session }), close: () => session.close() };
}

function poolOf(connectionString: string): pg.Pool {
  const pool = new pg.Pool({ connectionString, max: 10 });
  pool.on('error', () => {});
  return pool;
}

const bounds = { callTimeoutMs: 1_500 };
const unwrapped: Through = { log: (log) => log, participant: (participant) => participant };

export interface Caller extends AsyncDisposable {
  readonly coordinator: TransactionCoordinator;
  /** Writes the order here and, by a call, there. */
  place(id: number, timeoutMs?: number, waitFor?: 'applied' | 'decided'): Promise<Outcome<unknown>>;
}

/** A caller: its orders in its own database, the stock by a call. */
export async function callerOf(options: NodeOptions): Promise<Caller> {
  const { through = unwrapped, sweepMs = SWEEP_MS, service } = options;
  const store = await openStore(options.store);
  const pool = poolOf(options.databaseUrl);
  const orders = through.participant(postgresParticipant({ name: 'orders', pool, ...bounds }));
  const log = through.log(store.log);
  const coordinator = createTransactionCoordinator({ log, participants: [orders], sweepMs });
  return {
    coordinator,
    place: (id, timeoutMs = 10_000, waitFor = 'applied') =>
      coordinator.run({ resourceId: `order:${id}`, timeoutMs, waitFor }, async (tx) => {
        const db = await tx.enlist(orders);
        await db.query('insert into placed values ($1)', [id]);
        return tx.call(service, { id });
      }),
    async [Symbol.asyncDispose]() {
      await coordinator.close({ drainMs: 500 });
      await pool.end();
      await store.close();
    },
  };
}

export interface Server extends AsyncDisposable {
  readonly served: ServedParticipant;
}

/** A server: takes the order into its own database. */
export async function serverOf(options: NodeOptions): Promise<Server> {
  const { through = unwrapped, sweepMs = SWEEP_MS, service } = options;
  const store = await openStore(options.store);
  const pool = poolOf(options.databaseUrl);
  const stock = through.participant(postgresParticipant({ name: 'stock', pool, ...bounds }));
  const served = serveParticipant<{ readonly id: number }, { readonly id: number }>({
    store: through.log(store.log),
    name: service,
    participants: [stock],
    sweepMs,
    handlers: {
      async prepare({ id }, { enlist }) {
        const db = await enlist(stock);
        await db.query('insert into placed values ($1)', [id]);
        return { id };
      },
    },
  });
  await served.ready;
  return {
    served,
    async [Symbol.asyncDispose]() {
      await served.close({ drainMs: 500 });
      await pool.end();
      await store.close();
    },
  };
}
