import { expect, test } from 'vitest';
import { onAbort } from '../../../src/core/abort.js';
import { CoordinationError } from '../../../src/core/errors.js';
import { systemRandom } from '../../../src/core/random.js';
import type { MemoryBranch } from '../../../src/drivers/memory/participant-branch.js';
import type { Transaction } from '../../../src/transaction/coordinator.js';
import { createTransactionCoordinator } from '../../../src/transaction/create-coordinator.js';
import type { Participant, ParticipantCallOptions } from '../../../src/transaction/participant.js';
import { type Fault, type StagedCoordinator, stage } from './stage.js';

const order = ({ stock, orders }: StagedCoordinator) => {
  return async (tx: Transaction): Promise<string> => {
    await (await tx.enlist(stock)).reserve('sku:42', 1);
    await (await tx.enlist(orders)).set('order:1', 'new');
    return 'placed';
  };
};

/** The named operation goes wrong so many times: its reply is lost, or it never arrives. */
const wrong = (operation: string, times: number, how: 'reply lost' | 'not sent'): Fault => {
  let left = times;
  return (name) => {
    if (name !== operation || left === 0) return undefined;
    left -= 1;
    if (how === 'not sent') throw new Error(`${operation} did not arrive`);
    return 'lost';
  };
};

/** Resolves when the signal is aborted. */
const aborted = (signal: AbortSignal | undefined): Promise<void> =>
  new Promise((resolve) => onAbort(signal, resolve));

for (const how of ['reply lost', 'not sent'] as const) {
  test(`a decision whose ${how} is sent again until the log answers: committed`, async () => {
    const { clock, stock, orders, process } = stage();
    const node = process();
    node.faults.log = wrong('decide', 3, how);
    const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, order(node)));
    expect(outcome).toMatchObject({ state: 'committed', pending: [] });
    expect([stock.read('sku:42'), orders.read('order:1')]).toEqual([9, 'new']);
  });

  test(`a decision whose ${how} until time is up is in doubt, and finished in the background`, async () => {
    const { clock, stock, orders, process } = stage();
    const node = process();
    node.faults.log = wrong('decide', Number.POSITIVE_INFINITY, how);
    let called = 0;
    const running = node.coordinator.run({ resourceId: 'o', timeoutMs: 3_000 }, (tx) => {
      tx.afterCommit(() => {
        called += 1;
      });
      return order(node)(tx);
    });
    const outcome = await clock.runUntil(running);
    expect(clock.monotonicMs()).toBe(3_000);
    expect(outcome).toMatchObject({ state: 'in-doubt', pending: ['stock', 'orders'] });
    expect(() => outcome.unwrap()).toThrow(
      expect.objectContaining({ code: 'TRANSACTION_IN_DOUBT' }),
    );
    const waiting = [];
    for await (const branch of node.coordinator.inDoubt()) waiting.push(branch);
    expect(waiting.map(({ participant, decision }) => [participant, decision])).toEqual([
      ['stock', 'unknown'],
      ['orders', 'unknown'],
    ]);
    expect(called).toBe(0);
    node.faults.log = () => undefined;
    await clock.advance(3_000);
    expect([stock.read('sku:42'), orders.read('order:1')]).toEqual([9, 'new']);
    expect(called).toBe(1);
    expect(node.coordinator.stats()).toMatchObject({ inDoubtCount: 1, resolvedCount: 1 });
    await node.coordinator.close();
    await clock.settle();
    expect(clock.timerCount).toBe(0);
  });
}

test('a decision that certainly was not sent aborts at once', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  node.faults.log = (operation) => {
    if (operation !== 'decide') return undefined;
    const details = { backend: 'memory', operation };
    throw new CoordinationError('BACKEND_UNAVAILABLE', 'the log is not connected', details);
  };
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, order(node)));
  expect(outcome).toMatchObject({
    state: 'aborted',
    by: 'log',
    reason: 'the log is not connected',
  });
  expect(clock.monotonicMs()).toBe(0);
  expect([stock.read('sku:42'), await stock.recover()]).toEqual([10, []]);
});

