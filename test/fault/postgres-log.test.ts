// The decision log on PostgreSQL when replies are lost, connections cut, the server frozen, killed or
// misconfigured, and owners paused or killed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type pg from 'pg';
import {
  type PostgresPool,
  type PostgresTransactionsOptions,
  postgresTransactions,
  setupSql,
} from 'tricord/postgres';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { newIncarnation, newTransactionIds } from '../../src/core/ids.js';
import { seededRandom, systemRandom } from '../../src/core/random.js';
import { encodeDecision } from '../../src/drivers/postgres/decision-log-record.js';
import { logStatements } from '../../src/drivers/postgres/decision-log-statements.js';
import { logTables } from '../../src/drivers/postgres/setup-sql.js';
import type { CommitRecord, DecisionLogSession } from '../../src/transaction/decision-log.js';
import { eventually } from '../integration/postgres-stage.js';
import { type PostgresHandle, startPostgres } from '../servers/provider.js';
import { measured } from '../servers/shared.js';
import { type OrderDatabases, orderNode, poolOf } from './postgres-log-stage.js';

const NAMESPACE = 'fault';

const refuses = (expected: string, work: Promise<unknown>) =>
  expect(work).rejects.toMatchObject({ code: expected });

/** Makes records of an incarnation, registered or not. */
function recordsOf(incarnation: string): () => CommitRecord {
  const newId = newTransactionIds({ namespace: NAMESPACE, authority: 'pg', incarnation });
  return () => {
    const transactionId = newId('order:1', 'node-1');
    const branches = [
      { participant: 'orders', branchId: `${transactionId}.1`, evidence: 'xid8:1' },
      { participant: 'stock', branchId: `${transactionId}.2`, evidence: 'xid8:2' },
    ];
    return { transactionId, resourceId: 'order:1', nodeId: 'node-1', branches };
  };
}

/** A client that is closed afterwards. */
async function sessionOf(pool: pg.Pool): Promise<pg.PoolClient & AsyncDisposable> {
  const client = await pool.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: async () => client.release(true) });
}

/** Every call gets the same session, as behind a pooler. */
function oneConnection(pool: pg.Pool): PostgresPool {
  pool.options.max = 1;
  return pool;
}

interface Node {
  readonly pool: pg.Pool;
  readonly session: DecisionLogSession;
  /** Registers a fresh incarnation and answers it with the maker of its records. */
  register(): Promise<{ incarnation: string; record: () => CommitRecord }>;
}

/** A coordinator's view of the log. */
function nodeAt(
  url: string,
  options: Partial<PostgresTransactionsOptions> & { around?: (pool: pg.Pool) => PostgresPool } = {},
): Node {
  const { around, ...rest } = options;
  const pool = poolOf(url);
  const log = postgresTransactions({
    pool: around?.(pool) ?? pool,
    replyTimeoutMs: 500,
    ...rest,
  });
  const session = log.open({
    nodeId: 'node-1',
    namespace: NAMESPACE,
    clock: systemClock,
    random: systemRandom,
  });
  onTestFinished(async () => {
    await session.close();
    await pool.end();
  });
  return {
    pool,
    session,
    async register() {
      const incarnation = newIncarnation();
      await session.register(incarnation);
      return { incarnation, record: recordsOf(incarnation) };
    },
  };
}

async function logDatabase(server: PostgresHandle): Promise<string> {
  const url = await server.createDatabase('log');
  const pool = poolOf(url, 1);
  await pool.query(setupSql());
  await pool.end();
  return url;
}

/** The same database through a proxy of its server. */
function through(url: string, { port }: { readonly port: number }): string {
  const other = new URL(url);
  other.port = String(port);
  return other.href;
}

