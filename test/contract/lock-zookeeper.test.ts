import { lockDriverContract } from 'tricord/testing';
import { zookeeper, zookeeperLock } from 'tricord/zookeeper';
import { test } from 'vitest';
import { freshPrefix, onServer } from '../servers/shared.js';

onServer('zookeeper', 'zookeeperLock', (server) => {
  const contract = lockDriverContract({
    resourcePrefix: freshPrefix('lock:'),
    async open() {
      const session = zookeeper({ servers: server.url, sessionTimeoutMs: 4_000 });
      await session.ready();
      return { driver: zookeeperLock({ session }), close: () => session.close() };
    },
  });
  for (const { name, run } of contract) test(name, run);
});
