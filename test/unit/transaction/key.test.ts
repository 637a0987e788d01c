import { expect, test } from 'vitest';
import { CoordinationError } from '../../../src/core/errors.js';
import type { Transaction } from '../../../src/transaction/coordinator.js';
import { type StagedCoordinator, stage } from './stage.js';

// A transaction's key: the same key answers with the first outcome that was committed.

const KEY = 'payment:77';
const pay = ({ stock, orders }: StagedCoordinator, name = 'order:1') => {
  return async (tx: Transaction): Promise<string> => {
    await (await tx.enlist(stock)).reserve('sku:42', 1);
    await (await tx.enlist(orders)).set(name, 'placed');
    return name;
  };
};
const options = { resourceId: 'order:1', key: KEY };

test('the same key runs the body once, also from another process, and says that it did not', async () => {
  const { clock, stock, process } = stage();
  const [one, other] = [process(), process()];
  const first = await clock.runUntil(one.coordinator.run(options, pay(one)));
  expect(first).toMatchObject({ state: 'committed', value: 'order:1' });
  expect(first.state === 'committed' && first.isRepeated).toBeUndefined();
  for (const node of [one, other]) {
    const again = await clock.runUntil(node.coordinator.run(options, pay(node)));
    const { transactionId } = first;
    expect(again).toEqual({
      ...{ state: 'committed', transactionId, value: undefined, pending: [] },
      isRepeated: true,
    });
    expect(again.unwrap()).toBeUndefined();
    expect(node.coordinator.stats().repeatedCount).toBe(1);
    expect(node.coordinator.stats().inFlightCount).toBe(0);
  }
  expect(stock.read('sku:42')).toBe(9);
});

test('an abort is not remembered: the same key may be tried again', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const failing = (): never => {
    throw new Error('declined');
  };
  const first = await clock.runUntil(node.coordinator.run(options, failing));
  expect(first.state).toBe('aborted');
  const second = await clock.runUntil(node.coordinator.run(options, pay(node)));
  expect(second).toMatchObject({ state: 'committed', value: 'order:1' });
  expect(stock.read('sku:42')).toBe(9);
});

test('a duplicate in the same process is refused before its body runs', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  let bodies = 0;
  const body = (tx: Transaction) => {
    bodies += 1;
    return pay(node)(tx);
  };
  const runs = [node.coordinator.run(options, body), node.coordinator.run(options, body)];
  const [first, second] = await clock.runUntil(Promise.allSettled(runs));
  expect(first).toMatchObject({ value: { state: 'committed' } });
  expect(second).toMatchObject({
    reason: { code: 'TRANSACTION_KEY_BUSY', retryable: true, details: { key: KEY } },
  });
  expect([bodies, stock.read('sku:42')]).toEqual([1, 9]);
});

test('of two processes that race, one commits and the other is told that the key is busy', async () => {
  const { clock, stock, orders, process } = stage();
  const [one, other] = [process(), process()];
  const runs = [
    one.coordinator.run(options, pay(one, 'order:1')),
    other.coordinator.run(options, pay(other, 'order:2')),
  ];
  const settled = await clock.runUntil(Promise.allSettled(runs));
  const committed = settled.filter(
    (each) => each.status === 'fulfilled' && each.value.state === 'committed',
  );
  const busy = settled.filter(
    (each) => each.status === 'rejected' && each.reason.code === 'TRANSACTION_KEY_BUSY',
  );
  expect([committed.length, busy.length]).toEqual([1, 1]);
  expect(stock.read('sku:42')).toBe(9);
  expect([orders.read('order:1'), orders.read('order:2')].filter(Boolean)).toHaveLength(1);
  const again = await clock.runUntil(other.coordinator.run(options, pay(other)));
  expect(again).toMatchObject({ state: 'committed', isRepeated: true });
});

test('a single branch with a key is decided in the log, not in one phase', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const calls: string[] = [];
  node.faults.log = (operation) => {
    calls.push(operation);
    return undefined;
  };
  const body = async (tx: Transaction): Promise<void> => {
    await (await tx.enlist(node.stock)).reserve('sku:42', 1);
  };
  await clock.runUntil(node.coordinator.run(options, body));
  await clock.settle();
  const about = calls.filter((each) => /Key|decide|acknowledge/.test(each));
  expect(about).toEqual(['findKey', 'reserveKey', 'decide', 'confirmKey', 'acknowledge']);
  await clock.runUntil(node.coordinator.run(options, body));
  expect(stock.read('sku:42')).toBe(9);
});

