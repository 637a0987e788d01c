// A coordinator that demands a guarantee, on live servers whose settings do not keep it: each setting
// is refused by its name, with what to set, before the body writes anything.

import { Redis } from 'ioredis';
import mysql from 'mysql2/promise';
import pg from 'pg';
import {
  createTransactionCoordinator,
  type DecisionLog,
  type GuaranteeLevel,
  type Participant,
} from 'tricord';
import { mysqlParticipant, setupSql as mysqlSetupSql } from 'tricord/mysql';
import { postgresParticipant, postgresTransactions, setupSql } from 'tricord/postgres';
import { redisBarrier, redisParticipant, redisTransactions } from 'tricord/redis';
import { zookeeper, zookeeperTransactions } from 'tricord/zookeeper';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { systemRandom } from '../../src/core/random.js';
import { functionParticipant } from '../../src/transaction/function-participant.js';
import {
  type MariadbHandle,
  type PostgresHandle,
  type ServerHandle,
  startMariadb,
  startPostgres,
  startRedis,
} from '../servers/provider.js';
import { onServer } from '../servers/shared.js';
import { eventually } from './postgres-stage.js';

let safe: ServerHandle;
let safeClient: Redis;
beforeAll(async () => {
  safe = await startRedis({ appendonly: 'always' });
  safeClient = new Redis(safe.url);
});
afterAll(async () => {
  safeClient?.disconnect();
  await safe?.[Symbol.asyncDispose]();
});

interface Demand {
  readonly log?: DecisionLog;
  readonly participant?: Participant<unknown>;
  readonly requireGuarantee?: GuaranteeLevel;
}

/** What a coordinator refuses with; undefined where it goes ahead. */
async function refusalOf({ log, participant, requireGuarantee = 'power-loss' }: Demand) {
  const participants = participant === undefined ? [] : [participant];
  const coordinator = createTransactionCoordinator({
    ...{
      log: log ?? redisTransactions({ client: safeClient }),
      participants,
      requireGuarantee,
    },
    sweepMs: Number.POSITIVE_INFINITY,
  });
  let refused: unknown;
  const note = (error: unknown): void => {
    refused = error;
  };
  await coordinator
    .run({ resourceId: 'order:1' }, async (tx) => {
      if (participant !== undefined) await tx.enlist(participant).catch(note);
    })
    .catch(note);
  await coordinator.close();
  return refused;
}
const refusedFor = (message: RegExp) => ({
  code: 'GUARANTEE_REFUSED',
  message: expect.stringMatching(message),
});

describe('a Redis whose settings keep too little [redis]', () => {
  let redis: ServerHandle;
  let client: Redis;
  beforeAll(async () => {
    redis = await startRedis({ appendonly: 'always' });
    client = new Redis(redis.url);
  });
  afterAll(async () => {
    client?.disconnect();
    await redis?.[Symbol.asyncDispose]();
  });
  const users: readonly (readonly [string, () => Demand])[] = [
    ['decision log', () => ({ log: redisTransactions({ client }) })],
    ['participant', () => ({ participant: redisParticipant({ name: 'stock', client }) })],
    [
      'barrier of functions',
      () => {
        const nothing = async () => {};
        const barrier = redisBarrier({ client });
        const calls = { prepare: nothing, commit: nothing, abort: nothing };
        return {
          participant: functionParticipant({ name: 'mail', barrier, ...calls }),
        };
      },
    ],
  ];

  describe.each(users)('as a %s', (_, demand) => {
    test.each([
      ['appendonly', 'no', 'yes', /appendonly is no\): set it to yes/],
      ['appendfsync', 'everysec', 'always', /appendfsync is everysec\): set it to always/],
      [
        ...(['maxmemory-policy', 'volatile-lru', 'noeviction'] as const),
        /maxmemory-policy = volatile-lru: .*; set maxmemory-policy noeviction/,
      ],
    ] as const)('%s %s is refused by name', async (setting, unsafe, back, message) => {
      await client.config('SET', setting, unsafe);
      try {
        expect(await refusalOf(demand())).toMatchObject(refusedFor(message));
      } finally {
        await client.config('SET', setting, back);
      }
      expect(await refusalOf(demand())).toBeUndefined();
    });

    test('a replica is refused, with the server to connect to', async () => {
      await client.call('REPLICAOF', '127.0.0.1', '1');
      try {
        const message = /role = slave: .*; connect the client to it/;
        expect(await refusalOf(demand())).toMatchObject(refusedFor(message));
      } finally {
        await client.call('REPLICAOF', 'NO', 'ONE');
      }
    });
  });
});

