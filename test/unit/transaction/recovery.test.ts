import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { expect, test } from 'vitest';
import { systemRandom } from '../../../src/core/random.js';
import { memoryTransactions } from '../../../src/drivers/memory/transactions.js';
import type { Transaction } from '../../../src/transaction/coordinator.js';
import { createTransactionCoordinator } from '../../../src/transaction/create-coordinator.js';
import type { InDoubtBranch } from '../../../src/transaction/recovery-report.js';
import { type StagedCoordinator, stage } from './stage.js';

const order = ({ stock, orders }: StagedCoordinator) => {
  return async (tx: Transaction): Promise<void> => {
    await (await tx.enlist(stock)).reserve('sku:42', 1);
    await (await tx.enlist(orders)).set(`order:${tx.transactionId}`, 'new');
  };
};

/** A process that dies with both branches prepared, before or after its decision was recorded. */
async function leaveBehind(
  { clock, process }: ReturnType<typeof stage>,
  when: 'undecided' | 'decided',
): Promise<StagedCoordinator> {
  const node = process();
  node.faults.log = async (operation) => {
    if (operation !== 'decide') return undefined;
    if (when === 'undecided') await node.crash();
    return 'dead';
  };
  node.coordinator.run({ resourceId: 'o' }, order(node)).catch(() => {});
  await clock.settle();
  return node;
}

async function listed(node: StagedCoordinator): Promise<readonly InDoubtBranch[]> {
  const branches: InDoubtBranch[] = [];
  for await (const branch of node.coordinator.inDoubt()) branches.push(branch);
  return branches;
}

for (const [when, ending, left] of [
  ['undecided', 'aborted', 10],
  ['decided', 'committed', 9],
] as const) {
  test(`what a dead coordinator left ${when} is listed, ${ending}, and reported with its age`, async () => {
    const here = stage();
    const { clock, stock, process } = here;
    await leaveBehind(here, when);
    await clock.advance(7_000);
    const other = process();
    const decision = when === 'decided' ? 'commit' : 'none';
    expect(await listed(other)).toMatchObject([
      { participant: 'stock', decision, ageMs: 7_000 },
      { participant: 'orders', decision, ageMs: 7_000 },
    ]);
    const report = await clock.runUntil(other.coordinator.recover());
    expect(report).toMatchObject({ inDoubt: 2, [ending]: 2, inDoubtMsMax: 7_000, failed: [] });
    expect(report.branches[0]).toMatchObject({ outcome: ending, inDoubtMs: 7_000 });
    expect(stock.read('sku:42')).toBe(left);
    expect(await listed(other)).toEqual([]);
    const again = await clock.runUntil(other.coordinator.recover());
    expect(again).toMatchObject({ inDoubt: 0, recommitted: 0 });
  });
}

test('the sweep recovers at the start and then again and again, without being asked', async () => {
  const here = stage();
  const { clock, stock, orders, process } = here;
  await leaveBehind(here, 'decided');
  const node = process({ sweepMs: 5_000 });
  await clock.advance(10);
  expect(stock.read('sku:42')).toBe(9);
  await leaveBehind(here, 'decided');
  await clock.advance(6_500);
  expect([stock.read('sku:42'), await orders.recover()]).toEqual([8, []]);
  await node.coordinator.close();
});

test('a live coordinator is left alone, however slow it is', async () => {
  const { clock, stock, process } = stage();
  const [slow, other] = [process(), process()];
  let release = (): void => {};
  slow.faults.log = (operation) =>
    operation === 'decide'
      ? new Promise((resolve) => {
          release = () => resolve(undefined);
        })
      : undefined;
  const running = slow.coordinator.run({ resourceId: 'o' }, order(slow));
  await clock.advance(8_000);
  expect(await stock.recover()).toHaveLength(1);
  const report = await clock.runUntil(other.coordinator.recover());
  expect(report).toMatchObject({ inDoubt: 0, fenced: [] });
  await clock.runUntil(slow.coordinator.recover());
  release();
  expect(await clock.runUntil(running)).toMatchObject({ state: 'committed', pending: [] });
  expect(stock.read('sku:42')).toBe(9);
});

test('a coordinator that only seemed dead cannot commit what was rolled back', async () => {
  const { clock, stock, process } = stage();
  const [paused, other] = [process(), process()];
  let release = (): void => {};
  paused.faults.log = (operation) =>
    operation === 'decide'
      ? new Promise((resolve) => {
          release = () => resolve(undefined);
        })
      : undefined;
  const running = paused.coordinator.run({ resourceId: 'o' }, order(paused));
  await clock.settle();
  await paused.seemDead();
  const report = await clock.runUntil(other.coordinator.recover());
  expect(report).toMatchObject({ inDoubt: 2, aborted: 2 });
  expect(report.fenced).toHaveLength(1);
  release();
  expect(await clock.runUntil(running)).toMatchObject({ state: 'aborted', by: 'fence' });
  expect(stock.read('sku:42')).toBe(10);
});

test('a live coordinator rolls back its own branch that became prepared too late', async () => {
  const { clock, stock, process } = stage();
  const node = process({ sweepMs: 5_000 });
  node.faults.participant = (operation) => {
    if (operation === 'branch stock prepare') return 'lost';
    if (/stock abort$/.test(operation)) throw new Error('stock is down');
    return undefined;
  };
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, order(node)));
  expect(outcome).toMatchObject({ state: 'aborted', participant: 'stock' });
  await clock.advance(10_000);
  expect(await stock.recover()).toHaveLength(1);
  node.faults.participant = () => undefined;
  await clock.advance(60_000);
  expect(await stock.recover()).toEqual([]);
  expect(node.coordinator.stats().fencedCount).toBe(0);
  await node.coordinator.close();
});

