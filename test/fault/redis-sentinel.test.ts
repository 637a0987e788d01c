// What a fail-over to a replica that lags takes along, and what waitReplicas keeps.

import { Redis } from 'ioredis';
import { createLock, isCoordinationError, type Lease, type Lock } from 'tricord';
import { type RedisLockOptions, redisFence, redisLock, redisQuorumLock } from 'tricord/redis';
import { afterEach, describe, expect, test } from 'vitest';
import { type ReplicatedRedis, startReplicatedRedis } from '../servers/redis-replica.js';
import { measured } from '../servers/shared.js';
import { elapsedSince, until } from './redis-lock-stage.js';

// Sentinel's election may need a second try.
const TTL_MS = 60_000;

describe('locks and a fail-over by Sentinel [redis]', () => {
  const opened: (() => PromiseLike<unknown>)[] = [];
  afterEach(async () => {
    for (const close of opened.splice(0).reverse()) await close();
  });

  async function replicated(sentinels: number): Promise<ReplicatedRedis> {
    const redis = await startReplicatedRedis({ replicas: 1, sentinels });
    opened.push(() => redis[Symbol.asyncDispose]());
    return redis;
  }

  function clientOf({ sentinels, name }: ReplicatedRedis): Redis {
    const client = new Redis({ sentinels, name, sentinelRetryStrategy: () => 50 });
    client.on('error', () => {});
    opened.push(async () => client.disconnect());
    return client;
  }

  function lockOf(client: Redis, options: Omit<RedisLockOptions, 'client'> = {}): Lock {
    const lock = createLock({ driver: redisLock({ client, ...options }), ttlMs: TTL_MS });
    opened.push(() => lock.close({ drainMs: 0 }));
    return lock;
  }

  async function failOver(redis: ReplicatedRedis): Promise<void> {
    const started = performance.now();
    await redis.master.kill();
    const client = new Redis(redis.replicas[0]?.url ?? '');
    client.on('error', () => {});
    await until('a replica is promoted', async () => (await client.role())[0] === 'master', 30_000);
    client.disconnect();
    measured(`Sentinel promoted a replica ${elapsedSince(started).toFixed(0)} ms after the kill`);
  }

  const acquireAfter = async (lock: Lock): Promise<Lease | undefined> => {
    let lease: Lease | undefined;
    await until('the new master answers', async () => {
      try {
        lease = await lock.tryAcquire('stock');
        return true;
      } catch (error) {
        if (!isCoordinationError(error)) throw error;
        return false;
      }
    });
    return lease;
  };

  test('a lock that the replica has is held through the fail-over', async () => {
    const redis = await replicated(3);
    const [holder, other] = [lockOf(clientOf(redis)), lockOf(clientOf(redis))];
    const lease = await holder.acquire('stock');
    const reader = new Redis(redis.replicas[0]?.url ?? '');
    reader.on('error', () => {});
    opened.push(async () => reader.disconnect());
    await until('it is replicated', async () => (await reader.dbsize()) > 0);
    await failOver(redis);
    expect(await acquireAfter(other)).toBeUndefined();
    await lease.extend();
    lease.assertHeld();
    expect(await lease.release()).toBe('released');
  });

  test('not promised: a replica that lags makes two holders, told apart by their tokens', async () => {
    const redis = await replicated(3);
    const [holder, other] = [clientOf(redis), clientOf(redis)];
    const lease = await lockOf(holder).acquire('warm up');
    await lease.release();
    await redis.stopReplication();
    // The trace: granted by the old master; not replicated; the old master dies; the replica, which
    // never heard of it, grants it again.
    const old = await lockOf(holder).acquire('stock', { renew: false });
    await failOver(redis);
    const young = await acquireAfter(lockOf(other));
    expect(old.isHeld).toBe(true);
    expect(young?.isHeld).toBe(true);
    if (young === undefined) throw new Error('it was not granted');
    expect(young.fencingToken).toBeGreaterThan(old.fencingToken);
    const fence = redisFence({ client: other });
    await fence.write('stock', young.fencingToken, 'by the new holder');
    const late = fence.write('stock', old.fencingToken, 'by the old holder');
    await expect(late).rejects.toMatchObject({ code: 'FENCE_STALE' });
    expect(await other.get('stock')).toBe('by the new holder');
  });

  test('waitReplicas: a grant that no replica confirmed is not handed out, and is given back', async () => {
    const redis = await replicated(0);
    const client = new Redis(redis.master.url);
    opened.push(async () => client.disconnect());
    const patient = lockOf(client, { waitReplicas: { count: 1, timeoutMs: 5_000 } });
    const lock = lockOf(client, { waitReplicas: { count: 1, timeoutMs: 200 } });
    const lease = await patient.acquire('stock');
    const reader = new Redis(redis.replicas[0]?.url ?? '');
    reader.on('error', () => {});
    opened.push(async () => reader.disconnect());
    // No waiting: it was there before acquire answered.
    expect(await reader.exists('tricord:default:lock:{stock}')).toBe(1);
    await redis.stopReplication();
    const refused = await lock.acquire('other').catch((error: unknown) => error);
    expect(isCoordinationError(refused, 'BACKEND_UNAVAILABLE')).toBe(true);
    expect(String(refused)).toContain(
      '0 of 1 replicas confirmed the lock "other", which was given back',
    );
    await until('it is free', async () => (await lock.inspect('other')).holders.length === 0);
    // A renewal that is not confirmed does not count.
    await expect(lease.extend(60_000)).rejects.toMatchObject({ code: expect.any(String) });
  });

  test('waitReplicas: a lock that was confirmed is held through the fail-over', async () => {
    const redis = await replicated(3);
    const waitReplicas = { count: 1, timeoutMs: 1_000 };
    const holder = lockOf(clientOf(redis), { waitReplicas });
    for (let round = 0; round < 20; round += 1) await (await holder.acquire('stock')).release();
    const lease = await holder.acquire('stock');
    await redis.stopReplication();
    await failOver(redis);
    expect(await acquireAfter(lockOf(clientOf(redis)))).toBeUndefined();
    expect(lease.isHeld).toBe(true);
  });

  test('a node of a quorum that fails over stays out: what was held is granted to nobody', async () => {
    const groups = await Promise.all([replicated(3), replicated(0), replicated(0)]);
    const quorum = () => {
      const [first, ...others] = groups as [ReplicatedRedis, ...ReplicatedRedis[]];
      const clients = [clientOf(first), ...others.map(({ master }) => new Redis(master.url))];
      for (const client of clients.slice(1)) opened.push(async () => client.disconnect());
      const lock = createLock({ driver: redisQuorumLock({ clients }), ttlMs: TTL_MS });
      opened.push(() => lock.close({ drainMs: 0 }));
      return lock;
    };
    const [holder, other] = [quorum(), quorum()];
    const lease = await holder.acquire('stock');
    await groups[0]?.stopReplication();
    await failOver(groups[0] as ReplicatedRedis);
    expect(await other.tryAcquire('stock')).toBeUndefined();
    await lease.extend();
    expect(await lease.release()).toBe('released');
  });
});
