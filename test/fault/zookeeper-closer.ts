// A process that uses everything on ZooKeeper once, closes it, and should then end by itself.

import { systemClock } from '../../src/core/clock.js';
import { newIncarnation } from '../../src/core/ids.js';
import { systemRandom } from '../../src/core/random.js';
import { createLock } from '../../src/index.js';
import { zookeeper, zookeeperLock, zookeeperTransactions } from '../../src/zookeeper.js';

const session = zookeeper({ servers: process.argv[2] ?? '', sessionTimeoutMs: 2_000 });
const lock = createLock({ driver: zookeeperLock({ session }) });
const lease = await lock.acquire('closer');
const log = zookeeperTransactions({ session }).open({
  nodeId: 'closer',
  namespace: 'closer',
  clock: systemClock,
  random: systemRandom,
});
await log.register(newIncarnation());
await lease.release();
await lock.close();
await log.close();
await session.close();
