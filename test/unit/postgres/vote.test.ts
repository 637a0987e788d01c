// Votes on answers that a real server gives rarely or not at all, from a scripted client.

import assert from 'node:assert/strict';
import { newTransactionId } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';

interface Result {
  readonly command: string;
  readonly rows: readonly Record<string, unknown>[];
}
const tag = (command: string, rows: Result['rows'] = []): Result => ({ command, rows });

const SETTINGS = { server_version_num: '150000', max_prepared_transactions: '64' };
const settings = [
  tag(
    'SELECT',
    Object.entries(SETTINGS).map(([name, setting]) => ({ name, setting })),
  ),
  tag('SELECT', [{ in_recovery: false }]),
];

/** A branch that wrote, on a client that answers the deciding statement as told. */
async function branchWith(answer: (text: string) => unknown) {
  const released: (boolean | undefined)[] = [];
  const client = {
    on: () => {},
    removeListener: () => {},
    release: (destroy?: boolean) => released.push(destroy),
    async query(text: string): Promise<unknown> {
      if (text.includes('pg_settings')) return settings;
      if (text.includes('pg_prepared_xacts')) return tag('SELECT');
      if (/^(begin|rollback$)/.test(text)) return tag('ROLLBACK');
      if (text.startsWith('insert')) return tag('INSERT');
      return answer(text);
    },
  };
  const pool = { connect: async () => client, query: (_: string): unknown => undefined };
  const transactionId = newTransactionId('order:1', 'unit');
  const branch = await postgresParticipant({ name: 'orders', pool }).enlist({
    transactionId,
    branchId: `${transactionId}.1`,
    timeoutMs: 1_000,
    signal: new AbortController().signal,
    clock: systemClock,
  });
  await branch.handle.query('insert into item values (1)');
  return { branch, released };
}

test('a yes needs the tag PREPARE: ROLLBACK, which comes without an error, is a no', async () => {
  const { branch, released } = await branchWith(() => [
    tag('SELECT', [{ xid: '7' }]),
    tag('ROLLBACK'),
  ]);
  expect(await branch.prepare()).toMatchObject({ vote: 'no' });
  assert.deepEqual(released, [false], 'the server still answers: its client goes back');
});

test('a one-phase COMMIT needs the tag COMMIT: ROLLBACK is an abort', async () => {
  const { branch } = await branchWith((text) =>
    text === 'commit' ? tag('ROLLBACK') : tag('SELECT', [{ xid: '7' }]),
  );
  expect(await branch.commitOnePhase?.()).toMatchObject({ state: 'aborted' });
});

test('an error without an SQLSTATE is no answer: the vote is unknown and the client is closed', async () => {
  const { branch, released } = await branchWith(() => {
    throw new Error('Query read timeout');
  });
  await expect(branch.prepare()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  assert.deepEqual(released, [true]);
});

test('the tag PREPARE is a yes, with the xid as evidence', async () => {
  const { branch } = await branchWith(() => [tag('SELECT', [{ xid: '7' }]), tag('PREPARE')]);
  assert.deepEqual(await branch.prepare(), { vote: 'yes', evidence: 'xid8:7' });
});

test('an abort while PREPARE is on its way waits for the answer, and leaves nothing prepared', async () => {
  const asked: string[] = [];
  let prepared = (_answer: unknown): void => {};
  const { branch, released } = await branchWith((text) => {
    asked.push(text);
    if (!text.includes('prepare transaction')) return tag('ROLLBACK');
    return new Promise((resolve) => {
      prepared = resolve;
    });
  });
  const controller = new AbortController();
  const voting = branch.prepare({ signal: controller.signal });
  while (asked.length === 0) await new Promise(setImmediate);
  controller.abort(new Error('the caller is gone'));
  const aborting = branch.abort();
  await new Promise(setImmediate);
  prepared([tag('SELECT', [{ xid: '7' }]), tag('PREPARE')]);
  await Promise.all([voting, aborting]);
  expect(asked.at(-1)).toMatch(/^rollback prepared/);
  assert.deepEqual(released, [false], 'the client is idle and goes back');
});
