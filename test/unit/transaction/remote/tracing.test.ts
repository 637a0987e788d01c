// The spans of a call: one at the caller, one around the handler, with one call id.

import { AsyncLocalStorage } from 'node:async_hooks';
import { tracingChannel } from 'node:diagnostics_channel';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type {
  TransactionCallContext,
  TransactionServeContext,
} from '../../../../src/transaction/diagnostics.js';
import { remoteStage } from './stage.js';

type Context = TransactionCallContext & Partial<TransactionServeContext>;

const NAMES = ['tricord:transaction.call', 'tricord:transaction.serve'] as const;
let spans: [string, Context][] = [];
const cleanups: (() => void)[] = [];

beforeEach(() => {
  spans = [];
  for (const name of NAMES) {
    const record = (event: string) => (context: Context) => {
      spans.push([`${name.slice('tricord:transaction.'.length)} ${event}`, { ...context }]);
    };
    const subscribers = {
      start: record('start'),
      error: record('error'),
      asyncEnd: record('end'),
    };
    tracingChannel(name).subscribe(subscribers as never);
    cleanups.push(() => void tracingChannel(name).unsubscribe(subscribers as never));
  }
});
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

test('a call is a span at its caller and one around its handler', async () => {
  const { coordinator, serve } = remoteStage();
  await using served = serve({ nodeId: 'stock-1' });
  await using transactions = coordinator({ nodeId: 'shop-1' });
  await served.ready;

  const outcome = await transactions.run({ resourceId: 'order:7' }, (tx) =>
    tx.call('inventory', { sku: 'sku:42', quantity: 3 }),
  );

  const { transactionId } = outcome;
  const about = {
    transactionId,
    callId: `${transactionId}.A`,
    service: 'inventory',
  };
  expect(spans.map(([name]) => name)).toEqual([
    'call start',
    'serve start',
    'serve end',
    'call end',
  ]);
  expect(spans[1]?.[1]).toEqual({ ...about, nodeId: 'stock-1', attempt: 1 });
  expect(spans[3]?.[1]).toEqual({
    ...about,
    nodeId: 'shop-1',
    result: { taken: 3 },
  });
});

test('a refused call has its error in both spans', async () => {
  const { coordinator, serve } = remoteStage();
  await using served = serve();
  await using transactions = coordinator();
  await served.ready;

  await transactions.run({ resourceId: 'order:7' }, (tx) =>
    tx.call('inventory', { sku: 'sku:42', quantity: 11 }),
  );

  const errors = spans.filter(([name]) => name.endsWith('error'));
  expect(errors).toMatchObject([
    ['serve error', { error: { code: 'CONDITION_FAILED' } }],
    ['call error', { error: { code: 'CALL_REFUSED' } }],
  ]);
});

test('a handler runs inside its span: what a tracer binds to it is there', async () => {
  const span = new AsyncLocalStorage<Context>();
  const { start } = tracingChannel('tricord:transaction.serve');
  start.bindStore(span, (context) => context as Context);
  cleanups.push(() => void start.unbindStore(span));
  const seen: (string | undefined)[] = [];
  const { coordinator, serve } = remoteStage();
  await using served = serve({
    handlers: {
      async prepare() {
        await Promise.resolve();
        seen.push(span.getStore()?.callId);
      },
    },
  });
  await using transactions = coordinator();
  await served.ready;

  const { transactionId } = await transactions.run({ resourceId: 'order:7' }, (tx) =>
    tx.call('inventory', {}),
  );

  expect(seen).toEqual([`${transactionId}.A`]);
});
