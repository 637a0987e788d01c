import { memoryCache } from 'tricord/memory';
import { cacheDriverContract } from 'tricord/testing';
import { zookeeper, zookeeperCache } from 'tricord/zookeeper';
import { test } from 'vitest';
import { freshPrefix, onServer } from '../servers/shared.js';

onServer('zookeeper', 'zookeeperCache', (server) => {
  const contract = cacheDriverContract({
    namePrefix: freshPrefix('cache:'),
    near: () => memoryCache(),
    async open() {
      const session = zookeeper({ servers: server.url, sessionTimeoutMs: 4_000 });
      await session.ready();
      return { driver: zookeeperCache({ session }), close: () => session.close() };
    },
  });
  for (const { name, run } of contract) test(name, run);
});
