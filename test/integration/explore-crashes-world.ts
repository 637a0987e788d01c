// Real resources and logs for the crash explorer, as a process of its own would open them.

import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import pg from 'pg';
import {
  type CrashableParticipant,
  type CrashExploration,
  type CrashExplorationOptions,
  type ExploredLog,
  exploreCrashes,
} from 'tricord/testing';
import { memoryParticipant } from '../../src/drivers/memory/participant.js';
import { memoryTransactions } from '../../src/drivers/memory/transactions.js';
import { mysqlParticipant } from '../../src/drivers/mysql/participant.js';
import { setupSql as mysqlSetupSql } from '../../src/drivers/mysql/setup-sql.js';
import { type PostgresBarrierClient, postgresBarrier } from '../../src/drivers/postgres/barrier.js';
import { postgresTransactions } from '../../src/drivers/postgres/decision-log.js';
import { postgresParticipant } from '../../src/drivers/postgres/participant.js';
import { setupSql } from '../../src/drivers/postgres/setup-sql.js';
import { redisTransactions } from '../../src/drivers/redis/decision-log.js';
import { redisParticipant } from '../../src/drivers/redis/participant.js';
import { zookeeper } from '../../src/drivers/zookeeper/session.js';
import { zookeeperTransactions } from '../../src/drivers/zookeeper/transactions.js';
import { functionParticipant } from '../../src/transaction/function-participant.js';

/** Where the servers are; databases are empty. */
export interface CrashServers {
  readonly redisUrl: string;
  readonly zookeeper: { readonly servers: string; readonly chroot: string };
  readonly ordersUrl: string;
  readonly paymentsUrl: string;
  readonly logUrl: string;
  readonly mariadbUrl: string;
}

export const LOGS = ['memory', 'redis', 'zookeeper', 'postgres'] as const;
export type LogName = (typeof LOGS)[number];
export const RESOURCES = [
  'memory',
  'redis',
  'postgres',
  'otherPostgres',
  'mariadb',
  'function',
] as const;
export type ResourceName = (typeof RESOURCES)[number];

/** A resource, what the body does to it, and how one sees that it is done. */
interface Resource {
  open(): CrashableParticipant | Promise<CrashableParticipant>;
  write(handle: unknown, key: string, lane: string): Promise<unknown>;
  isWritten(key: string): Promise<boolean> | boolean;
}

export interface CrashWorld extends AsyncDisposable {
  /** Explores one transaction over these resources, decided in that log. */
  explore(
    log: LogName,
    resources: readonly ResourceName[],
    options?: Partial<Omit<CrashExplorationOptions, 'body' | 'check'>>,
  ): Promise<CrashExploration>;
}

export async function crashWorld(servers: CrashServers): Promise<CrashWorld> {
  const watch = new Redis(servers.redisUrl);
  const pools = [servers.ordersUrl, servers.paymentsUrl].map((url) => poolOf(url).pool);
  for (const pool of pools) {
    await pool.query('create table written (key text primary key)');
    await pool.query('create table lane (lane text primary key, key text)');
  }
  const setup = poolOf(servers.logUrl).pool;
  await setup.query(setupSql());
  await setup.query('create table seat (key text primary key, state text not null)');
  const ledger = mysql.createPool({ uri: servers.mariadbUrl, multipleStatements: true });
  await ledger.query(
    `${mysqlSetupSql()}
    create table written (\`key\` varchar(64) primary key) engine=InnoDB;
    create table lane (lane varchar(64) primary key, \`key\` varchar(64)) engine=InnoDB`,
  );
  const session = zookeeper(servers.zookeeper);
  await session.ready();
  const memory = memoryParticipant({ name: 'memory' });
  const logs: Record<LogName, ExploredLog> = {
    memory: memoryTransactions(),
    zookeeper: zookeeperTransactions({ session }),
    redis() {
      const client = new Redis(servers.redisUrl);
      client.on('error', () => {});
      const end = async (): Promise<void> => client.disconnect();
      return { log: redisTransactions({ client }), crash: end, close: end };
    },
    postgres() {
      const { pool, ...ends } = poolOf(servers.logUrl);
      return { log: postgresTransactions({ pool }), ...ends };
    },
  };
  const resources: Record<ResourceName, Resource> = {
    memory: {
      open: () => ({ participant: memory }),
      write: setBoth,
      isWritten: (key) => memory.read(`written:${key}`) === key,
    },
    redis: redisResource(servers.redisUrl, watch),
    postgres: postgresResource('postgres', servers.ordersUrl, pools[0]),
    otherPostgres: postgresResource('otherPostgres', servers.paymentsUrl, pools[1]),
    mariadb: mariadbResource(servers.mariadbUrl, ledger),
    function: functionResource(servers.logUrl, setup),
  };
  return {
    explore: (log, names, options = {}) =>
      exploreCrashes({
        log: logs[log],
        participants: Object.fromEntries(names.map((name) => [name, resources[name].open])),
        async body(tx, { key, lane, participants }) {
          for (const name of names) {
            const participant = participants[name];
            if (participant === undefined) throw new Error(`no participant ${name}`);
            await resources[name].write(await tx.enlist(participant), key, lane);
          }
        },
        async check({ key }) {
          const seen = names.map(async (name) => [name, await resources[name].isWritten(key)]);
          return Object.fromEntries(await Promise.all(seen));
        },
        ...options,
      }),
    async [Symbol.asyncDispose]() {
      watch.disconnect();
      await Promise.all([...pools, setup, ledger].map((pool) => pool.end()));
      await session.close();
    },
  };
}

