// Money moves between two banks, each a store of its own: both change or none does.
// The auditor checks the promise itself: after every transfer the sum is what it was.

import assert from 'node:assert/strict';
import { createTransactionCoordinator } from 'tricord';
import { memoryParticipant, memoryTransactions } from 'tricord/memory';

const north = memoryParticipant({ name: 'north' }); // over servers: postgresParticipant({ name, pool })
const south = memoryParticipant({ name: 'south' });
north.load({ alice: 100 });
south.load({ bob: 0 });

const coordinator = createTransactionCoordinator({
  log: memoryTransactions(), // over servers: redisTransactions({ client })
  participants: [north, south],
});

async function transfer(amount: number): Promise<string> {
  const outcome = await coordinator.run({ resourceId: 'alice to bob' }, async (tx) => {
    const [from, to] = [await tx.enlist(north), await tx.enlist(south)];
    await to.increment('bob', amount);
    await from.reserve('alice', amount); // refuses to go below zero, after bob's side was written
  });
  assert.equal((north.read<number>('alice') ?? 0) + (south.read<number>('bob') ?? 0), 100);
  return outcome.state;
}

assert.equal(await transfer(60), 'committed');
assert.equal(await transfer(60), 'aborted', 'alice has only 40 left, so bob gets nothing');
assert.equal(await transfer(40), 'committed');
assert.equal(south.read('bob'), 100);
assert.deepEqual([...(await north.recover()), ...(await south.recover())], [], 'nothing is left');
await coordinator.close();
console.log('transaction: two transfers committed, one undone, not a cent lost');
