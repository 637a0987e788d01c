import { Redis } from 'ioredis';
import pg from 'pg';
import {
  createTransactionCoordinator,
  type Participant,
  type TransactionCoordinator,
} from 'tricord';
import {
  type PostgresBranchClient,
  postgresParticipant,
  postgresTransactions,
  setupSql,
} from 'tricord/postgres';
import { redisTransactions } from 'tricord/redis';
import type { PostgresHandle, ServerHandle } from '../../servers/provider.js';
import { median, quantile, spread } from '../lock/measure.js';
import { ms, percent, rate, ratio, type Table, us } from '../lock/report.js';

const CLIENTS = [1, 8, 32];

const FLOOR =
  '"By hand" is what two-phase commit costs at least: all `prepare transaction` in parallel, one durable write of the decision, all `commit prepared` in parallel, without recovery, time-outs or evidence. `last()` sends the last statement and `prepare transaction` in one message. "Not atomic" commits in parallel.';

const LIMIT =
  'The messages and forced writes are those of the floor, and fewer with `last()` ([What a transaction costs](transaction-costs.md)): what is above it is processor time of this process, for deadlines, signals, the state of the protocol, batches and promises, and with many clients its one thread is what they wait for. On a slower disk, or a network, the same time is a smaller share.';

export type Commit = (id: number, count: number) => Promise<unknown>;

/** What one contender did in all rounds. */
interface Score {
  readonly latencies: number[];
  readonly rates: number[];
  readonly medians: number[];
  /** Processor time of this process a transaction, in microseconds, round by round. */
  readonly cpuUs: number[];
}

/** The price of atomicity: transactions against the same SQL by hand, and against no atomicity. */
export async function price(
  { postgres, redis }: { readonly postgres: PostgresHandle; readonly redis: ServerHandle },
  options: { readonly count: number; readonly rounds: number; readonly roundMs: number },
): Promise<Table> {
  const { count } = options;
  const pools: pg.Pool[] = [];
  for (let index = 0; index < count; index += 1) {
    const connectionString = await postgres.createDatabase(`part${index}`);
    const pool = new pg.Pool({ connectionString, max: 34 });
    await pool.query('create table item (id bigserial primary key, number int)');
    pools.push(pool);
  }
  const logPool = new pg.Pool({ connectionString: await postgres.createDatabase('log'), max: 8 });
  await logPool.query(setupSql());
  await logPool.query('create table hand (id bigserial primary key, gid text)');
  const client = new Redis(redis.url);
  const participants = pools.map((pool, index) =>
    postgresParticipant({ name: `part${index}`, pool }),
  );
  const coordinators = {
    redis: createTransactionCoordinator({ log: redisTransactions({ client }), participants }),
    postgres: createTransactionCoordinator({
      log: postgresTransactions({ pool: logPool }),
      participants,
    }),
  };
  const contenders: Readonly<Record<string, Commit>> = {
    'tricord, Redis log': byTricord(coordinators.redis, participants),
    'tricord, Redis log, `last()`': byTricord(coordinators.redis, participants, 'last'),
    'by hand, Redis': byHand(pools, (gid) => client.hset('hand', gid, 'commit')),
    'tricord, PostgreSQL log': byTricord(coordinators.postgres, participants),
    'tricord, PostgreSQL log, `last()`': byTricord(coordinators.postgres, participants, 'last'),
    'by hand, PostgreSQL': byHand(pools, (gid) =>
      logPool.query('insert into hand (gid) values ($1)', [gid]),
    ),
    'not atomic': notAtomic(pools),
  };
  // A service is warm: before, its code is compiled in the background, at the cost of whoever is timed.
  for (const commit of Object.values(contenders))
    await rush(commit, count, 32, 4 * options.roundMs);
  const rows: string[][] = [];
  for (const clients of CLIENTS) {
    const scores = await compete(contenders, { ...options, clients });
    rows.push(...rowsOf(scores, clients));
  }
  await Promise.all(Object.values(coordinators).map((each) => each.close()));
  await Promise.all([...pools, logPool].map((pool) => pool.end()));
  client.disconnect();
  return {
    title: count === 1 ? 'One branch' : `The price of atomicity over ${count} branches`,
    method: `One row is inserted ${count === 1 ? 'in a database of a' : `in each of ${count} databases of one`} PostgreSQL server, with \`fsync\` on. ${count === 1 ? 'One branch commits in one phase: "by hand" is a plain `commit`.' : FLOOR} CPU is the processor time of this process a transaction. The last column is the median latency over that of the floor with the same store (and of the floor on Redis for "not atomic").`,
    columns: ['clients', '', 'p50', 'p99', 'tx/s', 'spread', 'CPU', '× by hand'],
    rows,
    notes: [LIMIT],
  };
}

