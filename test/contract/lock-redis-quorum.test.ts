import { Redis } from 'ioredis';
import { redisQuorumLock } from 'tricord/redis';
import { lockDriverContract } from 'tricord/testing';
import { afterAll, describe, test } from 'vitest';
import { startRedis } from '../servers/provider.js';
import { freshPrefix } from '../servers/shared.js';

describe('redisQuorumLock on three masters [redis]', async () => {
  const servers = await Promise.all([startRedis(), startRedis(), startRedis()]);
  afterAll(() => Promise.all(servers.map((server) => server[Symbol.asyncDispose]())));
  const namespace = freshPrefix('quorum');
  const subject = {
    open: () => {
      const clients = servers.map(({ url }) => new Redis(url));
      const close = async () => {
        for (const client of clients) client.disconnect();
      };
      return { driver: redisQuorumLock({ clients, namespace, ttlMsMax: 300_000 }), close };
    },
    resourcePrefix: 'r:',
    modes: ['exclusive'] as const,
  };
  for (const { name, run } of lockDriverContract(subject)) test(name, run);
});
