// A process that had a lock once and retains it: node zookeeper-lock-retainer.ts servers resource

import { createLock } from '../../src/index.js';
import { zookeeper, zookeeperLock } from '../../src/zookeeper.js';

const [servers = '', resource = ''] = process.argv.slice(2);
const session = zookeeper({ servers, sessionTimeoutMs: 2_000 });
const lock = createLock({ driver: zookeeperLock({ session }), retainMs: 600_000 });
const use = async (): Promise<bigint> => {
  const lease = await lock.acquire(resource, { waitMs: 20_000 });
  await lease.release();
  return lease.fencingToken;
};
// Whoever was frozen meanwhile uses it once more when it goes on, and tells its token.
process.on('SIGUSR2', () => void use().then((token) => process.stdout.write(`again ${token}\n`)));
process.stdout.write(`retained ${await use()}\n`);
setInterval(() => {}, 1_000);