test('a process that died with the key reserved is fenced, and its key taken over', async () => {
  const { clock, stock, process } = stage();
  const [dying, other] = [process(), process()];
  dying.faults.log = async (operation) => {
    if (operation === 'decide') await dying.crash();
    return undefined;
  };
  void dying.coordinator.run(options, pay(dying)).catch(() => {});
  await clock.advance(100);
  const outcome = await clock.runUntil(other.coordinator.run(options, pay(other, 'order:2')));
  // What the dead one reserved is still locked; its key is not.
  expect(outcome).toMatchObject({ state: 'committed', value: 'order:2' });
  await clock.runUntil(other.coordinator.recover());
  expect(stock.read('sku:42')).toBe(9);
});

test('a decision whose reply was lost with its process counts: the key answers it', async () => {
  const { clock, stock, process } = stage();
  const [dying, other] = [process(), process()];
  dying.faults.log = (operation) => (operation === 'decide' ? 'dead' : undefined);
  void dying.coordinator.run(options, pay(dying)).catch(() => {});
  await clock.advance(100);
  const outcome = await clock.runUntil(other.coordinator.run(options, pay(other)));
  expect(outcome).toMatchObject({ state: 'committed', isRepeated: true });
  await clock.runUntil(other.coordinator.recover());
  expect(stock.read('sku:42')).toBe(9);
});

test('the key outlives a record that recovery finished and the log forgot', async () => {
  const { clock, stock, log, process } = stage({ recordRetainMs: 0 });
  const [dying, other] = [process(), process()];
  dying.faults.log = (operation) => (operation === 'decide' ? 'dead' : undefined);
  void dying.coordinator.run(options, pay(dying)).catch(() => {});
  await clock.advance(100);
  for (let pass = 0; pass < 2; pass += 1) await clock.runUntil(other.coordinator.recover());
  expect(log.backend).toBe('memory');
  const outcome = await clock.runUntil(other.coordinator.run(options, pay(other)));
  expect(outcome).toMatchObject({ state: 'committed', isRepeated: true });
  expect(stock.read('sku:42')).toBe(9);
});

test('a transaction that aborts after it reserved its key gives the key up', async () => {
  const { clock, stock, process } = stage();
  const [one, other] = [process(), process()];
  one.faults.log = (operation) => {
    if (operation !== 'decide') return undefined;
    const details = { backend: 'memory', operation };
    throw new CoordinationError('BACKEND_UNAVAILABLE', 'it is away', details);
  };
  const refused = await clock.runUntil(one.coordinator.run(options, pay(one)));
  expect(refused).toMatchObject({ state: 'aborted', by: 'log' });
  const outcome = await clock.runUntil(other.coordinator.run(options, pay(other)));
  expect(outcome).toMatchObject({ state: 'committed', value: 'order:1' });
  expect(stock.read('sku:42')).toBe(9);
});

test('the key is free again after a day', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  await clock.runUntil(node.coordinator.run(options, pay(node)));
  await clock.advance(86_400_001);
  const outcome = await clock.runUntil(node.coordinator.run(options, pay(node)));
  expect(outcome).toMatchObject({ state: 'committed', value: 'order:1' });
  expect(stock.read('sku:42')).toBe(8);
});

test('a slow process whose key was taken over by another one commits no more', async () => {
  const { clock, stock, process } = stage();
  const [slow, other] = [process(), process()];
  slow.faults.log = async (operation) => {
    if (operation !== 'decide') return undefined;
    // It only seems dead; its decision is on its way.
    await slow.seemDead();
    await new Promise<void>((resolve) => clock.schedule(1_000, resolve));
    return undefined;
  };
  const late = slow.coordinator.run(options, pay(slow, 'order:1'));
  await clock.advance(100);
  const outcome = await clock.runUntil(other.coordinator.run(options, pay(other, 'order:2')));
  expect(outcome).toMatchObject({ state: 'committed', value: 'order:2' });
  expect(await clock.runUntil(late)).toMatchObject({ state: 'aborted', by: 'fence' });
  expect(stock.read('sku:42')).toBe(9);
});
