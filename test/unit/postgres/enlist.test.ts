// What becomes of a pool's client when a branch does not begin, from a scripted client.

import assert from 'node:assert/strict';
import { CoordinationError, newTransactionId } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { expect, test, vi } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';

/** A pool of one client, whose answer to some statements never comes. */
function stage(slotsMax: number, isSilent: (text: string) => boolean) {
  const released: (boolean | undefined)[] = [];
  const asked: string[] = [];
  const settings = { server_version_num: '150000', max_prepared_transactions: String(slotsMax) };
  const rows = Object.entries(settings).map(([name, setting]) => ({ name, setting }));
  const client = {
    on: () => {},
    removeListener: () => {},
    release: (destroy?: boolean) => released.push(destroy),
    async query(text: string): Promise<unknown> {
      asked.push(text);
      if (isSilent(text)) return new Promise(() => {});
      if (!text.includes('pg_settings')) return { command: 'SELECT', rows: [] };
      return [
        { command: 'SELECT', rows },
        { command: 'SELECT', rows: [{ in_recovery: false }] },
      ];
    },
  };
  const pool = { connect: async () => client, query: (_: string): unknown => undefined };
  const transactionId = newTransactionId('order:1', 'unit');
  const controller = new AbortController();
  const enlisting = postgresParticipant({ name: 'orders', pool }).enlist({
    transactionId,
    branchId: `${transactionId}.1`,
    timeoutMs: 1_000,
    signal: controller.signal,
    clock: systemClock,
  });
  return { enlisting, released, asked, controller };
}

test('a client that is asked about its server when the transaction aborts never goes back to the pool', async () => {
  for (const statement of ['pg_settings', 'pg_prepared_xacts']) {
    const { enlisting, released, asked, controller } = stage(8, (text) => text.includes(statement));
    const refused = expect(enlisting).rejects.toMatchObject({ code: 'TRANSACTION_ABORTED' });
    while (!asked.at(-1)?.includes(statement)) await new Promise(setImmediate);
    const details = { transactionId: 'tc1', by: 'timeout', reason: 'late' };
    controller.abort(new CoordinationError('TRANSACTION_ABORTED', 'late', details));
    await refused;
    assert.deepEqual(released, [true], `${statement} was under way`);
  }
});

test('a client of a server that cannot prepare goes back to the pool', async () => {
  const { enlisting, released } = stage(0, () => false);
  await expect(enlisting).rejects.toMatchObject({ code: 'BACKEND_UNSUPPORTED' });
  assert.deepEqual(released, [false]);
});

const INSERT = 'insert into item values (1)';

test('a client whose BEGIN is under way when the transaction aborts never goes back to the pool', async () => {
  const { enlisting, released, asked, controller } = stage(8, (text) => text.startsWith('begin'));
  const branch = await enlisting;
  Promise.resolve(branch.handle.query(INSERT)).catch(() => {});
  while (!asked.at(-1)?.startsWith('begin')) await new Promise(setImmediate);
  controller.abort(new Error('late'));
  await branch.abort();
  assert.deepEqual(released, [true]);
  assert.ok(!asked.includes(INSERT));
});

test('what BEGIN was refused for is never sent: it would be outside of any transaction', async () => {
  const { enlisting, asked } = stage(8, (text) => {
    if (text.startsWith('begin')) throw Object.assign(new Error('cannot'), { code: '57014' });
    return false;
  });
  const branch = await enlisting;
  const submitted = { submit: () => {}, handleError: vi.fn() };
  branch.handle.query(submitted as never);
  await expect(branch.handle.query(INSERT)).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  expect(submitted.handleError).toHaveBeenCalledOnce();
  expect(await branch.prepare()).toMatchObject({ vote: 'no' });
  assert.ok(asked.every((text) => typeof text === 'string' && text !== INSERT));
  assert.deepEqual(
    asked.filter((text) => text.startsWith('begin')).length,
    1,
    'it is asked for once',
  );
});

test('a branch in which nothing was sent costs no message, however it ends', async () => {
  for (const end of ['prepare', 'commitOnePhase', 'abort'] as const) {
    const { enlisting, released, asked } = stage(8, () => false);
    const branch = await enlisting;
    const before = asked.length;
    const answer = await branch[end]?.();
    if (end === 'prepare') assert.deepEqual(answer, { vote: 'read-only' });
    if (end === 'commitOnePhase') assert.deepEqual(answer, { state: 'committed' });
    assert.deepEqual(asked.slice(before), []);
    assert.deepEqual(released, [false]);
  }
});
