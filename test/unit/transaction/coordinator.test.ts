import { expect, test } from 'vitest';
import { isCoordinationError } from '../../../src/core/errors.js';
import { parseTransactionId } from '../../../src/core/ids.js';
import type { Transaction } from '../../../src/transaction/coordinator.js';
import { type StagedCoordinator, stage } from './stage.js';

const order = ({ stock, orders }: StagedCoordinator) => {
  return async (tx: Transaction): Promise<string> => {
    await (await tx.enlist(stock)).reserve('sku:42', 1);
    await (await tx.enlist(orders)).insert('order:1', { sku: 'sku:42' });
    return 'placed';
  };
};

test('a transaction over two participants commits in both, and answers the value', async () => {
  const { clock, stock, orders, process } = stage();
  const node = process();
  const running = node.coordinator.run({ resourceId: 'order:1' }, order(node));
  const outcome = await clock.runUntil(running);
  expect(outcome).toMatchObject({ state: 'committed', value: 'placed', pending: [] });
  expect(outcome.unwrap()).toBe('placed');
  expect(stock.read('sku:42')).toBe(9);
  expect(orders.read('order:1')).toEqual({ sku: 'sku:42' });
  expect(parseTransactionId(outcome.transactionId)?.authority).toBe('memory');
  await node.coordinator.close();
  expect(clock.timerCount).toBe(0);
});

test('the body that throws aborts everything; run answers it, commit rethrows it as it is', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const declined = new Error('card declined');
  const body = async (tx: Transaction): Promise<never> => {
    await (await tx.enlist(node.stock)).reserve('sku:42', 1);
    throw declined;
  };
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, body));
  expect(outcome).toMatchObject({ state: 'aborted', by: 'body', reason: 'card declined' });
  expect(outcome.state === 'aborted' && outcome.cause).toBe(declined);
  await expect(clock.runUntil(node.coordinator.commit({ resourceId: 'o' }, body))).rejects.toBe(
    declined,
  );
  expect(stock.read('sku:42')).toBe(10);
});

test('a participant that votes no aborts everything, and is named', async () => {
  const { clock, stock, orders, process } = stage();
  const node = process();
  const body = async (tx: Transaction): Promise<void> => {
    const branch = await tx.enlist(node.stock);
    await branch.get('sku:42');
    await branch.set('sku:42', 1);
    await (await tx.enlist(node.orders)).set('order:1', 'new');
    stock.load({ 'sku:42': 5 });
  };
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, body));
  expect(outcome).toMatchObject({ state: 'aborted', by: 'participant', participant: 'stock' });
  expect(() => outcome.unwrap()).toThrow(/aborted by participant "stock".*nothing of it took/);
  expect(orders.read('order:1')).toBeUndefined();
  expect(node.coordinator.stats().abortedBy.participant).toBe(1);
});

test('rollback only aborts although the body returned', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const outcome = await clock.runUntil(
    node.coordinator.run({ resourceId: 'o' }, async (tx) => {
      await (await tx.enlist(node.stock)).reserve('sku:42', 1);
      tx.setRollbackOnly('only a rehearsal');
    }),
  );
  expect(outcome).toMatchObject({ by: 'rollback-only', reason: 'only a rehearsal' });
  expect(stock.read('sku:42')).toBe(10);
});

test('branches that only read cost no decision, and a single branch commits in one phase', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const operations: string[] = [];
  const watch = (operation: string): undefined => {
    operations.push(operation);
  };
  node.faults = Object.assign(node.faults, { log: watch, participant: watch });
  await clock.runUntil(
    node.coordinator.commit({ resourceId: 'o' }, async (tx) => {
      await (await tx.enlist(node.stock)).get('sku:42');
      await (await tx.enlist(node.orders)).get('order:1');
    }),
  );
  await clock.runUntil(
    node.coordinator.commit({ resourceId: 'o' }, async (tx) => {
      await (await tx.enlist(node.stock)).reserve('sku:42', 1);
    }),
  );
  expect(operations).not.toContain('decide');
  expect(operations.filter((each) => each.endsWith(' commitOnePhase'))).toHaveLength(1);
  expect(stock.read('sku:42')).toBe(9);
});

