import { expect, test } from 'vitest';
import type { Clock } from '../../../../src/core/clock.js';
import { seededRandom } from '../../../../src/core/random.js';
import type { DecisionLog } from '../../../../src/transaction/decision-log.js';
import type { CallRecord } from '../../../../src/transaction/remote/call-record.js';
import { remoteStage } from './stage.js';

test('a part of a transaction is done by another node, and commits with it', async () => {
  const { coordinator, serve, stock, orders } = remoteStage();
  await using served = serve();
  await using transactions = coordinator();
  await served.ready;

  const outcome = await transactions.run({ resourceId: 'order:7' }, async (tx) => {
    const branch = await tx.enlist(orders);
    await branch.set('order:7', 'paid');
    return tx.call('inventory', { sku: 'sku:42', quantity: 3 });
  });

  expect(outcome).toMatchObject({ state: 'committed', value: { taken: 3 }, pending: [] });
  expect(stock.read('sku:42')).toBe(7);
  expect(orders.read('order:7')).toBe('paid');
  expect(served.stats()).toMatchObject({ takenCount: 1, yesCount: 1, committedCount: 1 });
});

test('a handler that throws aborts the whole transaction, with its words as the reason', async () => {
  const { coordinator, serve, stock, orders } = remoteStage();
  await using served = serve();
  await using transactions = coordinator();
  await served.ready;

  const outcome = await transactions.run({ resourceId: 'order:7' }, async (tx) => {
    await (await tx.enlist(orders)).set('order:7', 'paid');
    await tx.call('inventory', { sku: 'sku:42', quantity: 11 }).catch(() => {});
  });

  expect(outcome).toMatchObject({
    state: 'aborted',
    by: 'participant',
    participant: 'inventory',
    cause: { code: 'CALL_REFUSED', details: { code: 'CONDITION_FAILED' } },
  });
  expect(stock.read('sku:42')).toBe(10);
  expect(orders.read('order:7')).toBeUndefined();
});

test('an abort after the answer rolls the other node back, and leaves nothing', async () => {
  const { coordinator, serve, stock, store, clock } = remoteStage();
  await using served = serve();
  await using transactions = coordinator();
  await served.ready;

  const outcome = await transactions.run({ resourceId: 'order:7' }, async (tx) => {
    await tx.call('inventory', { sku: 'sku:42', quantity: 3 });
    tx.setRollbackOnly('changed our mind');
  });

  expect(outcome).toMatchObject({ state: 'aborted', by: 'rollback-only' });
  expect(stock.read('sku:42')).toBe(10);
  expect(await stock.recover()).toEqual([]);
  expect(await callsIn(store, clock)).toEqual([]);
});

test('a name that nobody serves fails with CALL_UNSERVED at the time-out', async () => {
  const { coordinator, clock, store } = remoteStage();
  await using transactions = coordinator();

  const outcome = await clock.runUntil(
    transactions.run({ resourceId: 'order:7' }, async (tx) =>
      tx.call('inventory', {}, { timeoutMs: 1_000 }),
    ),
  );

  expect(outcome).toMatchObject({
    state: 'aborted',
    by: 'participant',
    cause: { code: 'CALL_UNSERVED', details: { service: 'inventory', waitedMs: 1_000 } },
  });
  await clock.advance(5_000);
  expect(await callsIn(store, clock)).toEqual([]);
});

test('a transaction makes several calls, to one service and to others', async () => {
  const { coordinator, serve, stock, store, clock } = remoteStage();
  stock.load({ 'sku:43': 5 });
  await using served = serve();
  await using other = serve({ name: 'echo', handlers: { prepare: (payload) => payload } });
  await using transactions = coordinator();
  await Promise.all([served.ready, other.ready]);

  const outcome = await transactions.run({ resourceId: 'order:7' }, async (tx) =>
    Promise.all([
      tx.call('inventory', { sku: 'sku:42', quantity: 3 }),
      tx.call('inventory', { sku: 'sku:43', quantity: 1 }),
      tx.call('echo', { sku: '', quantity: 0 }),
    ]),
  );

  expect(outcome).toMatchObject({ state: 'committed', pending: [] });
  expect([stock.read('sku:42'), stock.read('sku:43')]).toEqual([7, 4]);
  expect(await callsIn(store, clock)).toEqual([]);
});

