import { expect, test } from 'vitest';
import type { Transaction } from '../../../src/transaction/coordinator.js';
import { type StagedCoordinator, stage } from './stage.js';

// `retry`: another try after a conflict with others, as a fresh transaction.

const sqlError = (code: string): Error => Object.assign(new Error(`sql ${code}`), { code });
const retry = { attempts: 3 };

/** A body that fails with these, one after the other, and then reserves. */
function failing(node: StagedCoordinator, failures: readonly unknown[]) {
  const ids: string[] = [];
  const body = async (tx: Transaction): Promise<number> => {
    ids.push(tx.transactionId);
    expect(tx.attempt).toBe(ids.length);
    await (await tx.enlist(node.stock)).reserve('sku:42', 1);
    await (await tx.enlist(node.orders)).set('order:1', tx.attempt);
    const failure = failures[ids.length - 1];
    if (failure !== undefined) throw failure;
    return ids.length;
  };
  return { ids, body };
}

test.each([
  ['a serialization failure', sqlError('40001')],
  ['a deadlock', sqlError('40P01')],
  ['a deadlock of MariaDB', Object.assign(new Error('deadlock'), { errno: 1213 })],
  ['a lock that was waited for too long', Object.assign(new Error('lock'), { errno: 1205 })],
  ['one of these as the cause', new Error('orders', { cause: sqlError('40001') })],
])('%s is tried again as a fresh transaction', async (_, failure) => {
  const { clock, stock, process } = stage();
  const node = process();
  const { ids, body } = failing(node, [failure, failure]);
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o', retry }, body));
  expect(outcome).toMatchObject({ state: 'committed', value: 3, transactionId: ids[2] });
  expect(new Set(ids).size).toBe(3);
  expect(stock.read('sku:42')).toBe(9);
  const stats = node.coordinator.stats();
  expect([stats.retriedCount, stats.abortedCount, stats.committedCount]).toEqual([2, 2, 1]);
  expect(stats.inFlightCount).toBe(0);
});

test('attempts are bounded, and the last outcome is the answer', async () => {
  const { clock, stock, process } = stage();
  const node = process();
  const failure = sqlError('40001');
  const { ids, body } = failing(node, [failure, failure, failure]);
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o', retry }, body));
  expect(outcome).toMatchObject({ state: 'aborted', by: 'body', cause: failure });
  expect([ids.length, stock.read('sku:42')]).toEqual([3, 10]);
});

test.each([
  ['any other error', new Error('declined')],
  ['a unique violation', sqlError('23505')],
  ['what is no error', '40001'],
])('%s is not tried again', async (_, failure) => {
  const { clock, process } = stage();
  const node = process();
  const { ids, body } = failing(node, [failure]);
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o', retry }, body));
  expect([outcome.state, ids.length]).toEqual(['aborted', 1]);
});

test('without the option nothing is tried again', async () => {
  const { clock, process } = stage();
  const node = process();
  const { ids, body } = failing(node, [sqlError('40001')]);
  const outcome = await clock.runUntil(node.coordinator.run({ resourceId: 'o' }, body));
  expect([outcome.state, ids.length]).toEqual(['aborted', 1]);
});

test('setRollbackOnly is a wish, not a conflict', async () => {
  const { clock, process } = stage();
  const node = process();
  let bodies = 0;
  const body = (tx: Transaction): void => {
    bodies += 1;
    tx.setRollbackOnly('40001');
  };
  await clock.runUntil(node.coordinator.run({ resourceId: 'o', retry }, body));
  expect(bodies).toBe(1);
});

test('a participant says itself what a conflict is, also of its vote', async () => {
  const { clock, process } = stage();
  const node = process();
  const stock = { ...node.stock, isConflict: (error: Error) => error.message === 'raced' };
  let bodies = 0;
  const other = process({ participants: [stock, node.orders] });
  const body = (): void => {
    bodies += 1;
    if (bodies === 1) throw new Error('raced');
  };
  const outcome = await clock.runUntil(other.coordinator.run({ resourceId: 'o', retry }, body));
  expect([outcome.state, bodies]).toEqual(['committed', 2]);
});

test('all attempts together take no longer than timeoutMs', async () => {
  const { clock, process } = stage();
  const node = process();
  let bodies = 0;
  const startMs = clock.monotonicMs();
  const body = (): never => {
    bodies += 1;
    throw sqlError('40001');
  };
  const many = { resourceId: 'o', timeoutMs: 300, retry: { attempts: 100 } };
  const outcome = await clock.runUntil(node.coordinator.run(many, body));
  expect(outcome.state).toBe('aborted');
  expect(clock.monotonicMs() - startMs).toBeLessThanOrEqual(300);
  expect(bodies).toBeGreaterThan(1);
});

test('the signal and close end the pause between two attempts', async () => {
  for (const how of ['signal', 'close'] as const) {
    const { clock, process } = stage();
    const node = process();
    const controller = new AbortController();
    let bodies = 0;
    const body = (): never => {
      bodies += 1;
      throw sqlError('40001');
    };
    const many = { resourceId: 'o', signal: controller.signal, retry: { attempts: 100 } };
    const running = node.coordinator.run(many, body);
    await clock.advance(50);
    const before = bodies;
    if (how === 'signal') controller.abort(new Error('enough'));
    else void node.coordinator.close({ drainMs: 0 });
    const outcome = await clock.runUntil(running);
    expect(outcome).toMatchObject({ state: 'aborted', by: 'body' });
    expect(bodies).toBe(before);
  }
});

test.each([0, 1.5, 101, Number.NaN, '3'])(
  'attempts: %s is refused before anything happens',
  async (attempts) => {
    const { process } = stage();
    const run = process().coordinator.run(
      { resourceId: 'o', retry: { attempts: attempts as number } },
      () => {},
    );
    await expect(run).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'retry.attempts',
    });
  },
);