test('a committed transaction costs one write of the log, an aborted one none', async () => {
  const { clock, process } = stage();
  const node = process();
  await clock.runUntil(node.coordinator.commit({ resourceId: 'o' }, order(node)));
  const operations: string[] = [];
  node.faults.log = (operation) => {
    operations.push(operation);
    return undefined;
  };
  node.faults.participant = (operation) => {
    operations.push(operation);
    return undefined;
  };
  await clock.runUntil(
    node.coordinator.commit({ resourceId: 'o' }, async (tx) => {
      await (await tx.enlist(node.stock)).reserve('sku:42', 1);
      await (await tx.enlist(node.orders)).set('order:2', 1);
    }),
  );
  await clock.settle();
  const sent = operations.splice(0).filter((each) => !each.startsWith('enlist'));
  expect(sent.sort()).toEqual([
    'acknowledge',
    'branch orders commit',
    'branch orders prepare',
    'branch stock commit',
    'branch stock prepare',
    'decide',
  ]);
  await clock.runUntil(
    node.coordinator.run({ resourceId: 'o' }, async (tx) => {
      await (await tx.enlist(node.stock)).reserve('sku:42', 1);
      throw new Error('no');
    }),
  );
  expect(operations).toEqual(['enlist stock', 'branch stock abort']);
});

test('enlisting one participant twice answers one handle, also at the same time', async () => {
  const { clock, process } = stage();
  const node = process();
  await clock.runUntil(
    node.coordinator.commit({ resourceId: 'o' }, async (tx) => {
      const [one, other] = await Promise.all([tx.enlist(node.stock), tx.enlist(node.stock)]);
      expect(one).toBe(other);
      expect(await tx.enlist(node.stock)).toBe(one);
    }),
  );
});

test('a participant that was not registered is refused, by name and with what to do', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const running = node.coordinator.commit({ resourceId: 'o' }, (tx) => tx.enlist(stock));
  const error = await clock.runUntil(running).catch((thrown: unknown) => thrown);
  expect(isCoordinationError(error, 'PARTICIPANT_UNKNOWN')).toBe(true);
  expect(String(error)).toMatch(/"stock".*createTransactionCoordinator/);
});

test('handles and the transaction refuse with BRANCH_ENDED after the end', async () => {
  const { clock, process } = stage();
  const node = process();
  const kept = await clock.runUntil(
    node.coordinator.commit({ resourceId: 'o' }, async (tx) => {
      const handle = await tx.enlist(node.stock);
      await handle.reserve('sku:42', 1);
      return { tx, handle };
    }),
  );
  await expect(kept.handle.get('sku:42')).rejects.toMatchObject({ code: 'BRANCH_ENDED' });
  await expect(kept.tx.enlist(node.orders)).rejects.toMatchObject({ code: 'BRANCH_ENDED' });
});

test('a transaction inside another one of the same coordinator is refused, one after it is not', async () => {
  const { clock, process } = stage();
  const [node, other] = [process(), process()];
  let later = Promise.resolve('');
  const nested = node.coordinator.run({ resourceId: 'outer' }, async () => {
    const another = await other.coordinator.commit({ resourceId: 'elsewhere' }, () => 'fine');
    expect(another).toBe('fine');
    later = new Promise((resolve) => clock.schedule(100, () => resolve(''))).then(() =>
      node.coordinator.commit({ resourceId: 'later' }, () => 'later'),
    );
    await node.coordinator.run({ resourceId: 'inner' }, () => 'never');
  });
  const outcome = await clock.runUntil(nested);
  expect(outcome).toMatchObject({ state: 'aborted', cause: { code: 'TRANSACTION_NESTED' } });
  expect(await clock.runUntil(later)).toBe('later');
});

test('a transaction that a callback of the body begins is nested too', async () => {
  const { clock, process } = stage();
  const { coordinator } = process();
  const outcome = await clock.runUntil(
    coordinator.run({ resourceId: 'outer', timeoutMs: 10_000 }, async () => {
      const inner = new Promise((resolve, reject) => {
        setImmediate(() => {
          coordinator
            .run({ resourceId: 'inner', timeoutMs: 1_000 }, () => {})
            .then(resolve, reject);
        });
      });
      await inner;
    }),
  );
  expect(outcome).toMatchObject({ state: 'aborted', cause: { code: 'TRANSACTION_NESTED' } });
});

test('time that runs out aborts a body that does not listen, and its signal says so', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  let signal: AbortSignal | undefined;
  const running = node.coordinator.run({ resourceId: 'o', timeoutMs: 2_000 }, async (tx) => {
    ({ signal } = tx);
    await (await tx.enlist(node.stock)).reserve('sku:42', 1);
    await new Promise(() => {});
  });
  const startMs = clock.monotonicMs();
  const outcome = await clock.runUntil(running);
  expect(outcome).toMatchObject({ state: 'aborted', by: 'timeout' });
  expect(clock.monotonicMs() - startMs).toBe(2_000);
  expect(signal?.aborted).toBe(true);
  expect(stock.read('sku:42')).toBe(10);
});