for (const how of ['fails', 'hangs'] as const) {
  test(`a participant that ${how} holds up neither the others nor new transactions`, async () => {
    const here = stage();
    const { clock, orders, stock, process } = here;
    await leaveBehind(here, 'decided');
    const node = process();
    node.faults.participant = (operation) => {
      if (!operation.startsWith('stock ')) return undefined;
      if (how === 'fails') throw new Error('stock is down');
      return new Promise(() => {});
    };
    const report = await clock.runUntil(node.coordinator.recover());
    expect(report.committed).toBe(1);
    expect(report.failed).toMatchObject([{ participant: 'stock' }]);
    expect(clock.monotonicMs()).toBeLessThanOrEqual(10_000);
    expect(orders.entries()).toHaveLength(1);
    node.faults.participant = () => undefined;
    expect(await clock.runUntil(node.coordinator.recover())).toMatchObject({ committed: 1 });
    expect(stock.read('sku:42')).toBe(9);
  });
}

test('branches of other namespaces and of other logs are reported and never touched', async () => {
  const here = stage();
  const { clock, stock, orders, process } = here;
  const foreign = process({ namespace: 'staging' });
  foreign.faults.log = async (operation) => {
    if (operation === 'decide') await foreign.crash();
    return undefined;
  };
  foreign.coordinator.run({ resourceId: 'o' }, order(foreign)).catch(() => {});
  await clock.settle();
  const elsewhere = { ...memoryTransactions({ clock }), authority: 'other' };
  const [node, stranger] = [
    process(),
    createTransactionCoordinator({
      log: elsewhere,
      participants: [stock, orders],
      namespace: 'staging',
      sweepMs: Number.POSITIVE_INFINITY,
      clock,
    }),
  ];
  for (const { recover } of [node.coordinator, stranger]) {
    const report = await clock.runUntil(recover());
    expect(report).toMatchObject({ inDoubt: 0 });
    expect(report.unknownNamespace).toMatchObject([
      { participant: 'stock', namespace: 'staging', authority: 'memory' },
      { participant: 'orders', namespace: 'staging', authority: 'memory' },
    ]);
  }
  expect([...(await stock.recover()), ...(await orders.recover())]).toHaveLength(2);
});

test('a commit record of a participant that is not registered here is reported and kept', async () => {
  const here = stage();
  const { clock, log, stock } = here;
  await leaveBehind(here, 'decided');
  const partial = createTransactionCoordinator({
    log,
    participants: [stock],
    sweepMs: Number.POSITIVE_INFINITY,
    clock,
  });
  const report = await clock.runUntil(partial.recover());
  expect(report).toMatchObject({ committed: 1, unknownParticipants: ['orders'] });
  await clock.advance(200_000);
  await clock.runUntil(partial.recover());
  const complete = here.process();
  expect(await clock.runUntil(complete.coordinator.recover())).toMatchObject({ committed: 1 });
});

test('an incarnation that is silent for good and left nothing is forgotten by the sweep', async () => {
  const { clock, log, process } = stage();
  const [gone, node] = [process(), process({ sweepMs: 5_000 })];
  await clock.runUntil(gone.coordinator.commit({ resourceId: 'o' }, order(gone)));
  await clock.settle();
  await gone.crash();
  const viewer = log.open({ nodeId: 'v', namespace: 'default', clock, random: systemRandom });
  await clock.advance(30_000);
  expect(await viewer.incarnations()).toHaveLength(1);
  await clock.advance(60_000);
  expect(await viewer.incarnations()).toHaveLength(0);
  await node.coordinator.close();
});

test('a branch that somebody ended by hand against its decision is reported, not hidden', async () => {
  const here = stage();
  const { clock, stock, process } = here;
  await leaveBehind(here, 'decided');
  const [branch] = await stock.recover();
  await stock.abort({ branchId: branch?.branchId ?? '', evidence: '' });
  const node = process();
  const seen: unknown[] = [];
  const listen = (event: unknown): void => {
    seen.push(event);
  };
  subscribe('tricord:transaction.contradicted', listen);
  const report = await clock.runUntil(node.coordinator.recover());
  unsubscribe('tricord:transaction.contradicted', listen);
  expect(report.failed).toMatchObject([{ error: { code: 'OUTCOME_CONTRADICTED' } }]);
  expect(seen).toMatchObject([{ participant: 'stock', branchId: branch?.branchId }]);
});

test('recover rejects when the log cannot be reached, and the sweep goes on trying', async () => {
  const here = stage();
  const { clock, stock, process } = here;
  await leaveBehind(here, 'decided');
  const node = process({ sweepMs: 5_000 });
  node.faults.log = () => {
    throw new Error('the log is down');
  };
  await expect(clock.runUntil(node.coordinator.recover())).rejects.toThrow('the log is down');
  await clock.advance(12_000);
  expect(stock.read('sku:42')).toBe(10);
  node.faults.log = () => undefined;
  await clock.advance(20_000);
  expect(stock.read('sku:42')).toBe(9);
  await node.coordinator.close();
});

test('inDoubt() lists what the others hold before it throws what a broken participant met', async () => {
  const here = stage();
  const { clock, process } = here;
  await leaveBehind(here, 'decided');
  const node = process();
  const away = new Error('stock is away');
  node.faults.participant = (operation) => {
    if (operation === 'stock recover') throw away;
    return undefined;
  };
  const branches: InDoubtBranch[] = [];
  const listing = (async () => {
    for await (const branch of node.coordinator.inDoubt()) branches.push(branch);
  })();
  await expect(clock.runUntil(listing)).rejects.toBe(away);
  expect(branches.map(({ participant, decision }) => [participant, decision])).toEqual([
    ['orders', 'commit'],
  ]);
});
