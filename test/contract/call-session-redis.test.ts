import { Cluster, Redis } from 'ioredis';
import { redisTransactions } from 'tricord/redis';
import { callSessionContract } from 'tricord/testing';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { type ServerHandle, startRedis } from '../servers/provider.js';
import { freshPrefix, onServer } from '../servers/shared.js';

onServer('redis', 'calls over Redis', (redis) => {
  const namespace = freshPrefix('call');
  const open = () => {
    const client = new Redis(redis.url);
    const log = redisTransactions({ client, namespace });
    return { log, close: async () => client.disconnect() };
  };
  for (const { name, run } of callSessionContract({ open })) test(name, run);
});

onServer('redis', 'calls over Redis with a keyPrefix and auto-pipelining', (redis) => {
  const namespace = freshPrefix('call');
  const open = () => {
    const settings = { keyPrefix: 'prefix:', enableAutoPipelining: true, lazyConnect: true };
    const client = new Redis(redis.url, settings);
    const log = redisTransactions({ client, namespace });
    return { log, close: async () => client.disconnect() };
  };
  for (const { name, run } of callSessionContract({ open })) test(name, run);
});

const CLUSTER = { 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' };

// One node with all slots refuses a command that crosses slots just as many nodes do.
describe('calls over a Redis cluster [redis]', () => {
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
    const log = redisTransactions({ client });
    return { log, close: async () => client.disconnect() };
  };
  for (const { name, run } of callSessionContract({ open })) test(name, run);
});
