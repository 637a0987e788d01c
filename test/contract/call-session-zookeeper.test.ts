import { callSessionContract } from 'tricord/testing';
import { zookeeper, zookeeperTransactions } from 'tricord/zookeeper';
import { test } from 'vitest';
import { freshPrefix, onServer } from '../servers/shared.js';

onServer('zookeeper', 'calls over ZooKeeper', (server) => {
  const chroot = `/${freshPrefix('call')}`;
  const open = async () => {
    const session = zookeeper({ servers: server.url, chroot, sessionTimeoutMs: 4_000 });
    await session.ready();
    return { log: zookeeperTransactions({ session }), close: () => session.close() };
  };
  for (const { name, run } of callSessionContract({ open })) test(name, run);
});
