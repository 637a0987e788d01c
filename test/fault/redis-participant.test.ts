// The Redis participant when replies are lost, the server is frozen, killed, full or misconfigured,
// and when the process of a prepared branch dies.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type RedisOptions as ClientOptions, Redis } from 'ioredis';
import { createTransactionCoordinator, newTransactionId } from 'tricord';
import { memoryTransactions } from 'tricord/memory';
import { type RedisBranch, type RedisParticipantOptions, redisParticipant } from 'tricord/redis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import type { Branch, BranchRecord, Participant } from '../../src/transaction/participant.js';
import { eventually } from '../integration/postgres-stage.js';
import { startRedis } from '../servers/provider.js';
import { measured } from '../servers/shared.js';
import { type OwnerConfig, shopAt } from './redis-participant-owner.js';

// `replyMapping: undefined` would select an overload of its own.
type RedisOptions = Omit<ClientOptions, 'replyMapping'>;

const refuses = (expected: string, work: Promise<unknown>) =>
  expect(work).rejects.toMatchObject({ code: expected });

interface Shop {
  readonly client: Redis;
  readonly participant: Participant<RedisBranch>;
  begin(): Promise<{ readonly branch: Branch<RedisBranch>; readonly record: BranchRecord }>;
}

function shopOn(
  url: string,
  options: { redis?: RedisOptions; shop?: Partial<RedisParticipantOptions> } = {},
): Shop {
  const client = new Redis(url, options.redis ?? {});
  client.on('error', () => {});
  const shop = { name: 'shop', replyTimeoutMs: 500, ...options.shop };
  const participant = redisParticipant({ client, ...shop });
  onTestFinished(async () => {
    await participant.close();
    client.disconnect();
  });
  return {
    client,
    participant,
    async begin() {
      const transactionId = newTransactionId('order:1', 'fault');
      const branchId = `${transactionId}.1`;
      const { signal } = new AbortController();
      const context = { transactionId, branchId, timeoutMs: 10_000, signal, clock: systemClock };
      return {
        branch: await participant.enlist(context),
        record: { branchId, evidence: '' },
      };
    },
  };
}

/** Every way in which a service may have configured its client to wait and to send again. */
const CLIENTS: readonly (readonly [string, RedisOptions])[] = [
  ['default options', {}],
  ['no offline queue', { enableOfflineQueue: false }],
  ['no re-send after a reconnect', { autoResendUnfulfilledCommands: false }],
  ['auto-pipelining', { enableAutoPipelining: true }],
];

describe('a Redis participant behind a bad network [redis]', () => {
  test.each(CLIENTS)(
    'lost replies to prepare, commit, abort and one-phase commit are made up for: %s',
    async (_, options) => {
      await using redis = await startRedis();
      await using proxy = await redis.proxy();
      const direct = shopOn(redis.url);
      const { begin } = shopOn(proxy.url, { redis: options });
      await direct.client.set('sku', '10');
      const cut = async <T>({ branchId }: BranchRecord, call: () => Promise<T>): Promise<T> => {
        const lost = proxy.cutAfterForward(branchId);
        const [answer] = await Promise.all([call(), lost]);
        return answer;
      };
      const committed = await begin();
      await committed.branch.handle.reserve('sku', 3);
      const vote = await cut(committed.record, () => committed.branch.prepare());
      assert.equal(vote.vote, 'yes');
      assert.equal(await direct.client.get('sku'), '7', 'taken once');
      await cut(committed.record, () => committed.branch.commit());
      const aborted = await begin();
      await aborted.branch.handle.reserve('sku', 2);
      await aborted.branch.prepare();
      await cut(aborted.record, () => aborted.branch.abort());
      assert.equal(await direct.client.get('sku'), '7', 'returned once');
      const alone = await begin();
      await alone.branch.handle.reserve('sku', 1);
      const outcome = await cut(alone.record, async () => alone.branch.commitOnePhase?.());
      assert.deepEqual(outcome, { state: 'committed' });
      assert.equal(await direct.client.get('sku'), '6', 'taken once in one phase');
      assert.equal(await direct.participant.outcome(alone.record), 'committed');
    },
  );

  test('a prepare on a frozen Redis is unknown by the deadline; its abort decides', async () => {
    await using redis = await startRedis();
    const { client, participant, begin } = shopOn(redis.url);
    await client.set('sku', '10');
    const { branch, record } = await begin();
    await branch.handle.reserve('sku', 3);
    await redis.pause();
    const startedMs = performance.now();
    const reason = new Error('the transaction is over');
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 700);
    await assert.rejects(branch.prepare({ signal: controller.signal }), reason);
    const tookMs = performance.now() - startedMs;
    measured(`a prepare on a frozen Redis ended after ${tookMs.toFixed(0)} ms (bound 700)`);
    assert.ok(tookMs < 1_200);
    await redis.resume();
    await branch.abort();
    await participant.abort(record);
    // What was sent before the freeze has been answered by now; late copies are refused.
    assert.equal(await client.get('sku'), '10');
    assert.deepEqual(await participant.recover(), []);
    assert.equal((await branch.prepare()).vote, 'no');
  });

  test('a one-phase commit without an answer is unknown, and evidence tells the truth', async () => {
    await using redis = await startRedis();
    const { client, participant, begin } = shopOn(redis.url);
    const { branch, record } = await begin();
    await branch.handle.set('order', 'placed');
    // Connected, so that the request leaves.
    await client.ping();
    await redis.pause();
    const outcome = await branch.commitOnePhase?.({ signal: AbortSignal.timeout(600) });
    assert.equal(outcome?.state, 'unknown');
    await redis.resume();
    await eventually(async () => (await participant.outcome(record)) !== 'unknown');
    assert.equal(await participant.outcome(record), 'committed');
    assert.equal(await client.get('order'), 'placed');
  });

  test('a one-phase commit that never left the client is aborted for certain', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const { client, begin } = shopOn(redis.url);
    const { branch } = await begin();
    await branch.handle.set('order', 'placed');
    await redis.kill();
    await eventually(() => client.status !== 'ready');
    const outcome = await branch.commitOnePhase?.();
    assert.equal(outcome?.state, 'aborted');
    await redis.restart();
    await eventually(() => client.status === 'ready');
    assert.equal(await client.get('order'), null);
  });
});

