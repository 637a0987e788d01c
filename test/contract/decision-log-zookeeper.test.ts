import { decisionLogContract } from 'tricord/testing';
import { zookeeper, zookeeperTransactions } from 'tricord/zookeeper';
import { test } from 'vitest';
import { freshPrefix, onServer } from '../servers/shared.js';
import { loseReplies } from './lost-replies.js';

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

  const openForgetful = async () => {
    const proxy = await server.proxy();
    const servers = `${proxy.host}:${proxy.port}`;
    const session = zookeeper({ servers, chroot, sessionTimeoutMs: 4_000 });
    await session.ready();
    const log = zookeeperTransactions({ session, recordRetainMs: 0 });
    const close = async (): Promise<void> => {
      await session.close();
      await proxy.close();
    };
    return { log, loseReplies: () => loseReplies(proxy), close };
  };
  const forgetful = decisionLogContract({ open: openForgetful, isForgetful: true });
  for (const { name, run } of forgetful) test(name, run);
});