test('a refusal after a lost reply proves nothing, and is asked again', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const answers = ['lost', 'refused'];
  node.faults.log = (operation) => {
    if (operation !== 'decide') return undefined;
    const answer = answers.shift();
    if (answer !== 'refused') return answer === 'lost' ? 'lost' : undefined;
    throw new CoordinationError('LOG_FULL', 'full', { limit: 1, participants: [] });
  };
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, order(node)));
  expect(outcome).toMatchObject({ state: 'committed' });
  expect(stock.read('sku:42')).toBe(9);
});

test('a vote whose reply is lost is no yes: everything aborts, the prepared branch too', async () => {
  const { clock, stock, orders, process } = stage();
  const node = process();
  node.faults.participant = wrong('branch stock prepare', 1, 'reply lost');
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, order(node)));
  expect(outcome).toMatchObject({ state: 'aborted', by: 'participant', participant: 'stock' });
  expect([await stock.recover(), await orders.recover()]).toEqual([[], []]);
  expect(stock.read('sku:42')).toBe(10);
});

test('a participant that does not vote in time is aborted with the transaction', async () => {
  const { clock, stock, orders, process } = stage();
  const node = process();
  node.faults.participant = (operation) =>
    operation === 'branch orders prepare' ? new Promise(() => {}) : undefined;
  const running = node.coordinator.run({ resourceId: 'o', timeoutMs: 1_000 }, order(node));
  expect(await clock.runUntil(running)).toMatchObject({ state: 'aborted', by: 'timeout' });
  await clock.advance(5_000);
  expect([await stock.recover(), await orders.recover()]).toEqual([[], []]);
  expect(stock.read('sku:42')).toBe(10);
});

test('a commit whose reply is lost is repeated through the participant before run answers', async () => {
  const { clock, stock, log, process } = stage();
  const node = process();
  node.faults.participant = wrong('branch stock commit', 1, 'not sent');
  const outcome = await clock.runUntil(
    node.coordinator.run({ resourceId: 'o', waitFor: 'decided' }, order(node)),
  );
  expect(outcome).toMatchObject({ state: 'committed', pending: ['stock', 'orders'] });
  await clock.advance(1_000);
  expect(stock.read('sku:42')).toBe(9);
  const viewer = log.open({ nodeId: 'v', namespace: 'default', clock, random: systemRandom });
  expect((await viewer.find(outcome.transactionId))?.unacknowledged).toEqual([]);
});

test('a participant that fails in phase two is named as pending, and finished by the own sweep', async () => {
  const { clock, stock, log, process } = stage();
  const node = process({ sweepMs: 5_000 });
  node.faults.participant = (operation) => {
    if (/stock commit$/.test(operation)) throw new Error('stock is down');
    return undefined;
  };
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, order(node)));
  expect(outcome).toMatchObject({ state: 'committed', pending: ['stock'] });
  expect(stock.read('sku:42')).toBe(10);
  await clock.advance(20_000);
  const viewer = log.open({ nodeId: 'v', namespace: 'default', clock, random: systemRandom });
  expect((await viewer.find(outcome.transactionId))?.unacknowledged).toEqual(['stock']);
  expect(await stock.recover()).toHaveLength(1);
  node.faults.participant = () => undefined;
  await clock.advance(60_000);
  expect([stock.read('sku:42'), await stock.recover()]).toEqual([9, []]);
  await node.coordinator.close();
});

for (const how of ['reply lost', 'not sent'] as const) {
  test(`a one-phase commit whose ${how} is found out by evidence`, async () => {
    const { clock, stock, process } = stage();
    const node = process();
    node.faults.participant = wrong('branch stock commitOnePhase', 1, how);
    const running = node.coordinator.run({ resourceId: 'o', timeoutMs: 2_000 }, async (tx) => {
      await (await tx.enlist(node.stock)).reserve('sku:42', 1);
    });
    const { state } = await clock.runUntil(running);
    // What never arrived is kept from arriving still, and then counts as aborted.
    expect(state).toBe(how === 'reply lost' ? 'committed' : 'aborted');
    expect(stock.read('sku:42')).toBe(how === 'reply lost' ? 9 : 10);
    await node.coordinator.close({ drainMs: 0 });
  });
}

