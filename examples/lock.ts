// Five nodes share a label printer that can serve only one of them at a time.
// The printer checks the promise itself: it jams if two print at once, or if a late one comes back.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLock } from 'tricord';
import { memoryLock } from 'tricord/memory';

const printer = {
  isBusy: false,
  newestToken: 0n,
  labels: 0,
  async print(fencingToken: bigint) {
    assert(!this.isBusy, 'two nodes print at once');
    assert(fencingToken > this.newestToken, 'a node prints after its lease was given away');
    this.isBusy = true;
    this.newestToken = fencingToken;
    await sleep(Math.random() * 3);
    this.labels += 1;
    this.isBusy = false;
  },
};

const driver = memoryLock(); // over several machines: redisLock({ client }) or zookeeperLock({ session })
const nodes = ['node-1', 'node-2', 'node-3', 'node-4', 'node-5'];
const locks = nodes.map((nodeId) => createLock({ driver, nodeId }));
const jobs = locks.flatMap((lock) => Array.from({ length: 20 }, () => lock));
await Promise.all(
  jobs.map(async (lock) => {
    await using lease = await lock.acquire('printer', { ttlMs: 10_000, waitMs: 5_000 });
    await printer.print(lease.fencingToken);
  }),
);
await Promise.all(locks.map((lock) => lock.close()));
assert.equal(printer.labels, 100);
console.log(`lock: ${printer.labels} labels from ${nodes.length} nodes, the printer never jammed`);
