import { expect, test } from 'vitest';
import { memoryBarrier } from '../../../../src/drivers/memory/barrier.js';
import type { DecisionLog } from '../../../../src/transaction/decision-log.js';
import type { CallSession } from '../../../../src/transaction/remote/call-session.js';
import { serveParticipant } from '../../../../src/transaction/remote/serve-participant.js';
import { remoteStage } from './stage.js';

const FOREVER = new Promise<never>(() => {});

/** The same store, of which one node's sessions of calls can be ended as a kill would. */
function mortal(store: DecisionLog) {
  const sessions: CallSession[] = [];
  return {
    store: {
      ...store,
      openCalls(node) {
        const session = (store.openCalls as NonNullable<DecisionLog['openCalls']>)(node);
        sessions.push(session);
        return session;
      },
    } satisfies DecisionLog,
    kill: () => Promise.all(sessions.map((session) => session.close())),
  };
}

test('a call that a node died with is done by another one, as its next attempt', async () => {
  const { coordinator, serve, stock, store, clock } = remoteStage();
  const first = mortal(store);
  const attempts: number[] = [];
  const dead = serve({ store: first.store, handlers: { prepare: () => FOREVER } });
  await dead.ready;
  await using transactions = coordinator();
  const running = transactions.run({ resourceId: 'order:7' }, (tx) =>
    tx.call('inventory', { sku: 'sku:42', quantity: 3 }),
  );
  await clock.settle();
  await first.kill();
  await using second = serve({
    handlers: {
      async prepare({ sku, quantity }, { enlist, attempt }) {
        attempts.push(attempt);
        await (await enlist(stock)).increment(sku, -quantity);
        return 'done';
      },
    },
  });

  const outcome = await clock.runUntil(running);

  expect(outcome).toMatchObject({ state: 'committed', value: 'done' });
  expect(attempts).toEqual([2]);
  expect(stock.read('sku:42')).toBe(7);
  expect(second.stats()).toMatchObject({ takenCount: 1, takenOverCount: 1 });
});

test('what a node prepared before it died is rolled back by the node that takes over', async () => {
  const { coordinator, serve, stock, store, clock } = remoteStage();
  const first = mortal(store);
  const dead = serve({
    store: {
      ...first.store,
      openCalls(node) {
        const session = first.store.openCalls(node);
        return { ...session, replace: () => FOREVER };
      },
    },
  });
  await dead.ready;
  await using transactions = coordinator();
  const running = transactions.run({ resourceId: 'order:7' }, (tx) =>
    tx.call('inventory', { sku: 'sku:42', quantity: 3 }),
  );
  await clock.settle();
  expect(await stock.recover()).toHaveLength(1);
  await first.kill();
  await using _second = serve();

  const outcome = await clock.runUntil(running);

  expect(outcome.state).toBe('committed');
  expect(await stock.recover()).toEqual([]);
  expect(stock.read('sku:42')).toBe(7);
});

test('a caller that died is fenced before the absence of its decision counts', async () => {
  const { coordinator, serve, stock, store, clock } = remoteStage();
  const asked: string[] = [];
  const watched: DecisionLog = {
    ...store,
    open(node) {
      const session = store.open(node);
      return {
        ...session,
        fence: (...args) => session.fence(...args).finally(() => asked.push('fenced')),
        find: (...args) => session.find(...args).finally(() => asked.push('found')),
      };
    },
  };
  await using served = serve({ store: watched, sweepMs: Number.POSITIVE_INFINITY });
  await served.ready;
  const caller = killable(store);
  const running = coordinator({ log: caller.store }).run({ resourceId: 'order:7' }, async (tx) => {
    await tx.call('inventory', { sku: 'sku:42', quantity: 3 });
    await FOREVER;
  });
  void running.catch(() => {});
  await clock.settle();
  expect(await stock.recover()).toHaveLength(1);
  await caller.kill();

  await clock.runUntil(served.recover());
  await clock.settle();

  expect(asked.slice(0, 2)).toEqual(['fenced', 'found']);
  expect(await stock.recover()).toEqual([]);
  expect(stock.read('sku:42')).toBe(10);
});

/** The same store for a process that can be killed: from then on nothing of it arrives or returns. */
function killable(store: DecisionLog) {
  const closes: (() => Promise<void>)[] = [];
  let isDead = false;
  const mortalSession = <Session extends { close(): Promise<void> }>(session: Session): Session => {
    closes.push(() => session.close());
    return new Proxy(session, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => (isDead ? FOREVER : value.apply(target, args));
      },
    });
  };
  return {
    store: {
      ...store,
      open: (node) => mortalSession(store.open(node)),
      openCalls: (node) =>
        mortalSession((store.openCalls as NonNullable<DecisionLog['openCalls']>)(node)),
    } satisfies DecisionLog,
    async kill() {
      isDead = true;
      await Promise.all(closes.map((close) => close()));
    },
  };
}