test("the caller's signal aborts until the decision was sent, and not afterwards", async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const early = new AbortController();
  const reason = new Error('the customer left');
  const aborted = await clock.runUntil(
    node.coordinator.run({ resourceId: 'o', signal: early.signal }, async (tx) => {
      await (await tx.enlist(node.stock)).reserve('sku:42', 1);
      early.abort(reason);
      expect(tx.signal.reason).toBe(reason);
    }),
  );
  expect(aborted).toMatchObject({ state: 'aborted', by: 'signal', cause: reason });
  const late = new AbortController();
  node.faults.log = (operation) => {
    if (operation === 'decide') late.abort(reason);
    return undefined;
  };
  const running = node.coordinator.run({ resourceId: 'o', signal: late.signal }, order(node));
  expect(await clock.runUntil(running)).toMatchObject({ state: 'committed' });
  expect(stock.read('sku:42')).toBe(9);
  const { signal } = late;
  const before = node.coordinator.run({ resourceId: 'o', signal }, order(node));
  await expect(before).rejects.toBe(reason);
});

test('callbacks run after a commit in order, never after an abort, and cannot change the outcome', async () => {
  const { clock, process } = stage();
  const node = process();
  const called: string[] = [];
  const outcome = await clock.runUntil(
    node.coordinator.run({ resourceId: 'o' }, (tx) => {
      tx.afterCommit(() => {
        called.push('first');
        throw new Error('the cache is down');
      });
      tx.afterCommit(() => called.push('second'));
    }),
  );
  expect(outcome.state).toBe('committed');
  expect(called).toEqual(['first', 'second']);
  await clock.runUntil(
    node.coordinator.run({ resourceId: 'o' }, (tx) => {
      tx.afterCommit(() => called.push('never'));
      throw new Error('no');
    }),
  );
  expect(called).toEqual(['first', 'second']);
});

test('close waits for those under way, aborts the rest, and lets the process end', async () => {
  const { clock, process } = stage();
  const node = process({ sweepMs: 5_000 });
  const quick = node.coordinator.run({ resourceId: 'quick' }, async () => {
    await new Promise<void>((resolve) => clock.schedule(500, resolve));
    return 'done';
  });
  const stuck = node.coordinator.run({ resourceId: 'stuck' }, () => new Promise(() => {}));
  await clock.settle();
  const closing = node.coordinator.close({ drainMs: 1_000 });
  await expect(node.coordinator.run({ resourceId: 'late' }, () => 1)).rejects.toMatchObject({
    code: 'CLOSED',
  });
  await clock.runUntil(closing);
  expect(await quick).toMatchObject({ state: 'committed', value: 'done' });
  expect(await stuck).toMatchObject({ state: 'aborted', by: 'close' });
  await clock.settle();
  expect(clock.timerCount).toBe(0);
  await node.coordinator.close();
});

test('a coordinator that is never used keeps no process running', async () => {
  const { clock, process } = stage();
  process({ sweepMs: 5_000 });
  await clock.advance(20_000);
  expect(clock.keepAliveCount).toBe(0);
});

test('one signal for very many transactions costs no warning, and each one ends by it', async () => {
  const { clock, process: start } = stage();
  const node = start();
  const warnings: string[] = [];
  const listen = ({ name }: Error): void => {
    warnings.push(name);
  };
  process.on('warning', listen);
  const controller = new AbortController();
  const { signal } = controller;
  const all = Array.from({ length: 50 }, (_, index) =>
    node.coordinator.run({ resourceId: `o:${index}`, signal }, async (tx) => {
      await (await tx.enlist(node.stock)).increment('sold', 1);
      await (await tx.enlist(node.orders)).increment('sold', 1);
      if (index % 2 === 1) await new Promise(() => {});
    }),
  );
  await clock.settle();
  controller.abort(new Error('enough'));
  const states = (await clock.runUntil(Promise.all(all))).map(({ state }) => state);
  expect(states.filter((state) => state === 'committed')).toHaveLength(25);
  expect(states.filter((state) => state === 'aborted')).toHaveLength(25);
  await clock.settle();
  process.off('warning', listen);
  expect(warnings).toEqual([]);
});