describe('a decision log on PostgreSQL [postgresql]', () => {
  let server: PostgresHandle;
  let url: string;
  let admin: pg.Pool;
  beforeAll(async () => {
    server = await startPostgres();
    url = await logDatabase(server);
    admin = poolOf(url);
  });
  afterAll(async () => {
    await admin?.end();
    await server?.[Symbol.asyncDispose]();
  });
  const countOf = async (incarnation: string) => {
    const { rows } = await admin.query(
      'select count(*)::int as n from tricord.decisions where incarnation = $1',
      [incarnation],
    );
    return rows[0].n as number;
  };

  describe('behind a bad network', () => {
    test('a lost reply to decide is found out to be committed', async () => {
      await using proxy = await server.proxy();
      const { session, register } = nodeAt(through(url, proxy));
      const { incarnation, record } = await register();
      const decided = record();
      const lost = proxy.cutAfterForward(decided.transactionId);
      const startedAt = performance.now();
      assert.equal(await session.decide(incarnation, decided), 'committed');
      const tookMs = (performance.now() - startedAt).toFixed(0);
      measured(`a decision with a lost reply took ${tookMs} ms`);
      await lost;
      assert.equal(await countOf(incarnation), 1);
    });

    test('a lost reply to decide is committed also when the owner was fenced before it asked again', async () => {
      await using proxy = await server.proxy();
      const [owner, recoverer] = [nodeAt(through(url, proxy)), nodeAt(url)];
      const { incarnation, record } = await owner.register();
      const decided = record();
      const lost = proxy.cutAfterForward(decided.transactionId);
      const answer = owner.session.decide(incarnation, decided);
      await lost;
      proxy.refuse();
      await recoverer.session.fence(incarnation);
      assert.ok(await recoverer.session.find(decided.transactionId));
      await proxy.pass();
      // Nothing listened meanwhile, but a message had been sent: that is not a refusal.
      assert.equal(await answer, 'committed');
    });

    test('a lost reply to decide is unknown when the record was finished and forgotten meanwhile', async () => {
      await using proxy = await server.proxy();
      const [owner, recoverer] = [nodeAt(through(url, proxy)), nodeAt(url)];
      const { incarnation, record } = await owner.register();
      const decided = record();
      const lost = proxy.cutAfterForward(decided.transactionId);
      const answer = assert.rejects(owner.session.decide(incarnation, decided), {
        code: 'RESULT_UNKNOWN',
        message: /decide/,
      });
      await lost;
      proxy.refuse();
      await recoverer.session.fence(incarnation);
      await admin.query('delete from tricord.decisions where incarnation = $1', [incarnation]);
      await proxy.pass();
      await answer;
      assert.equal(await owner.session.decide(incarnation, decided), 'fenced');
    });

    test('a lost reply to fence is made up for, and to register, find and acknowledge', async () => {
      await using proxy = await server.proxy();
      const { session, register } = nodeAt(through(url, proxy));
      const { incarnation, record } = await register();
      const decided = record();
      await session.decide(incarnation, decided);
      const { transactionId } = decided;
      const cut = async (needle: string, call: () => Promise<unknown>) => {
        const lost = proxy.cutAfterForward(needle);
        const [answer] = await Promise.all([call(), lost]);
        return answer;
      };
      const found = await cut(transactionId, () => session.find(transactionId));
      expect(found).toMatchObject({ transactionId, unacknowledged: ['orders', 'stock'] });
      const acks = ['orders', 'stock'].map((participant) => ({ transactionId, participant }));
      await cut(transactionId, () => session.acknowledge(acks));
      await eventually(async () => (await session.unacknowledged(incarnation, 1)).length === 0);
      const other = newIncarnation();
      await cut(other, () => session.register(other));
      await cut(other, () => session.fence(other));
      const statuses = await session.incarnations();
      assert.equal(statuses.find((each) => each.incarnation === other)?.state, 'fenced');
    });

    test('a full log that answers after a lost reply is not taken for a refusal', async () => {
      await using proxy = await server.proxy();
      const { session, register } = nodeAt(through(url, proxy), { unacknowledgedMax: 1 });
      const { incarnation, record } = await register();
      await session.decide(incarnation, record());
      const decided = record();
      const lost = proxy.cutAfterForward(decided.transactionId);
      const signal = AbortSignal.timeout(1_000);
      await refuses('RESULT_UNKNOWN', session.decide(incarnation, decided, { signal }));
      await lost;
    });

    test('a paused owner that wakes after a fence is refused, and learns of it', async () => {
      await using proxy = await server.proxy();
      const options = { livenessTimeoutMs: 400, replyTimeoutMs: 5_000 };
      const [owner, recoverer] = [nodeAt(through(url, proxy), options), nodeAt(url, options)];
      const { incarnation, record } = await owner.register();
      const decided = record();
      proxy.freeze();
      const late = owner.session.decide(incarnation, decided);
      await eventually(async () => {
        const statuses = await recoverer.session.incarnations();
        return statuses.find((each) => each.incarnation === incarnation)?.state === 'silent';
      });
      await recoverer.session.fence(incarnation);
      assert.equal(await recoverer.session.find(decided.transactionId), undefined);
      proxy.thaw();
      assert.equal(await late, 'fenced');
      assert.equal(await countOf(incarnation), 0);
      const signal = owner.session.fencedSignal(incarnation);
      assert.equal(signal.aborted, true);
      expect(signal.reason).toMatchObject({ code: 'INCARNATION_FENCED' });
    });

    test('an owner that decides nothing learns of its fence by its heartbeat', async () => {
      const { session, register } = nodeAt(url, { livenessTimeoutMs: 400 });
      const { incarnation } = await register();
      await session.fence(incarnation);
      await eventually(() => session.fencedSignal(incarnation).aborted);
    });
  });

  describe('when a decision and a fence meet', () => {
    test('of 500 races none ends committed without a record, or fenced with one', async () => {
      const seed = Number(process.env.SEED ?? 20_262);
      const random = seededRandom(seed);
      const [owner, recoverer] = [nodeAt(url), nodeAt(url)];
      const count = { committed: 0, fenced: 0 };
      const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
      const race = async (decideMs: number, fenceMs: number): Promise<void> => {
        const { incarnation, record } = await owner.register();
        const contested = record();
        const decide = async () => {
          await later(decideMs);
          return owner.session.decide(incarnation, contested);
        };
        const recover = async () => {
          await later(fenceMs);
          await recoverer.session.fence(incarnation);
          return (await recoverer.session.find(contested.transactionId)) !== undefined;
        };
        const [answer, isFound] = await Promise.all([decide(), recover()]);
        assert.equal(answer, isFound ? 'committed' : 'fenced', `SEED=${seed}`);
        assert.equal(await owner.session.decide(incarnation, contested), answer, `SEED=${seed}`);
        count[answer] += 1;
      };
      for (let round = 0; round < 100; round += 1) {
        const delays = Array.from({ length: 10 }, () => random.fraction() * 6);
        await Promise.all([0, 2, 4, 6, 8].map((at) => race(delays[at] ?? 0, delays[at + 1] ?? 0)));
      }
      measured(`SEED=${seed}: 500 races, ${count.committed} committed and ${count.fenced} fenced`);
      assert.ok(count.committed > 20 && count.fenced > 20, JSON.stringify(count));
    });

    test('a fence waits for a decision in work, and finds its record', async () => {
      const { session, register } = nodeAt(url, { replyTimeoutMs: 5_000 });
      const { incarnation, record } = await register();
      const decided = record();
      // The decision is held up after it took the incarnation's row: its key is being inserted.
      const rival = await admin.connect();
      await rival.query('begin');
      await rival.query(
        `insert into tricord.decisions values ($1, $2, 'rival', 1, '{}', '{}', now())`,
        [NAMESPACE, decided.transactionId],
      );
      const answer = session.decide(incarnation, decided);
      const waiting = async (count: number) => {
        const { rows } = await admin.query(
          "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
        );
        return rows.length === count;
      };
      await eventually(() => waiting(1));
      const fenced = session.fence(incarnation);
      await eventually(() => waiting(2));
      await rival.query('rollback');
      rival.release();
      await fenced;
      assert.ok(await session.find(decided.transactionId), 'no fence overtakes a decision');
      assert.equal(await answer, 'committed');
    });

    test('a decision that waited for its own earlier copy and a fence is committed', async () => {
      const { session, register } = nodeAt(url, { replyTimeoutMs: 5_000 });
      const { incarnation, record } = await register();
      const decided = record();
      // The earlier copy commits, and a fence with it, while the message waits for the row.
      const earlier = await admin.connect();
      await earlier.query('begin');
      await earlier.query(
        'update tricord.incarnations set fenced_at = now() where incarnation = $1',
        [incarnation],
      );
      const answer = session.decide(incarnation, decided);
      await eventually(async () => {
        const { rows } = await admin.query(
          "select 1 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
        );
        return rows.length === 1;
      });
      await earlier.query(
        `insert into tricord.decisions values ($1, $2, $3, 1, '{}', '{orders}', now())`,
        [NAMESPACE, decided.transactionId, incarnation],
      );
      await earlier.query('commit');
      earlier.release();
      assert.equal(await answer, 'committed');
    });

    test('a row that others hold locked is waited for, and unknown by the deadline', async () => {
      const { session, pool, register } = nodeAt(url);
      const { incarnation, record } = await register();
      const holder = await admin.connect();
      await holder.query('begin');
      await holder.query('select 1 from tricord.incarnations where incarnation = $1 for update', [
        incarnation,
      ]);
      const decided = record();
      const signal = AbortSignal.timeout(1_500);
      const startedAt = performance.now();
      await refuses('RESULT_UNKNOWN', session.decide(incarnation, decided, { signal }));
      assert.ok(performance.now() - startedAt < 2_000);
      const released = session.decide(incarnation, decided);
      await holder.query('rollback');
      holder.release();
      assert.equal(await released, 'committed');
      // What timed out was closed, here and in the server.
      const { rows } = await admin.query(
        "select 1 from pg_stat_activity where state like 'idle in%' and datname = current_database()",
      );
      assert.deepEqual(rows, []);
      assert.equal(pool.waitingCount, 0);
    });
  });

  describe('with its tables', () => {
    const emptied = async (): Promise<string> => server.createDatabase('log');
    const run = async (database: string, ...texts: string[]) => {
      const pool = poolOf(database, 4);
      await Promise.all(texts.map((text) => pool.query(text)));
      await pool.end();
    };

    test('missing tables are refused with the remedy, and none are created', async () => {
      const database = await emptied();
      const { session, pool } = nodeAt(database);
      const incarnation = newIncarnation();
      const record = recordsOf(incarnation);
      const failure = { code: 'BACKEND_UNSUPPORTED', message: expect.stringContaining('setupSql') };
      await expect(session.guarantees()).rejects.toMatchObject(failure);
      await expect(session.register(incarnation)).rejects.toMatchObject(failure);
      await refuses('BACKEND_UNAVAILABLE', session.decide(incarnation, record()));
      const { rows } = await pool.query("select 1 from pg_namespace where nspname = 'tricord'");
      assert.deepEqual(rows, []);
    });

    test('a setup may run again, and many at a time', async () => {
      const database = await emptied();
      await run(database, setupSql(), setupSql(), setupSql(), setupSql());
      const { session, register } = nodeAt(database);
      const { incarnation, record } = await register();
      const decided = record();
      await session.decide(incarnation, decided);
      await run(database, setupSql());
      assert.ok(await session.find(decided.transactionId));
    });

    test('tables of a newer release are refused with UPGRADE_NEEDED, and left alone by setup', async () => {
      const database = await emptied();
      await run(database, setupSql());
      await run(database, 'update tricord.versions set version = 3');
      await run(database, setupSql());
      const { session } = nodeAt(database);
      await refuses('UPGRADE_NEEDED', session.register(newIncarnation()));
      await refuses('UPGRADE_NEEDED', session.guarantees());
    });

    test('a record of a newer format is refused with UPGRADE_NEEDED', async () => {
      const { session, register } = nodeAt(url);
      const { incarnation, record } = await register();
      const decided = record();
      await session.decide(incarnation, decided);
      await admin.query('update tricord.decisions set format = 2 where incarnation = $1', [
        incarnation,
      ]);
      await refuses('UPGRADE_NEEDED', session.find(decided.transactionId));
      await refuses('UPGRADE_NEEDED', session.unacknowledged(incarnation, 10));
    });

    test('the documented grants are enough, and without them the role is told', async () => {
      const database = await emptied();
      const role = `service_${systemRandom.token(6).replaceAll('-', '_').toLowerCase()}`;
      await run(database, `${setupSql()}; create role ${role} login password 'not-a-secret'`);
      const address = new URL(database);
      address.username = role;
      address.password = 'not-a-secret';
      const { session, register } = nodeAt(address.href);
      await refuses('BACKEND_UNSUPPORTED', session.register(newIncarnation()));
      await run(
        database,
        `grant usage on schema tricord to ${role}; grant select on tricord.versions to ${role};
        grant select, insert, update, delete on tricord.incarnations, tricord.heartbeats,
        tricord.decisions, tricord.keys to ${role}`,
      );
      const { incarnation, record } = await register();
      const decided = record();
      assert.equal(await session.decide(incarnation, decided), 'committed');
      const { transactionId } = decided;
      await session.acknowledge([{ transactionId, participant: 'orders' }]);
      await eventually(async () => {
        const [found] = await session.unacknowledged(incarnation, 1);
        return found?.unacknowledged.join() === 'stock';
      });
      await session.fence(incarnation);
      await session.prune();
      assert.equal((await session.guarantees()).survives, 'power-loss');
    });

    test('acknowledged records go after their retention, and unacknowledged ones never', async () => {
      const { session, register } = nodeAt(url, { recordRetainMs: 200 });
      const { incarnation, record } = await register();
      const [done, open] = [record(), record()];
      for (const each of [open, done]) await session.decide(incarnation, each);
      const acknowledge = ({ transactionId }: CommitRecord) =>
        session.acknowledge(
          ['orders', 'stock'].map((participant) => ({ transactionId, participant })),
        );
      await acknowledge(done);
      await eventually(async () => (await session.unacknowledged(incarnation, 9)).length === 1);
      assert.ok(await session.find(done.transactionId), 'kept for its retention');
      await eventually(async () => {
        await session.prune();
        return (await session.find(done.transactionId)) === undefined;
      });
      assert.ok(await session.find(open.transactionId));
      await acknowledge(open);
      await session.fence(incarnation);
      await eventually(async () => {
        await session.prune();
        const { rows } = await admin.query(
          `select incarnation from tricord.incarnations where incarnation = $1
          union all select incarnation from tricord.decisions where incarnation = $1
          union all select incarnation from tricord.heartbeats where incarnation = $1`,
          [incarnation],
        );
        return rows.length === 0;
      });
      assert.equal(await session.decide(incarnation, record()), 'fenced');
    });
  });

  describe('through its pool', () => {
    test('decisions of one tick travel in one message, and two messages at most are under way', async () => {
      const sent: string[] = [];
      let underWay = 0;
      let most = 0;
      const around = (pool: pg.Pool): PostgresPool => ({
        query: pool.query,
        connect: async () => {
          const client = await pool.connect();
          return new Proxy(client, {
            get(target, name) {
              if (name !== 'query') {
                const value = Reflect.get(target, name);
                return typeof value === 'function' ? value.bind(target) : value;
              }
              return async (text: string) => {
                if (!text.includes('for share')) return target.query(text);
                sent.push(text);
                underWay += 1;
                most = Math.max(most, underWay);
                return target.query(text).finally(() => {
                  underWay -= 1;
                });
              };
            },
          });
        },
      });
      const { session, register } = nodeAt(url, { around });
      const { incarnation, record } = await register();
      const decideMany = (count: number) =>
        Promise.all(Array.from({ length: count }, () => session.decide(incarnation, record())));
      const answers = await decideMany(50);
      assert.deepEqual(new Set(answers), new Set(['committed']));
      assert.equal(sent.length, 1);
      await Promise.all(
        Array.from({ length: 20 }, async (_, turn) => {
          for (let waits = 0; waits < turn; waits += 1) await Promise.resolve();
          return decideMany(30);
        }),
      );
      assert.equal(most, 2);
      assert.ok(sent.length < 15, `${sent.length} messages`);
      assert.equal(await countOf(incarnation), 650);
    });

    test('a decision reads few rows, however many records are kept', async () => {
      const node = nodeAt(url);
      const { incarnation, record } = await node.register();
      const some = Array.from({ length: 300 }, record);
      await Promise.all(some.map((each) => node.session.decide(incarnation, each)));
      const acknowledgements = some.flatMap(({ transactionId, branches }) =>
        branches.map(({ participant }) => ({ transactionId, participant })),
      );
      await node.session.acknowledge(acknowledgements);
      const { decide, blockers } = logStatements(logTables('tricord'), NAMESPACE);
      await eventually(async () => {
        const { rows } = await admin.query(blockers(incarnation).statements.join(';'));
        return rows.length === 0;
      });
      const message = decide(incarnation, 1_000, [encodeDecision(record())]);
      const { declarations = [], statements = [] } = message.prepared ?? {};
      await using client = await sessionOf(admin);
      await client.query(declarations.join(';'));
      for (const statement of [...message.statements, ...statements]) {
        await client.query("begin; set local plan_cache_mode = 'force_generic_plan'");
        const { rows } = await client.query(`explain (analyze, format json) ${statement}`);
        await client.query('rollback');
        const read = Array.from(JSON.stringify(rows).matchAll(/"Actual Rows":(\d+)/g));
        expect(Math.max(...read.map(([, count]) => Number(count)))).toBeLessThan(100);
      }
    });

    test('a session that forgets its plans, or has them from somebody else, decides all the same', async () => {
      for (const trouble of ['deallocate all', 'prepare']) {
        const node = nodeAt(url, { around: oneConnection });
        const { incarnation, record } = await node.register();
        const decide = (): Promise<string> => node.session.decide(incarnation, record());
        if (trouble === 'prepare') {
          const { prepared } = logStatements(logTables('tricord'), NAMESPACE).decide('', 1, []);
          await node.pool.query((prepared?.declarations ?? []).join(';'));
        } else {
          expect(await decide()).toBe('committed');
          await node.pool.query(trouble);
        }
        expect([await decide(), await decide()]).toEqual(['committed', 'committed']);
      }
    });

    test('a connection that someone left inside a transaction decides nothing', async () => {
      let left = 0;
      const around = (pool: pg.Pool): PostgresPool => ({
        query: pool.query,
        connect: async () => {
          const client = await pool.connect();
          if (left > 0) {
            left -= 1;
            await client.query('begin');
          }
          return client;
        },
      });
      const { session, register } = nodeAt(url, { around });
      const { incarnation, record } = await register();
      left = 1;
      assert.equal(await session.decide(incarnation, record()), 'committed');
      assert.equal(await countOf(incarnation), 1, 'committed is durable, not open');
      assert.equal(left, 0);
    });

    test('arguments are refused before anything is sent', async () => {
      const pool = poolOf(url, 1);
      onTestFinished(() => pool.end());
      const invalid: Partial<PostgresTransactionsOptions>[] = [
        { schema: 'a"b' },
        { schema: 'pg_own' },
        { authority: 'far too long' },
        { unacknowledgedMax: 0 },
        { livenessTimeoutMs: 1 },
        { replyTimeoutMs: Number.POSITIVE_INFINITY },
      ];
      for (const each of invalid) {
        const call = () => postgresTransactions({ pool, ...each });
        expect(call, JSON.stringify(each)).toThrow(
          expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
        );
      }
      expect(() => setupSql({ schema: 'a;b' })).toThrow(TypeError);
      assert.equal(pool.totalCount, 0);
    });
  });
});