test('no more handlers are at work than the concurrency allows', async () => {
  const { coordinator, serve } = remoteStage();
  let running = 0;
  let most = 0;
  await using served = serve({
    concurrency: 2,
    handlers: {
      async prepare() {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
      },
    },
  });
  await served.ready;
  await using transactions = coordinator();

  const runs = Array.from({ length: 8 }, (_, index) =>
    transactions.run({ resourceId: `order:${index}` }, (tx) =>
      tx.call('inventory', { sku: '', quantity: 0 }),
    ),
  );
  const outcomes = await Promise.all(runs);

  expect(outcomes.every(({ state }) => state === 'committed')).toBe(true);
  expect(most).toBe(2);
});

test('a node that closes gives back what it has not voted on', async () => {
  const { coordinator, serve, stock, clock } = remoteStage();
  const first = serve({ handlers: { prepare: () => FOREVER } });
  await first.ready;
  await using transactions = coordinator();
  const running = transactions.run({ resourceId: 'order:7' }, (tx) =>
    tx.call('inventory', { sku: 'sku:42', quantity: 3 }),
  );
  await clock.settle();
  await using second = serve({ sweepMs: Number.POSITIVE_INFINITY });
  await second.ready;
  await clock.runUntil(first.close({ drainMs: 100 }));

  expect(await clock.runUntil(running)).toMatchObject({ state: 'committed' });
  expect(stock.read('sku:42')).toBe(7);
});

test('a reason that travels holds no credentials', async () => {
  const { coordinator, serve } = remoteStage();
  await using served = serve({
    handlers: {
      prepare() {
        throw new Error('no connection to postgres://shop:s3cret@db:5432/stock');
      },
    },
  });
  await served.ready;
  await using transactions = coordinator();

  const outcome = await transactions.run({ resourceId: 'order:7' }, (tx) =>
    tx.call('inventory', {}),
  );

  expect(outcome).toMatchObject({ state: 'aborted', by: 'participant' });
  expect(JSON.stringify(outcome)).not.toContain('s3cret');
});

test('what is too large, or does not fit its schema, is refused before anything is sent', async () => {
  const { coordinator } = remoteStage();
  await using transactions = coordinator();
  const schema = {
    payload: {
      '~standard': {
        version: 1 as const,
        validate: () => ({ issues: [{ message: 'is not a sku', path: ['sku'] }] }),
      },
    },
  };
  const large = transactions.commit({ resourceId: 'a' }, (tx) =>
    tx.call('inventory', 'x'.repeat(300_000)),
  );
  const unfit = transactions.commit({ resourceId: 'b' }, (tx) =>
    tx.call('inventory', { sku: 1 }, { schema }),
  );

  for (const payload of [10n, () => {}, Symbol('s')]) {
    const odd = transactions.commit({ resourceId: 'c' }, (tx) => tx.call('inventory', payload));
    await expect(odd).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'payload' });
  }
  await expect(large).rejects.toMatchObject({ code: 'CALL_TOO_LARGE' });
  await expect(unfit).rejects.toMatchObject({
    code: 'CALL_INVALID',
    details: { issues: ['sku: is not a sku'] },
  });
});

test('prepare, commit and abort behind a barrier take effect once', async () => {
  const { coordinator, store, clock } = remoteStage();
  const done: string[] = [];
  const barrier = memoryBarrier({ clock });
  await using served = serveParticipant<{ readonly seat: number }, string, unknown>({
    store,
    name: 'seats',
    barrier,
    clock,
    handlers: {
      prepare: ({ seat }) => {
        done.push(`hold ${seat}`);
        return `seat ${seat}`;
      },
      commit: ({ seat }) => void done.push(`sell ${seat}`),
      abort: ({ seat }) => void done.push(`free ${seat}`),
    },
  });
  await served.ready;
  await using transactions = coordinator();

  const sold = await transactions.run({ resourceId: 'a' }, (tx) => tx.call('seats', { seat: 7 }));
  const freed = await transactions.run({ resourceId: 'b' }, async (tx) => {
    await tx.call('seats', { seat: 8 });
    tx.setRollbackOnly('no');
  });

  expect(sold).toMatchObject({ state: 'committed', value: 'seat 7' });
  expect(freed.state).toBe('aborted');
  expect(done).toEqual(['hold 7', 'sell 7', 'hold 8', 'free 8']);
});

test('commit and abort without a barrier are refused, with what to pass', () => {
  const { store } = remoteStage();
  const handlers = { prepare: () => {}, commit: () => {}, abort: () => {} };

  expect(() => serveParticipant({ store, name: 'seats', handlers })).toThrow(/barrier/);
});
