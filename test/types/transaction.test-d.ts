import { expectTypeOf, test } from 'vitest';
import {
  type AbortedBy,
  createTransactionCoordinator,
  type Outcome,
  type TransactionOptions,
} from '../../src/index.js';
import { type MemoryBranch, memoryParticipant, memoryTransactions } from '../../src/memory.js';

const stock = memoryParticipant({ name: 'stock' });
const coordinator = createTransactionCoordinator({
  log: memoryTransactions(),
  participants: [stock],
});

test('the body decides the type of the value, and the participant that of the handle', () => {
  const running = coordinator.run({ resourceId: 'o' }, async (tx) => {
    const handle = await tx.enlist(stock);
    expectTypeOf(handle).toEqualTypeOf<MemoryBranch>();
    return 42;
  });
  expectTypeOf(running).toEqualTypeOf<Promise<Outcome<number>>>();
  expectTypeOf(coordinator.commit({ resourceId: 'o' }, () => 'x')).toEqualTypeOf<Promise<string>>();
});

test('an outcome is narrowed by its state, and every state must be handled', () => {
  const told = (outcome: Outcome<number>): string | number => {
    switch (outcome.state) {
      case 'committed':
        return outcome.value;
      case 'aborted':
        expectTypeOf(outcome.by).toEqualTypeOf<AbortedBy>();
        return outcome.reason;
      case 'in-doubt':
        return outcome.pending.join();
    }
  };
  expectTypeOf(told).returns.toEqualTypeOf<string | number>();
  expectTypeOf<Outcome<number>>().not.toHaveProperty('value');
});

test('there are two protocols', () => {
  expectTypeOf<TransactionOptions['protocol']>().toEqualTypeOf<
    'two-phase' | 'three-phase' | undefined
  >();
  // @ts-expect-error No other is accepted.
  void coordinator.run({ resourceId: 'o', protocol: 'four-phase' }, () => 1);
  // @ts-expect-error A transaction is about something.
  void coordinator.run({}, () => 1);
});
