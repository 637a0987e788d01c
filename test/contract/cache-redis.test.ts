import { Redis } from 'ioredis';
import { describe, test } from 'vitest';
import { memoryCache } from '../../src/memory.js';
import { type RedisCacheNews, redisCache } from '../../src/redis.js';
import { cacheDriverContract } from '../../src/testing.js';
import { freshPrefix, onServer } from '../servers/shared.js';

interface ClientOptions {
  keyPrefix?: string;
  enableAutoPipelining?: boolean;
  protocol?: 2 | 3;
}

const CLIENTS: Readonly<Record<string, ClientOptions & { news?: RedisCacheNews }>> = {
  'a plain client': {},
  'a client with a keyPrefix': { keyPrefix: 'shop*[1]:' },
  'a client that pipelines by itself': { enableAutoPipelining: true },
  'a client that speaks RESP3': { protocol: 3 },
  'news from its writers': { news: 'bus' },
};

onServer('redis', 'redisCache', (redis) => {
  describe.each(Object.entries(CLIENTS))('with %s', (_, { news, ...options }) => {
    const subject = {
      namePrefix: freshPrefix('cache'),
      near: () => memoryCache(),
      open() {
        const client = new Redis(redis.url, options);
        const close = async (): Promise<void> => client.disconnect();
        return { driver: redisCache({ client, news }), close };
      },
    };
    for (const { name, run } of cacheDriverContract(subject)) test(name, run);
  });
});