for (const fate of ['committed', 'aborted'] as const) {
  test(`evidence of a one-phase commit that comes after the time-out still tells: ${fate}`, async () => {
    const { clock, log, stock } = stage();
    const participant: Participant<MemoryBranch> = {
      ...stock,
      async enlist(context) {
        const branch = await stock.enlist(context);
        const commitOnePhase = async (options?: ParticipantCallOptions) => {
          // As a database does whose reply is lost: the answer is the end of the wait for it.
          await aborted(options?.signal);
          return { state: 'unknown', evidence: 'xid8:7', cause: new Error('no reply') } as const;
        };
        return { ...branch, commitOnePhase };
      },
      outcome: async ({ evidence }) => (evidence === 'xid8:7' ? fate : 'unknown'),
    };
    const coordinator = createTransactionCoordinator({
      log,
      participants: [participant],
      clock,
      sweepMs: Number.POSITIVE_INFINITY,
    });
    const running = coordinator.run({ resourceId: 'o', timeoutMs: 1_000 }, async (tx) => {
      await (await tx.enlist(participant)).set('a', 1);
    });
    expect(await clock.runUntil(running)).toMatchObject({ state: 'in-doubt' });
    expect(clock.monotonicMs()).toBe(1_000);
    await clock.advance(1_000);
    expect(coordinator.stats()).toMatchObject({ inDoubtCount: 1, resolvedCount: 1 });
    await coordinator.close();
  });
}

test('a fenced coordinator aborts what is undecided and goes on under a fresh incarnation', async () => {
  const { clock, stock, log, process } = stage();
  const node = process();
  const incarnations: string[] = [];
  const viewer = log.open({ nodeId: 'v', namespace: 'default', clock, random: systemRandom });
  for (const isFenced of [true, false]) {
    const outcome = await clock.runUntil(
      node.coordinator.run({ resourceId: 'o' }, async (tx) => {
        const [, , , incarnation = ''] = tx.transactionId.split('.');
        incarnations.push(incarnation);
        await order(node)(tx);
        if (isFenced) await viewer.fence(incarnation);
      }),
    );
    expect(outcome).toMatchObject(
      isFenced ? { state: 'aborted', by: 'fence' } : { state: 'committed' },
    );
  }
  expect(new Set(incarnations).size).toBe(2);
  expect(stock.read('sku:42')).toBe(9);
  expect(node.coordinator.stats().fencedCount).toBe(1);
});

test('a decision that was recorded, unanswered, recovered and forgotten is not called aborted', async () => {
  const { clock, stock, process } = stage();
  const [owner, recoverer] = [process(), process()];
  let sent = 0;
  owner.faults.log = async (operation) => {
    if (operation !== 'decide') return undefined;
    sent += 1;
    if (sent === 2) {
      // While the owner waits to ask again, another node takes it for dead and ends everything.
      await owner.seemDead();
      await recoverer.coordinator.recover();
      await clock.advance(120_000);
      await recoverer.coordinator.recover();
    }
    return sent === 1 ? 'lost' : undefined;
  };
  const outcome = await clock.runUntil(
    owner.coordinator.run({ resourceId: 'o', timeoutMs: 600_000 }, order(owner)),
  );
  expect(outcome).toMatchObject({ state: 'committed' });
  expect(stock.read('sku:42')).toBe(9);
});

test('a log that does not answer at the start is an error in time, and the next one begins', async () => {
  const { clock, process } = stage();
  const node = process();
  node.faults.log = () => new Promise(() => {});
  const running = node.coordinator.run({ resourceId: 'o', timeoutMs: 1_500 }, order(node));
  await expect(clock.runUntil(running)).rejects.toMatchObject({
    code: 'BACKEND_UNAVAILABLE',
    message: 'memory log did not answer register within 1500 ms',
  });
  node.faults.log = () => undefined;
  await clock.advance(20_000);
  expect(await clock.runUntil(node.coordinator.commit({ resourceId: 'o' }, order(node)))).toBe(
    'placed',
  );
});