describe('a decision log on a PostgreSQL that fails [postgresql]', () => {
  test('a frozen server at decide is unknown by the deadline, and afterwards found committed', async () => {
    await using server = await startPostgres();
    const { session, register } = nodeAt(await logDatabase(server));
    const { incarnation, record } = await register();
    const decided = record();
    await server.pause();
    const startedAt = performance.now();
    const signal = AbortSignal.timeout(1_000);
    await refuses('RESULT_UNKNOWN', session.decide(incarnation, decided, { signal }));
    const tookMs = performance.now() - startedAt;
    measured(
      `a decision on a frozen PostgreSQL was unknown after ${tookMs.toFixed(0)} ms (bound 1000)`,
    );
    assert.ok(tookMs < 1_400);
    await server.resume();
    assert.equal(await session.decide(incarnation, decided), 'committed');
    assert.equal((await session.unacknowledged(incarnation, 10)).length, 1);
  });

  test('an acknowledged decision survives SIGKILL of the server, whatever its sessions prefer', async () => {
    // Nobody writes the log of an asynchronous commit for ten seconds: only those waited for are there.
    const config = { synchronous_commit: 'off', wal_writer_delay: '10s' };
    await using server = await startPostgres({ config });
    const { session, pool, register } = nodeAt(await logDatabase(server));
    const { incarnation, record } = await register();
    const [before, after, late] = [record(), record(), record()];
    await session.decide(incarnation, before);
    await server.kill();
    await eventually(() => pool.idleCount === 0);
    await refuses('BACKEND_UNAVAILABLE', session.decide(incarnation, late));
    await server.restart();
    assert.ok(await session.find(before.transactionId), 'an acknowledged decision is there');
    assert.equal(await session.find(late.transactionId), undefined, 'a refused one is not');
    assert.equal(await session.decide(incarnation, after), 'committed');
    const fenced = newIncarnation();
    await session.fence(fenced);
    await server.kill();
    await server.restart();
    await eventually(() => pool.idleCount === 0);
    await refuses('INCARNATION_FENCED', session.register(fenced));
  });

  test('guarantees are read from the server: unsafe settings are refused, a standby at once', async () => {
    const config = { fsync: 'off', full_page_writes: 'off' };
    await using server = await startPostgres({ config });
    const { session, pool, register } = nodeAt(await logDatabase(server));
    const given = await session.guarantees();
    assert.equal(given.survives, 'process');
    expect(given.refusals?.join()).toMatch(/fsync = off.*set fsync = on.*full_page_writes = off/);
    const { incarnation, record } = await register();
    const decided = record();
    await session.decide(incarnation, decided);
    await pool.query("copy (select 1) to program 'touch standby.signal'");
    await server.restart();
    await eventually(() => pool.idleCount === 0);
    for (const call of [
      () => session.guarantees(),
      () => session.find(decided.transactionId),
      () => session.fence(incarnation),
    ]) {
      const message = expect.stringContaining('primary');
      await expect(call()).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED', message });
    }
    await refuses('BACKEND_UNAVAILABLE', session.decide(incarnation, record()));
  });

  test('only a synchronous standby makes decisions survive a fail-over', async () => {
    await using server = await startPostgres();
    const { session, pool } = nodeAt(await logDatabase(server));
    const alone = await session.guarantees();
    assert.equal(alone.survives, 'power-loss');
    assert.deepEqual(alone.refusals, []);
    expect(alone.warnings.join()).toContain('synchronous_standby_names');
    await pool.query("alter system set synchronous_standby_names = 'ANY 1 (*)'");
    await pool.query('select pg_reload_conf()');
    await eventually(async () => (await session.guarantees()).survives === 'failover');
  });
});

