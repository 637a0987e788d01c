// What becomes of a pool's client when a branch does not begin, from a scripted client.

import assert from 'node:assert/strict';
import { CoordinationError, newTransactionId } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { expect, test } from 'vitest';
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

test('a client whose BEGIN is under way when the transaction aborts never goes back to the pool', async () => {
  for (const statement of ['begin', 'pg_settings', 'pg_prepared_xacts']) {
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
