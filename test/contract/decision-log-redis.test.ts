import { Cluster, Redis } from 'ioredis';
import { redisTransactions } from 'tricord/redis';
import { decisionLogContract } from 'tricord/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type ServerHandle, startRedis } from '../servers/provider.js';
import { freshPrefix, onServer } from '../servers/shared.js';
import { loseReplies } from './lost-replies.js';

onServer('redis', 'redisTransactions', (redis) => {
  const namespace = freshPrefix('log');
  const open = () => {
    const client = new Redis(redis.url);
    const log = redisTransactions({ client, namespace, livenessTimeoutMs: 2_000 });
    return { log, close: async () => client.disconnect() };
  };
  for (const { name, run } of decisionLogContract({ open, silentWithinMs: 4_000 })) {
    test(name, run);
  }
});

onServer(
  'redis',
  'redisTransactions with a small limit, a keyPrefix and auto-pipelining',
  (redis) => {
    const unacknowledgedMax = 8;
    const namespace = freshPrefix('log');
    const open = () => {
      const client = new Redis(redis.url, {
        keyPrefix: 'prefix:',
        enableAutoPipelining: true,
        enableOfflineQueue: false,
      });
      const log = redisTransactions({
        client,
        namespace,
        unacknowledgedMax,
        livenessTimeoutMs: 2_000,
      });
      return { log, close: async () => client.disconnect() };
    };
    const subject = { open, silentWithinMs: 4_000, unacknowledgedMax };
    for (const { name, run } of decisionLogContract(subject)) test(name, run);
  },
);

onServer('redis', 'redisTransactions that forgets at once', (redis) => {
  const namespace = freshPrefix('log');
  const open = async () => {
    const proxy = await redis.proxy();
    const client = new Redis(proxy.url);
    client.on('error', () => {});
    const log = redisTransactions({ client, namespace, recordRetainMs: 0, replyTimeoutMs: 500 });
    return {
      log,
      loseReplies: () => loseReplies(proxy),
      close: async () => {
        client.disconnect();
        await proxy.close();
      },
    };
  };
  for (const { name, run } of decisionLogContract({ open, isForgetful: true })) test(name, run);
});

const CLUSTER = { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' };

// One node with all slots refuses a command that crosses slots just as many nodes do.
describe('redisTransactions on a cluster [redis]', () => {
  let redis: ServerHandle;
  beforeAll(async () => {
    redis = await startRedis({ config: CLUSTER });
    const client = new Redis(redis.url);
    await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    while (!(await client.cluster('INFO')).includes('cluster_state:ok')) await client.ping();
    client.disconnect();
  });
  afterAll(() => redis?.[Symbol.asyncDispose]());
  const open = () => {
    const client = new Cluster([{ host: redis.host, port: redis.port }]);
    const log = redisTransactions({ client, livenessTimeoutMs: 2_000 });
    return { log, close: async () => client.disconnect() };
  };
  for (const { name, run } of decisionLogContract({ open, silentWithinMs: 4_000 })) {
    test(name, run);
  }
});
