// The decision log on Redis when replies are lost, the server is frozen, killed or misconfigured.

import assert from 'node:assert/strict';
import { type RedisOptions as ClientOptions, Redis } from 'ioredis';
import { type RedisTransactionsOptions, redisTransactions } from 'tricord/redis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { newIncarnation, newTransactionIds } from '../../src/core/ids.js';
import { systemRandom } from '../../src/core/random.js';
import type { CommitRecord, DecisionLogSession } from '../../src/transaction/decision-log.js';
import { eventually } from '../integration/postgres-stage.js';
import { type ServerHandle, startRedis } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

// `replyMapping: undefined` would select an overload of its own.
type RedisOptions = Omit<ClientOptions, 'replyMapping'>;

const refuses = (expected: string, work: Promise<unknown>) =>
  expect(work).rejects.toMatchObject({ code: expected });

interface Node {
  readonly client: Redis;
  readonly session: DecisionLogSession;
  readonly incarnation: string;
  record(): CommitRecord;
}

/** A coordinator's view of the log, with a registered incarnation. */
async function nodeAt(
  url: string,
  options: { redis?: RedisOptions; log?: Partial<RedisTransactionsOptions> } = {},
): Promise<Node> {
  const client = new Redis(url, options.redis ?? {});
  client.on('error', () => {});
  const log = redisTransactions({ client, replyTimeoutMs: 500, ...options.log });
  const [nodeId, namespace] = ['node-1', 'fault'];
  const session = log.open({ nodeId, namespace, clock: systemClock, random: systemRandom });
  onTestFinished(async () => {
    await session.close();
    client.disconnect();
  });
  const incarnation = newIncarnation();
  await session.register(incarnation);
  const newId = newTransactionIds({ namespace, authority: 'redis', incarnation });
  const record = (): CommitRecord => {
    const transactionId = newId('order:1', nodeId);
    const branches = [
      { participant: 'orders', branchId: `${transactionId}.1`, evidence: 'xid8:1' },
      { participant: 'stock', branchId: `${transactionId}.2`, evidence: 'xid8:2' },
    ];
    return { transactionId, resourceId: 'order:1', nodeId, branches };
  };
  return { client, session, incarnation, record };
}

/** Every way in which a service may have configured its client to wait and to send again. */
const CLIENTS: readonly (readonly [string, RedisOptions])[] = [
  ['default options', {}],
  ['no offline queue', { enableOfflineQueue: false }],
  ['no re-send after a reconnect', { autoResendUnfulfilledCommands: false }],
  ['one retry a request', { maxRetriesPerRequest: 1 }],
  ['endless retries', { maxRetriesPerRequest: null }],
  ['auto-pipelining', { enableAutoPipelining: true }],
];

describe('decisions on a Redis behind a bad network [redis]', () => {
  test.each(CLIENTS)(
    'a lost reply to decide is found out to be committed: %s',
    async (_, options) => {
      await using redis = await startRedis();
      await using proxy = await redis.proxy();
      const { session, incarnation, record } = await nodeAt(proxy.url, { redis: options });
      await session.decide(incarnation, record());
      const decided = record();
      const lost = proxy.cutAfterForward(decided.transactionId);
      const startedAt = performance.now();
      assert.equal(await session.decide(incarnation, decided), 'committed');
      measured(
        `a decision with a lost reply took ${(performance.now() - startedAt).toFixed(0)} ms`,
      );
      await lost;
      assert.equal((await session.unacknowledged(incarnation, 10)).length, 2, 'one record each');
    },
  );

  test('lost replies to register, fence, find and acknowledge are made up for', async () => {
    await using redis = await startRedis();
    await using proxy = await redis.proxy();
    const { session, incarnation, record } = await nodeAt(proxy.url);
    const decided = record();
    await session.decide(incarnation, decided);
    const { transactionId } = decided;
    const other = newIncarnation();
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
    await cut(`${other}}`, () => session.register(other));
    await cut(`${other}}`, () => session.fence(other));
    assert.equal(
      (await session.incarnations()).find((e) => e.incarnation === other)?.state,
      'fenced',
    );
  });

  test('a frozen Redis at decide is unknown by the deadline, and afterwards found committed', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const { session, incarnation, record } = await nodeAt(redis.url);
    const decided = record();
    await redis.pause();
    const startedAt = performance.now();
    const signal = AbortSignal.timeout(1_000);
    await refuses('RESULT_UNKNOWN', session.decide(incarnation, decided, { signal }));
    const tookMs = performance.now() - startedAt;
    measured(`a decision on a frozen Redis was unknown after ${tookMs.toFixed(0)} ms (bound 1000)`);
    assert.ok(tookMs < 1_300);
    await redis.resume();
    assert.equal(await session.decide(incarnation, decided), 'committed');
    assert.equal((await session.unacknowledged(incarnation, 10)).length, 1);
  });

  test('a decision that never left the client is refused for certain, and never appears', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const { client, session, incarnation, record } = await nodeAt(redis.url);
    const decided = record();
    await redis.kill();
    await eventually(() => client.status !== 'ready');
    await refuses('BACKEND_UNAVAILABLE', session.decide(incarnation, decided));
    await redis.restart();
    await eventually(() => client.status === 'ready');
    assert.equal(await session.find(decided.transactionId), undefined);
  });

  test('a full log that answered after a possible re-send is not taken for a refusal', async () => {
    await using redis = await startRedis();
    await using proxy = await redis.proxy();
    const log = { unacknowledgedMax: 1 };
    const { session, incarnation, record } = await nodeAt(proxy.url, { log });
    await session.decide(incarnation, record());
    const decided = record();
    const lost = proxy.cutAfterForward(decided.transactionId);
    const signal = AbortSignal.timeout(1_500);
    await refuses('RESULT_UNKNOWN', session.decide(incarnation, decided, { signal }));
    await lost;
  });
});