describe('a Redis participant whose server or owner dies [redis]', () => {
  test('with appendfsync always a prepared branch survives SIGKILL of the server', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const { client, participant, begin } = shopOn(redis.url);
    await client.set('sku', '10');
    const { branch, record } = await begin();
    await branch.handle.reserve('sku', 3);
    await branch.prepare();
    await redis.kill();
    await redis.restart();
    await eventually(() => client.status === 'ready');
    assert.equal((await participant.recover()).length, 1);
    await participant.commit(record);
    assert.equal(await client.get('sku'), '7');
  });

  test('a Redis that forgot a prepared branch answers its commit with unknown, never with ok', async () => {
    await using redis = await startRedis();
    const { client, participant, begin } = shopOn(redis.url);
    const { branch, record } = await begin();
    await branch.handle.set('order', 'placed');
    await branch.prepare();
    await client.flushall();
    await refuses('RESULT_UNKNOWN', branch.commit());
    await refuses('RESULT_UNKNOWN', participant.commit(record));
    assert.equal(await participant.outcome(record), 'unknown');
  });

  test.each([
    ['before prepare', 'aborted'],
    ['after prepare', 'aborted'],
    ['after decide', 'committed'],
    ['after one commit', 'committed'],
  ] as const)(
    'a coordinator elsewhere finishes what a process left that died %s: %s',
    async (point, ending) => {
      await using redis = await startRedis({ appendonly: 'always' });
      const client = new Redis(redis.url);
      client.on('error', () => {});
      await client.set('sku', '10');
      const config: OwnerConfig = { redisUrl: redis.url, point };
      const file = fileURLToPath(new URL('./redis-participant-owner.ts', import.meta.url));
      const owner = spawn(process.execPath, ['--import', 'tsx', file, JSON.stringify(config)], {
        stdio: 'inherit',
      });
      onTestFinished(() => void owner.kill('SIGKILL'));
      const [, signal] = await once(owner, 'exit');
      assert.equal(signal, 'SIGKILL');
      const shop = shopAt(redis.url);
      onTestFinished(async () => {
        await shop.close();
        client.disconnect();
      });
      const { participant } = shopOn(redis.url, { shop: { name: 'stock' } });
      const { participant: orders } = shopOn(redis.url, { shop: { name: 'orders' } });
      await eventually(async () => {
        const left = await Promise.all([participant.recover(), orders.recover()]);
        return left.flat().length === 0;
      }, 15_000);
      const both = [await client.get('sku'), await client.get('orders')];
      assert.deepEqual(both, ending === 'committed' ? ['9', '1'] : ['10', null]);
      assert.equal(await client.hlen('tricord:default:participant:{stock}:stock:locks'), 0);
      // What it held is free again.
      assert.equal((await shop.place()).state, 'committed');
    },
  );
});

describe('a Redis participant whose server is full or misconfigured [redis]', () => {
  test('when memory is used up nothing new is prepared, and what is prepared can end', async () => {
    await using redis = await startRedis();
    const { client, participant, begin } = shopOn(redis.url);
    await client.set('sku', '10');
    const [first, second, late] = [await begin(), await begin(), await begin()];
    for (const { branch } of [first, second, late]) await branch.handle.reserve('sku', 1);
    await first.branch.handle.set('order', 'placed');
    await first.branch.prepare();
    await second.branch.prepare();
    await client.config('SET', 'maxmemory', '1');
    await refuses('BACKEND_UNSUPPORTED', late.branch.prepare());
    await first.branch.commit();
    await participant.abort(second.record);
    await client.config('SET', 'maxmemory', '0');
    assert.deepEqual([await client.get('sku'), await client.get('order')], ['9', 'placed']);
  });

  test('a maxmemory-policy that evicts is refused, with the setting to change', async () => {
    await using redis = await startRedis({ config: { 'maxmemory-policy': 'allkeys-lru' } });
    const { participant } = shopOn(redis.url);
    const { refusals = [], survives } = await participant.guarantees();
    assert.match(refusals.join(), /prepared branches; set maxmemory-policy noeviction/);
    assert.equal(survives, 'none');
    const options = { log: memoryTransactions(), participants: [participant] };
    const coordinator = createTransactionCoordinator(options);
    await coordinator.run({ resourceId: 'order:1' }, async (tx) => {
      await refuses('GUARANTEE_REFUSED', tx.enlist(participant));
    });
    await coordinator.close();
  });

  test('guarantees tell what a yes survives, by the settings that are live', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const { client, participant } = shopOn(redis.url);
    const before = await participant.guarantees();
    assert.equal(before.survives, 'power-loss');
    assert.equal(before.subject, 'redis shop');
    await client.config('SET', 'appendfsync', 'everysec');
    assert.equal((await participant.guarantees()).survives, 'process');
  });
});
