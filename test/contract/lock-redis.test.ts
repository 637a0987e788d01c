import { Redis, type RedisOptions } from 'ioredis';
import { type RedisLockOptions, redisLock } from 'tricord/redis';
import { lockDriverContract } from 'tricord/testing';
import { test } from 'vitest';
import { freshPrefix, onServer } from '../servers/shared.js';

/** The ways in which users set up their client; a driver must not care. */
const CLIENTS: readonly (readonly [name: string, options: Omit<RedisOptions, 'replyMapping'>])[] = [
  ['redisLock', {}],
  ['redisLock with keyPrefix', { keyPrefix: 'app {1}:' }],
  ['redisLock with auto-pipelining', { enableAutoPipelining: true }],
  ['redisLock over RESP2', { protocol: 2 }],
  ['redisLock with numbers as strings', { stringNumbers: true, lazyConnect: true }],
];

for (const [name, clientOptions] of CLIENTS) {
  onServer('redis', name, (redis) => {
    const lockOptions: Omit<RedisLockOptions, 'client'> = { namespace: freshPrefix('lock') };
    const subject = {
      open: () => {
        const client = new Redis(redis.url, clientOptions);
        const driver = redisLock({ client, ...lockOptions });
        return { driver, close: async () => client.disconnect() };
      },
      resourcePrefix: 'r:',
    };
    for (const { name: sentence, run } of lockDriverContract(subject)) test(sentence, run);
  });
}