describe('a coordinator with its decisions in PostgreSQL that is killed [postgresql]', () => {
  const OWNER = fileURLToPath(new URL('./postgres-log-process.ts', import.meta.url));
  const ROUNDS = 4;

  test('killed at random moments under load: every order is in both databases or in none', async () => {
    const seed = Number(process.env.SEED ?? 20_263);
    const random = seededRandom(seed);
    await using server = await startPostgres();
    const databases: OrderDatabases = {
      logUrl: await logDatabase(server),
      ordersUrl: await server.createDatabase('orders'),
      paymentsUrl: await server.createDatabase('payments'),
    };
    const pools = [poolOf(databases.ordersUrl, 2), poolOf(databases.paymentsUrl, 2)] as const;
    onTestFinished(async () => {
      await Promise.all(pools.map((pool) => pool.end()));
    });
    for (const pool of pools) await pool.query('create table placed (id int primary key)');
    await using recoverer = orderNode(databases);
    const committed = new Set<number>();
    let left = 0;
    const preparedCount = async () =>
      (await pools[0].query('select 1 from pg_prepared_xacts')).rowCount ?? 0;
    for (let round = 1; round <= ROUNDS; round += 1) {
      const config = JSON.stringify({ ...databases, id: round * 100_000 });
      const child = spawn(process.execPath, ['--import', 'tsx', OWNER, config], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(child, 'exit');
      let written = '';
      child.stdout.on('data', (chunk) => {
        written += chunk;
      });
      await eventually(() => written.split('\n').length > 8, 30_000);
      await new Promise((resolve) => setTimeout(resolve, random.fraction() * 50));
      child.kill('SIGKILL');
      await exited;
      left += await preparedCount();
      for (const [, id] of written.matchAll(/committed (\d+)\n/g)) committed.add(Number(id));
      const outcome = await recoverer.place(round);
      assert.equal(outcome.state, 'committed');
      committed.add(round);
    }
    await eventually(async () => (await preparedCount()) === 0, 20_000);
    measured(
      `SEED=${seed}: ${ROUNDS} kills left ${left} branches prepared, ${committed.size} orders committed`,
    );
    const [orders, payments] = await Promise.all(
      pools.map(async (pool) => {
        const { rows } = await pool.query<{ id: number }>('select id from placed order by id');
        return rows.map(({ id }) => id);
      }),
    );
    assert.deepEqual(orders, payments);
    const found = new Set(orders);
    assert.deepEqual(
      [...committed].filter((id) => !found.has(id)),
      [],
      'what was told committed is there',
    );
  });
});