function rowsOf(scores: ReadonlyMap<string, Score>, clients: number): string[][] {
  const floors: Readonly<Record<string, string>> = {
    'tricord, Redis log': 'by hand, Redis',
    'tricord, Redis log, `last()`': 'by hand, Redis',
    'tricord, PostgreSQL log': 'by hand, PostgreSQL',
    'tricord, PostgreSQL log, `last()`': 'by hand, PostgreSQL',
    'not atomic': 'by hand, Redis',
  };
  return Array.from(scores, ([name, { latencies, rates, medians, cpuUs }]) => {
    const floor = scores.get(floors[name] ?? '');
    const times = floor === undefined ? Number.NaN : median(medians) / median(floor.medians);
    return [
      String(clients),
      name,
      ms(quantile(latencies, 0.5)),
      ms(quantile(latencies, 0.99)),
      rate(median(rates)),
      percent(spread(medians)),
      us(median(cpuUs)),
      ratio(times),
    ];
  });
}

/** In turn, round after round; the first round of each only warms up. */
export async function compete(
  contenders: Readonly<Record<string, Commit>>,
  options: {
    readonly count: number;
    readonly clients: number;
    readonly rounds: number;
    readonly roundMs: number;
  },
): Promise<ReadonlyMap<string, Score>> {
  const { count, clients, rounds, roundMs } = options;
  const scores = new Map<string, Score>();
  for (let round = 0; round <= rounds; round += 1) {
    for (const [name, commit] of Object.entries(contenders)) {
      const before = process.cpuUsage();
      const latencies = await rush(commit, count, clients, round === 0 ? roundMs / 2 : roundMs);
      const { user, system } = process.cpuUsage(before);
      if (round === 0) continue;
      const score = scores.get(name) ?? { latencies: [], rates: [], medians: [], cpuUs: [] };
      scores.set(name, score);
      score.latencies.push(...latencies);
      score.rates.push((latencies.length / roundMs) * 1_000);
      score.medians.push(median(latencies));
      score.cpuUs.push((user + system) / latencies.length);
    }
  }
  return scores;
}

export async function rush(
  commit: Commit,
  count: number,
  clients: number,
  roundMs: number,
): Promise<number[]> {
  const latencies: number[] = [];
  const until = performance.now() + roundMs;
  const work = async (): Promise<void> => {
    while (performance.now() < until) {
      const startedAt = performance.now();
      await commit(latencies.length, count);
      latencies.push(performance.now() - startedAt);
    }
  };
  await Promise.all(Array.from({ length: clients }, work));
  return latencies;
}

const INSERT = 'insert into item (number) values ($1)';

function byTricord(
  coordinator: TransactionCoordinator,
  participants: readonly Participant<PostgresBranchClient<pg.Pool>>[],
  how: 'query' | 'last' = 'query',
): Commit {
  return (id, count) =>
    coordinator.commit({ resourceId: `item:${id}` }, async (tx) => {
      await Promise.all(
        participants.slice(0, count).map(async (participant) => {
          const database = await tx.enlist(participant);
          if (how === 'last') database.last(INSERT, [id]);
          else await database.query(INSERT, [id]);
        }),
      );
    });
}

function byHand(pools: readonly pg.Pool[], decide: (gid: string) => Promise<unknown>): Commit {
  let made = 0;
  const run = `hand-${process.pid}-${Math.random().toString(36).slice(2)}`;
  return async (id, count) => {
    made += 1;
    const gid = `${run}-${made}`;
    const clients = await begun(pools, id, count);
    if (count === 1) {
      await clients[0]?.query('commit');
    } else {
      await inAll(clients, (client, index) =>
        client.query(`prepare transaction '${gid}.${index}'`),
      );
      await decide(gid);
      await inAll(clients, (client, index) => client.query(`commit prepared '${gid}.${index}'`));
    }
    for (const client of clients) client.release();
  };
}

function notAtomic(pools: readonly pg.Pool[]): Commit {
  return async (id, count) => {
    const clients = await begun(pools, id, count);
    await inAll(clients, (client) => client.query('commit'));
    for (const client of clients) client.release();
  };
}

function begun(pools: readonly pg.Pool[], id: number, count: number): Promise<pg.PoolClient[]> {
  return Promise.all(
    pools.slice(0, count).map(async (pool) => {
      const client = await pool.connect();
      await client.query('begin');
      await client.query(INSERT, [id]);
      return client;
    }),
  );
}

function inAll(
  clients: readonly pg.PoolClient[],
  work: (client: pg.PoolClient, index: number) => Promise<unknown>,
): Promise<unknown> {
  return Promise.all(clients.map(work));
}
