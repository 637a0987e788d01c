// A cache on a real cluster of six processes, and behind Sentinel: its contract, and memory that stays
// coherent while slots move and masters die.

import { Cluster, Redis } from 'ioredis';
import { type Cache, createCache, v8Codec } from 'tricord';
import { memoryCache } from 'tricord/memory';
import { type RedisCacheNews, redisCache } from 'tricord/redis';
import { cacheDriverContract } from 'tricord/testing';
import { afterAll, describe, expect, test } from 'vitest';
import { slotOf } from '../../src/drivers/redis/slots.js';
import { type RedisCluster, startRedisCluster } from '../servers/redis-cluster.js';
import { startReplicatedRedis } from '../servers/redis-replica.js';
import { freshPrefix } from '../servers/shared.js';
import { until } from './redis-lock-stage.js';

type Client = Parameters<typeof redisCache>[0]['client'];

const opened: (() => PromiseLike<unknown>)[] = [];
afterAll(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** One that writes for all, one whose memory the server keeps coherent, and one whose the writer does. */
function nodesOf(newClient: () => Client, name: string) {
  const writer = nodeOf(newClient(), name, 'auto');
  const readers = [nodeOf(newClient(), name), nodeOf(newClient(), name, 'bus')];
  const kept = (key: string) => readers.map((reader) => reader.peek(key));
  return { writer, readers, nodes: [writer, ...readers], kept };
}

function nodeOf(client: Client, name: string, news?: RedisCacheNews): Cache<number> {
  const cache = createCache<number>({
    name,
    tiers: [memoryCache(), redisCache({ client, news })],
    ttlMs: 60_000,
    timeoutMs: 20_000,
    breaker: false,
  });
  opened.push(() => cache.close({ drainMs: 0 }));
  return cache;
}

/** Until the memory of these processes keeps what they read. */
function warm(caches: readonly Cache<number>[], key: string): Promise<void> {
  return until(
    'memory keeps what it reads',
    async () => {
      await Promise.all(caches.map((cache) => cache.get(key)));
      return caches.every((cache) => cache.peek(key) !== undefined);
    },
    20_000,
  );
}

const isGone = (values: readonly unknown[]): boolean =>
  values.every((value) => value === undefined);

/** Every node answers the value, from wherever it has it. */
async function agree(nodes: readonly Cache<number>[], key: string, value: number | undefined) {
  let answers: (number | undefined)[] = [];
  await until(
    `all answer ${value} for ${key}`,
    async () => {
      answers = await Promise.all(nodes.map((node) => node.get(key)));
      // A write whose answer was lost while the slot moved may still begin, and takes the entry away.
      const isGone = value !== undefined && answers.every((answer) => answer === undefined);
      if (isGone) await nodes[0]?.set(key, value, { tags: ['all'] }).catch(() => {});
      return answers.every((answer) => answer === value);
    },
    20_000,
  ).catch((cause: unknown) => {
    const peeked = nodes.map((node) => node.peek(key));
    throw new Error(`answered ${answers}, kept in memory ${peeked}`, { cause });
  });
}

describe('a cache on a Redis Cluster of six processes [redis]', async () => {
  const cluster: RedisCluster = await startRedisCluster();
  opened.push(() => cluster[Symbol.asyncDispose]());
  const newClient = (): Cluster => {
    const client = new Cluster(cluster.nodes, { clusterRetryStrategy: () => 50 });
    client.on('error', () => {});
    opened.push(async () => client.disconnect());
    return client;
  };

  describe('keeps the contract', () => {
    const subject = {
      namePrefix: freshPrefix('cluster'),
      open() {
        const client = new Cluster(cluster.nodes);
        client.on('error', () => {});
        return { driver: redisCache({ client }), close: async () => client.disconnect() };
      },
    };
    for (const { name, run } of cacheDriverContract(subject)) test(name, run);
  });

  test('bytes come back as they were, and hits extend their entries, in any slot', async () => {
    const name = freshPrefix('bytes');
    const tiers = [redisCache({ client: newClient() })];
    const sliding = { maxAgeMs: 60_000 };
    const options = { name, tiers, ttlMs: 2_000, sliding, codec: v8Codec };
    const cache = createCache<Uint8Array>(options);
    const bytes = Uint8Array.from({ length: 1_000 }, (_, index) => index % 256);
    const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);
    await cache.setMany(keys.map((key) => [key, bytes] as const));
    for (let i = 0; i < 30; i += 1) {
      const found = await cache.getMany(keys);
      for (const key of keys) expect(found.get(key)).toEqual(bytes);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(cache.stats().tiers[0]).toMatchObject({ failureCount: 0, unreadableCount: 0 });
    await cache.close();
  });

  test('memory stays coherent while the slot of its entry moves, and when the master dies', async () => {
    const name = freshPrefix('moved');
    const { writer, readers, nodes, kept } = nodesOf(newClient, name);
    const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);
    const tags = { tags: ['all'] };
    const written = (key: string, value: number) =>
      until(
        'it is written',
        () =>
          writer.set(key, value, tags).then(
            () => true,
            () => false,
          ),
        20_000,
      );
    for (const key of keys) await written(key, 0);
    for (const key of keys) await warm(readers, key);
    const slot = slotOf(`tricord:default:cache:${name}:{key-0}`);
    let value = 0;
    const rewrite = async (): Promise<void> => {
      value += 1;
      for (const key of keys) await written(key, value);
    };
    // While the keys of the slot are apart, a write of one may be refused; what it did is not known.
    await cluster.moveSlot(slot, async () => {
      value += 1;
      for (const key of keys) {
        await writer.set(key, value, { ...tags, timeoutMs: 200 }).catch(() => {});
        await Promise.all(readers.map((reader) => reader.get(key)));
      }
    });
    await rewrite();
    for (const key of keys) await agree(nodes, key, value);
    await warm(readers, 'key-0');
    // It is heard from the new master.
    await rewrite();
    await agree(nodes, 'key-0', value);
    await (await cluster.masterOf(slot)).kill();
    await rewrite();
    for (const key of keys) await agree(nodes, key, value);
    for (const key of keys) await warm(readers, key);
    await writer.invalidateTag('all');
    for (const key of keys) await agree(nodes, key, undefined);
    await rewrite();
    for (const key of keys) await warm(readers, key);
    await writer.clear();
    await until('memory has none', async () => keys.every((key) => isGone(kept(key))));
    for (const key of keys) await agree(nodes, key, undefined);
  }, 60_000);
});

test('memory stays coherent through a fail-over by Sentinel [redis]', async () => {
  await using redis = await startReplicatedRedis({ replicas: 1, sentinels: 3 });
  const { sentinels, name: master } = redis;
  const newClient = (): Redis => {
    const client = new Redis({ sentinels, name: master, sentinelRetryStrategy: () => 50 });
    client.on('error', () => {});
    opened.push(async () => client.disconnect());
    return client;
  };
  const name = freshPrefix('sentinel');
  const { writer, readers, nodes, kept } = nodesOf(newClient, name);
  await writer.set('key', 1, { tags: ['tag'] });
  await warm(readers, 'key');
  await redis.master.kill();
  await until('memory serves nothing', async () => isGone(kept('key')), 10_000);
  await until(
    'the new master takes writes',
    () =>
      writer.set('key', 2, { tags: ['tag'] }).then(
        () => true,
        () => false,
      ),
    30_000,
  );
  await warm(readers, 'key');
  await writer.set('key', 3, { tags: ['tag'] });
  await agree(nodes, 'key', 3);
  await warm(readers, 'key');
  await writer.invalidateTag('tag');
  await agree(nodes, 'key', undefined);
}, 60_000);
