// Three nodes stand for one office: the leader counts ticks. Leaders resign, are thrown out or close;
// the counter checks the promise itself: never two leaders, and never a late write of an old one.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLock, type Lease } from 'tricord';
import { memoryLock } from 'tricord/memory';

const counter = {
  newestToken: 0n,
  ticks: 0,
  tick(fencingToken: bigint) {
    assert(fencingToken >= this.newestToken, 'a former leader ticks after its successor');
    this.newestToken = fencingToken;
    this.ticks += 1;
  },
};

const driver = memoryLock(); // over several machines: redisLock({ client }) or zookeeperLock({ session })
const locks = ['node-1', 'node-2', 'node-3'].map((nodeId) => createLock({ driver, nodeId }));
const terms: string[] = [];

async function lead(nodeId: string, lease: Lease): Promise<void> {
  terms.push(nodeId);
  while (!lease.signal.aborted && lease.isHeld) {
    counter.tick(lease.fencingToken);
    await sleep(1);
  }
}

const candidates = locks.map((lock) =>
  lock.elect('office', { onElected: (lease) => lead(lock.nodeId, lease) }),
);
for (let round = 0; round < 9; round += 1) {
  await sleep(15);
  assert(candidates.filter(({ isLeader }) => isLeader).length <= 1, 'two leaders');
  const leader = candidates.find(({ isLeader }) => isLeader);
  if (round % 2 === 0) await leader?.lease?.release();
  else await locks[0]?.forceRelease('office', { reason: 'an operator wants another leader' });
}
await Promise.all(candidates.map((candidate) => candidate.close()));
await Promise.all(locks.map((lock) => lock.close()));
assert(new Set(terms).size === 3, 'everybody had a turn');
console.log(`elect: ${terms.length} terms of ${new Set(terms).size} leaders, never two at a time`);