describe('decisions on a Redis that is killed [redis]', () => {
  test('with appendfsync always a decision survives SIGKILL, and so does the incarnation', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const { session, incarnation, record } = await nodeAt(redis.url);
    const [before, after] = [record(), record()];
    await session.decide(incarnation, before);
    await redis.kill();
    await redis.restart();
    assert.equal(await session.decide(incarnation, after), 'committed');
    const found = await session.unacknowledged(incarnation, 10);
    assert.deepEqual(
      found.map(({ transactionId }) => transactionId),
      [before.transactionId, after.transactionId],
    );
  });

  test('a Redis that forgot everything lets no old incarnation decide, and says so', async () => {
    await using redis = await startRedis();
    const log = { livenessTimeoutMs: 400 };
    const { session, incarnation, record } = await nodeAt(redis.url, { log });
    await redis.kill();
    await redis.restart();
    const startedAt = performance.now();
    const signal = session.fencedSignal(incarnation);
    await eventually(() => signal.aborted);
    measured(
      `a lost incarnation was noticed ${(performance.now() - startedAt).toFixed(0)} ms after the restart`,
    );
    expect(signal.reason).toMatchObject({ code: 'INCARNATION_FENCED' });
    assert.equal(await session.decide(incarnation, record()), 'fenced');
  });
});

