import { describe, test } from 'vitest';
import { memcachedCache } from '../../src/memcached.js';
import { memoryCache } from '../../src/memory.js';
import { cacheDriverContract } from '../../src/testing.js';
import { startServer } from '../servers/provider.js';
import { freshPrefix, onServer } from '../servers/shared.js';

onServer('memcached', 'memcachedCache', (memcached) => {
  const subject = {
    namePrefix: freshPrefix('cache'),
    near: () => memoryCache(),
    open: () => ({ driver: memcachedCache({ servers: memcached.url }) }),
  };
  for (const { name, run } of cacheDriverContract(subject)) test(name, run);
});

describe('memcachedCache on three servers [memcached]', async () => {
  const servers = await Promise.all([1, 2, 3].map(() => startServer('memcached')));
  const subject = {
    namePrefix: freshPrefix('cache'),
    near: () => memoryCache(),
    open: () => ({ driver: memcachedCache({ servers: servers.map(({ url }) => url) }) }),
  };
  for (const { name, run } of cacheDriverContract(subject)) test(name, run);
});
