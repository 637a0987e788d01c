import { decisionLogContract } from 'tricord/testing';
import { zookeeper, zookeeperTransactions } from 'tricord/zookeeper';
import { test } from 'vitest';
import { freshPrefix, onServer } from '../servers/shared.js';

onServer('zookeeper', 'zookeeperTransactions', (server) => {
  const chroot = `/${freshPrefix('log')}`;
  const open = async (unacknowledgedMax?: number) => {
    const session = zookeeper({ servers: server.url, chroot, sessionTimeoutMs: 4_000 });
    await session.ready();
    const log = zookeeperTransactions({ session, unacknowledgedMax });
    return { log, close: () => session.close() };
  };
  for (const { name, run } of decisionLogContract({ open: () => open() })) test(name, run);

  const limited = decisionLogContract({ open: () => open(4), unacknowledgedMax: 4 });
  for (const { name, run } of limited) test(`with a limit of 4: ${name}`, run);
});