test('two nodes serve one name, and each call is done once', async () => {
  const { coordinator, serve, stock } = remoteStage();
  await using first = serve();
  await using second = serve();
  await using transactions = coordinator();
  await Promise.all([first.ready, second.ready]);

  const runs = Array.from({ length: 6 }, (_, index) =>
    transactions.run({ resourceId: `order:${index}` }, (tx) =>
      tx.call('inventory', { sku: 'sku:42', quantity: 1 }),
    ),
  );
  const outcomes = await Promise.all(runs);

  expect(outcomes.map(({ state }) => state)).toEqual(Array(6).fill('committed'));
  expect(stock.read('sku:42')).toBe(4);
  expect(first.stats().takenCount + second.stats().takenCount).toBe(6);
});

test('a call costs four messages and a claim, and the transaction one decision', async () => {
  const { coordinator, serve, store, orders } = remoteStage();
  const counts = new Map<string, number>();
  const counted = <Session extends object>(session: Session): Session =>
    new Proxy(session, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return async (...args: unknown[]) => {
          const answer: unknown = await value.apply(target, args);
          const isCounted = name !== 'take' || answer !== undefined;
          if (isCounted) counts.set(String(name), (counts.get(String(name)) ?? 0) + 1);
          return answer;
        };
      },
    });
  const open = store.openCalls as NonNullable<DecisionLog['openCalls']>;
  const watched: DecisionLog = {
    ...store,
    open: (node) => Object.assign(store.open(node), {}),
    openCalls(node) {
      const session = open(node);
      const { create, take, read, replace, remove } = counted(session);
      return { ...session, create, take, read, replace, remove };
    },
  };
  await using served = serve({ store: watched });
  await using transactions = coordinator({ log: watched });
  await served.ready;

  const outcome = await transactions.run({ resourceId: 'order:7' }, async (tx) => {
    await (await tx.enlist(orders)).set('order:7', 'paid');
    return tx.call('inventory', { sku: 'sku:42', quantity: 3 });
  });

  expect(outcome.state).toBe('committed');
  // Request, claim, vote with result, decision, acknowledgement; hints tell the rest, without a read.
  expect(Object.fromEntries(counts)).toEqual({ create: 1, take: 1, replace: 2, remove: 1 });
});

test('a log that carries no calls says so', async () => {
  const { coordinator, store } = remoteStage();
  const { openCalls: _, ...plain } = store;
  await using transactions = coordinator({ log: plain });

  const run = transactions.commit({ resourceId: 'order:7' }, (tx) => tx.call('inventory', {}));

  await expect(run).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED' });
});

/** What stands in the store. */
async function callsIn(store: DecisionLog, clock: Clock): Promise<readonly CallRecord[]> {
  const node = { nodeId: 'looker', namespace: 'default', clock, random: seededRandom(99) };
  const session = store.openCalls?.(node);
  const lists = await Promise.all(['inventory', 'echo'].map((name) => session?.list(name, 100)));
  await session?.close();
  return lists.flatMap((list) => list ?? []);
}

test('a handler finds the traceparent of the transaction, or of the hook', async () => {
  const { coordinator, serve } = remoteStage();
  const seen: unknown[] = [];
  await using served = serve({
    participants: [],
    handlers: { prepare: (_, { traceparent }) => void seen.push(traceparent) },
  });
  await served.ready;
  const [own, hooked] = ['a', 'b'].map((digit) => `00-${digit.repeat(32)}-${digit.repeat(16)}-01`);
  const call = async (hook: unknown, traceparent?: string) => {
    await using transactions = coordinator({ traceparent: hook });
    const options = { resourceId: 'order:7', traceparent };
    await transactions.run(options, (tx) => tx.call('inventory', { sku: 'sku:42', quantity: 1 }));
  };
  await call(() => hooked);
  await call(() => hooked, own);
  await call(undefined);
  await call(() => 'not a traceparent');
  await call(() => {
    throw new Error('no span');
  });
  expect(seen).toEqual([hooked, own, undefined, undefined, undefined]);
  await expect(call(undefined, '00-1')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  expect(() => coordinator({ traceparent: 'x' })).toThrow('a function');
});