describe('a PostgreSQL whose settings keep too little [postgresql] [redis]', () => {
  let server: PostgresHandle;
  let pool: pg.Pool;
  beforeAll(async () => {
    server = await startPostgres();
    pool = new pg.Pool({
      connectionString: await server.createDatabase('orders'),
    });
    await pool.query(setupSql());
  });
  afterAll(async () => {
    await pool?.end();
    await server?.[Symbol.asyncDispose]();
  });
  const isNow = async (setting: string, wanted: string) => {
    const { rows } = await pool.query(`show ${setting}`);
    return rows[0][setting] === wanted;
  };
  const change = async (setting: string, to: string) => {
    await pool.query(`alter system set ${setting} = ${to}`);
    await pool.query('select pg_reload_conf()');
    // Sessions read it between two statements: those that are idle now are asked for it first.
    await eventually(() => isNow(setting, to));
  };
  const asLog = (): Demand => ({ log: postgresTransactions({ pool }) });
  const asParticipant = (): Demand => ({
    participant: postgresParticipant({ name: 'orders', pool }),
  });

  test.each([
    ['fsync', 'log', asLog, /fsync = off: .*; set fsync = on/],
    ['fsync', 'participant', asParticipant, /fsync = off: .*; set fsync = on/],
    ['full_page_writes', 'log', asLog, /full_page_writes = off: .*; set full_page_writes = on/],
    [
      ...(['full_page_writes', 'participant', asParticipant] as const),
      /full_page_writes = off: .*; set full_page_writes = on/,
    ],
    [
      ...(['synchronous_commit', 'participant', asParticipant] as const),
      /synchronous_commit = off: .*; set synchronous_commit = on/,
    ],
  ] as const)('%s = off is refused by name: %s', async (setting, _, demand, message) => {
    await change(setting, 'off');
    try {
      expect(await refusalOf(demand())).toMatchObject(refusedFor(message));
    } finally {
      await change(setting, 'on');
    }
    expect(await refusalOf(demand())).toBeUndefined();
  });

  test('synchronous_commit = off keeps decisions: each is written with a setting of its own', async () => {
    await change('synchronous_commit', 'off');
    try {
      expect(await refusalOf(asLog())).toBeUndefined();
    } finally {
      await change('synchronous_commit', 'on');
    }
  });

  test('a log without a synchronous standby is refused where failover is demanded', async () => {
    const message = /"failover" is required.*set synchronous_standby_names/;
    const refused = await refusalOf({
      ...asLog(),
      requireGuarantee: 'failover',
    });
    expect(refused).toMatchObject(refusedFor(message));
  });
});

describe('a MariaDB whose settings keep too little [mariadb] [redis]', () => {
  let server: MariadbHandle;
  let pool: mysql.Pool;
  beforeAll(async () => {
    server = await startMariadb({
      config: { 'log-bin': 'on', 'sync-binlog': '1' },
    });
    const uri = await server.createDatabase('orders');
    pool = mysql.createPool({ uri, multipleStatements: true });
    await pool.query(mysqlSetupSql());
  });
  afterAll(async () => {
    await pool?.end();
    await server?.[Symbol.asyncDispose]();
  });
  const demand = (): Demand => ({
    participant: mysqlParticipant({ name: 'orders', pool }),
  });

  test.each([
    [
      ...(['innodb_flush_log_at_trx_commit', '0'] as const),
      /innodb_flush_log_at_trx_commit = 0: .*; set innodb_flush_log_at_trx_commit = 1/,
    ],
    [
      ...(['innodb_flush_log_at_trx_commit', '2'] as const),
      /innodb_flush_log_at_trx_commit = 2: .*; set innodb_flush_log_at_trx_commit = 1/,
    ],
    ['sync_binlog', '0', /sync_binlog = 0: .*; set sync_binlog = 1/],
  ] as const)('%s = %s is refused by name', async (setting, unsafe, message) => {
    await pool.query(`set global ${setting} = ${unsafe}`);
    try {
      expect(await refusalOf(demand())).toMatchObject(refusedFor(message));
    } finally {
      await pool.query(`set global ${setting} = 1`);
    }
    expect(await refusalOf(demand())).toBeUndefined();
  });
});

onServer('zookeeper', 'a ZooKeeper that stands alone', ({ url }) => {
  test('has nothing to fail over to, and says what it cannot know', async () => {
    const session = zookeeper({ servers: url });
    try {
      const log = zookeeperTransactions({ session });
      const refused = await refusalOf({ log, requireGuarantee: 'failover' });
      expect(refused).toMatchObject(refusedFor(/forceSync.*run three or five/));
      const node = {
        nodeId: 'n',
        namespace: 'unsafe',
        clock: systemClock,
        random: systemRandom,
      };
      const opened = log.open(node);
      expect(await opened.guarantees()).toMatchObject({
        survives: 'process',
        settings: { servers: '1' },
      });
      await opened.close();
      expect(await refusalOf({ log, requireGuarantee: 'process' })).toBeUndefined();
    } finally {
      await session.close();
    }
  });
});