/** Memory and Redis have this in common. */
async function setBoth(handle: unknown, key: string, lane: string): Promise<void> {
  const branch = handle as { set(key: string, value: string): Promise<void> };
  await branch.set(`written:${key}`, key);
  await branch.set(`lane:${lane}`, key);
}

function redisResource(url: string, watch: Redis): Resource {
  return {
    open() {
      const client = new Redis(url);
      client.on('error', () => {});
      const participant = redisParticipant({ name: 'redis', client });
      const end = async (): Promise<void> => client.disconnect();
      return { participant, crash: end, close: end };
    },
    write: setBoth,
    isWritten: async (key) => (await watch.exists(`written:${key}`)) === 1,
  };
}

function postgresResource(name: string, url: string, watch: pg.Pool | undefined): Resource {
  return {
    open() {
      const { pool, ...ends } = poolOf(url);
      return { participant: postgresParticipant({ name, pool }), ...ends };
    },
    async write(handle, key, lane) {
      const database = handle as Pick<pg.Pool, 'query'>;
      await database.query('insert into written values ($1)', [key]);
      await database.query(
        'insert into lane values ($2, $1) on conflict (lane) do update set key = $1',
        [key, lane],
      );
    },
    async isWritten(key) {
      const found = await watch?.query('select 1 from written where key = $1', [key]);
      return found?.rowCount === 1;
    },
  };
}

/** The user's own three functions: a seat is held, then sold or free again. */
function functionResource(url: string, watch: pg.Pool): Resource {
  return {
    open() {
      const { pool, ...ends } = poolOf(url);
      const participant = functionParticipant<{ key: string }, PostgresBarrierClient<pg.Pool>>({
        name: 'function',
        barrier: postgresBarrier({ pool }),
        async prepare(db, { request: { key } }) {
          await db.query("insert into seat values ($1, 'held')", [key]);
        },
        async commit(db, { request: { key } }) {
          const sold = await db.query(
            "update seat set state = 'sold' where key = $1 and state = 'held'",
            [key],
          );
          if (sold.rowCount !== 1) throw new Error(`seat ${key} was not held`);
        },
        async abort(db, { request: { key } }) {
          const freed = await db.query("delete from seat where key = $1 and state = 'held'", [key]);
          if (freed.rowCount !== 1) throw new Error(`seat ${key} was not held`);
        },
      });
      return { participant, ...ends };
    },
    async write(handle, key) {
      await (handle as { request(request: { key: string }): Promise<void> }).request({ key });
    },
    async isWritten(key) {
      const found = await watch.query('select state from seat where key = $1', [key]);
      const state: unknown = found.rows[0]?.state;
      return state === 'sold';
    },
  };
}

/** A pool that can die as its process would: its sockets are gone, and the server hears nothing. */
function poolOf(connectionString: string) {
  const pool = new pg.Pool({ connectionString, max: 4 });
  const clients = new Set<{ readonly connection: { readonly stream: { destroy(): void } } }>();
  let isCrashed = false;
  pool.on('error', () => {});
  pool.on('connect', (client) => {
    client.on('error', () => {});
    clients.add(client as never);
  });
  return {
    pool,
    crash(): void {
      isCrashed = true;
      for (const { connection } of clients) connection.stream.destroy();
    },
    residue: (): readonly string[] =>
      pool.totalCount === pool.idleCount
        ? []
        : [`${pool.totalCount - pool.idleCount} clients are not back in the pool`],
    async close(): Promise<void> {
      // What a dead process had checked out never comes back: its pool is not waited for.
      const ending = pool.end();
      if (!isCrashed) await ending;
    },
  };
}

function mariadbResource(uri: string, watch: mysql.Pool): Resource {
  return {
    open() {
      const pool = mysql.createPool({ uri, connectionLimit: 4 });
      const connections = new Set<{ destroy(): void }>();
      pool.on('connection', (connection) => connections.add(connection));
      const { _allConnections: all, _freeConnections: free } = pool.pool as unknown as Record<
        string,
        { readonly length: number }
      >;
      return {
        participant: mysqlParticipant({ name: 'mariadb', pool }),
        crash() {
          for (const connection of connections) connection.destroy();
        },
        residue: () =>
          all?.length === free?.length
            ? []
            : [`${all?.length} connections, ${free?.length} of them free`],
        close: () => pool.end(),
      };
    },
    async write(handle, key, lane) {
      const database = handle as Pick<mysql.Pool, 'query'>;
      await database.query('insert into written values (?)', [key]);
      await database.query(
        'insert into lane values (?, ?) on duplicate key update `key` = values(`key`)',
        [lane, key],
      );
    },
    async isWritten(key) {
      const [rows] = await watch.query<mysql.RowDataPacket[]>(
        'select 1 from written where `key` = ?',
        [key],
      );
      return rows.length === 1;
    },
  };
}
