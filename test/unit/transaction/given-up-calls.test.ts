// What commit of a participant says when nobody waits for it any longer, on both SQL participants:
// goal: a coded reason of a signal never passes for an answer, and an answer is never lost to one.

import assert from 'node:assert/strict';
import { newTransactionId, type Participant } from 'tricord';
import { type MysqlQuery, mysqlParticipant } from 'tricord/mysql';
import { postgresParticipant } from 'tricord/postgres';
import { describe, expect, test } from 'vitest';
import { closedError } from '../../../src/core/errors.js';

interface Server {
  /** What it answers; a promise that stays open is a server that is silent. */
  answer(statement: string): unknown;
  /** The connection is given up. */
  closed?(): void;
}

function onPostgres(server: Server): Participant<unknown> {
  const client = {
    on: () => {},
    removeListener: () => {},
    release: () => server.closed?.(),
    query: async (text: string) => server.answer(text),
  };
  const pool = { connect: async () => client, query: (_: string): unknown => undefined };
  return postgresParticipant({ name: 'orders', pool });
}

const MARIADB = [
  ['version', '10.11.6-MariaDB'],
  ['version_comment', 'MariaDB Server'],
  ['innodb_flush_log_at_trx_commit', '1'],
];

function onMysql(server: Server): Participant<unknown> {
  const connection = {
    async query({ sql }: MysqlQuery) {
      if (sql.startsWith('show variables')) return [MARIADB, []];
      if (sql.startsWith('select version from tricord_versions')) return [[[1]], []];
      return [await server.answer(sql), []];
    },
    release() {},
    destroy: () => server.closed?.(),
    on() {},
    removeListener() {},
  };
  const pool = { getConnection: async () => connection, query: () => {}, execute: () => {} };
  return mysqlParticipant({ name: 'orders', pool });
}

const reason = closedError('the coordinator');
const isCommit = (statement: string): boolean => /^(commit prepared|xa commit)/.test(statement);
const gone = Object.assign(new Error('no such branch'), { code: '42704', errno: 1397 });
const notThere = Object.assign(gone, { sqlState: 'XAE04' });

describe.each([
  ['postgres', onPostgres, 'xid8:7', { command: 'SELECT', rows: [{ status: 'aborted' }] }],
  ['mysql', onMysql, 'at:1', [['aborted']]],
] as const)('%s', (_, on, evidence, aborted) => {
  const branch = { branchId: `${newTransactionId('order:1', 'unit')}.1`, evidence };

  test('the coded reason of a signal, in the middle of a commit, is no answer', async () => {
    const controller = new AbortController();
    const participant = on({
      answer(statement) {
        if (!isCommit(statement)) return [];
        queueMicrotask(() => controller.abort(reason));
        return new Promise(() => {});
      },
    });
    await expect(participant.commit(branch, { signal: controller.signal })).rejects.toMatchObject({
      code: 'RESULT_UNKNOWN',
      cause: reason,
    });
  });

  test('an answer that came before the signal is told', async () => {
    const controller = new AbortController();
    const participant = on({
      answer(statement) {
        if (isCommit(statement)) throw notThere;
        return statement.startsWith('xa recover') ? [] : aborted;
      },
      closed: () => controller.abort(reason),
    });
    await expect(participant.commit(branch, { signal: controller.signal })).rejects.toMatchObject({
      code: 'OUTCOME_CONTRADICTED',
    });
    assert.ok(controller.signal.aborted);
  });
});