describe('what the decision log keeps in Redis [redis]', () => {
  const keysOf = async (client: Redis) => (await client.keys('*')).sort();

  test('decisions of one tick travel in one command', async () => {
    await using redis = await startRedis();
    const { client, session, incarnation, record } = await nodeAt(redis.url);
    await session.decide(incarnation, record());
    const calls = async () =>
      Number(/cmdstat_evalsha:calls=(\d+)/.exec(await client.info('commandstats'))?.[1]);
    const before = await calls();
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => session.decide(incarnation, record())),
    );
    assert.equal((await calls()) - before, 1);
    assert.ok(answers.every((answer) => answer === 'committed'));
  });

  test('nothing has a time to live: a decision outlives every clock', async () => {
    await using redis = await startRedis();
    const { client, session, incarnation, record } = await nodeAt(redis.url);
    const [first, second] = [record(), record()];
    await session.decide(incarnation, first);
    await session.decide(incarnation, second);
    const { transactionId } = first;
    await session.acknowledge(
      ['orders', 'stock'].map((participant) => ({ transactionId, participant })),
    );
    await eventually(async () => (await session.unacknowledged(incarnation, 9)).length === 1);
    await session.fence(newIncarnation());
    const keys = await keysOf(client);
    assert.ok(keys.length >= 6, keys.join());
    for (const key of keys) assert.equal(await client.pttl(key), -1, key);
  });

  test('all keys of an incarnation are in one slot of a cluster', async () => {
    await using redis = await startRedis();
    const { client, session, incarnation, record } = await nodeAt(redis.url);
    await session.decide(incarnation, record());
    for (const key of await keysOf(client)) {
      assert.match(key, /^tricord:default:log:\{fault(:[\w-]{11})?\}:?\w*$/);
    }
  });

  test('acknowledged records go after their retention, and unacknowledged ones never', async () => {
    await using redis = await startRedis();
    const log = { recordRetainMs: 200 };
    const { client, session, incarnation, record } = await nodeAt(redis.url, { log });
    const [done, open] = [record(), record()];
    for (const each of [done, open]) await session.decide(incarnation, each);
    for (const participant of ['orders', 'stock']) {
      await session.acknowledge([{ transactionId: done.transactionId, participant }]);
    }
    await eventually(async () => (await session.unacknowledged(incarnation, 9)).length === 1);
    assert.ok(await session.find(done.transactionId), 'kept for its retention');
    await eventually(async () => {
      await session.prune();
      return (await session.find(done.transactionId)) === undefined;
    });
    assert.ok(await session.find(open.transactionId));
    // The rest of it goes with the last acknowledgement and the fence.
    for (const participant of ['orders', 'stock']) {
      await session.acknowledge([{ transactionId: open.transactionId, participant }]);
    }
    await session.fence(incarnation);
    await eventually(async () => {
      await session.prune();
      return (await keysOf(client)).join() === 'tricord:default:log:{fault}:active';
    });
    assert.equal(await session.decide(incarnation, record()), 'fenced');
  });

  test('data of a newer format is refused with UPGRADE_NEEDED, and not changed', async () => {
    await using redis = await startRedis();
    const { client, session, incarnation, record } = await nodeAt(redis.url);
    const decided = record();
    await session.decide(incarnation, decided);
    const [open] = (await keysOf(client)).filter((key) => key.endsWith(':open'));
    await client.hset(String(open), decided.transactionId, '2 whatever comes');
    await refuses('UPGRADE_NEEDED', session.find(decided.transactionId));
    await refuses('UPGRADE_NEEDED', session.unacknowledged(incarnation, 10));
    await client.hset(String(open).replace(':open', ''), 'format', '2');
    await refuses('UPGRADE_NEEDED', session.decide(incarnation, record()));
    await refuses('UPGRADE_NEEDED', session.register(incarnation));
    await refuses('UPGRADE_NEEDED', session.incarnations());
    assert.equal(await client.hlen(String(open)), 1);
  });

  test('the heartbeat is judged by the clock of the server, and a silent owner can be fenced', async () => {
    await using redis = await startRedis();
    const log = { livenessTimeoutMs: 600 };
    const owner = await nodeAt(redis.url, { log });
    const other = await nodeAt(redis.url, { log });
    const stateOf = async () =>
      (await other.session.incarnations()).find((e) => e.incarnation === owner.incarnation)?.state;
    // Longer than the time-out: heartbeats keep it live.
    const until = performance.now() + 1_200;
    await eventually(async () => {
      assert.equal(await stateOf(), 'live');
      return performance.now() > until;
    });
    owner.client.disconnect();
    await eventually(async () => (await stateOf()) === 'silent');
    await other.session.fence(owner.incarnation);
    await owner.client.connect();
    assert.equal(await owner.session.decide(owner.incarnation, owner.record()), 'fenced');
    assert.equal(owner.session.fencedSignal(owner.incarnation).aborted, true);
  });
});

describe('what a Redis promises as a decision log [redis]', () => {
  const guaranteesOf = async (options: Parameters<typeof startRedis>[0]) => {
    const redis: ServerHandle = await startRedis(options);
    onTestFinished(() => redis[Symbol.asyncDispose]());
    return (await nodeAt(redis.url)).session.guarantees();
  };

  test.each([
    ['always', 'power-loss'],
    ['everysec', 'process'],
    ['no', 'none'],
  ] as const)('appendonly file %s: decisions survive %s', async (appendonly, survives) => {
    const guarantees = await guaranteesOf({ appendonly });
    assert.equal(guarantees.survives, survives);
    assert.deepEqual(guarantees.refusals, []);
    if (survives !== 'power-loss') assert.ok(guarantees.warnings.length > 0);
  });

  test('a maxmemory-policy that evicts is refused by name, with what to set', async () => {
    const config = { 'maxmemory-policy': 'allkeys-lru' };
    const guarantees = await guaranteesOf({ appendonly: 'always', config });
    assert.equal(guarantees.survives, 'none');
    assert.match(
      String(guarantees.refusals),
      /maxmemory-policy = allkeys-lru.*set maxmemory-policy noeviction/,
    );
  });
});
