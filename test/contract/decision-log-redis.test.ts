import { Redis } from 'ioredis';
import { redisTransactions } from 'tricord/redis';
import { decisionLogContract } from 'tricord/testing';
import { test } from 'vitest';
import { freshPrefix, onServer } from '../servers/shared.js';

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
