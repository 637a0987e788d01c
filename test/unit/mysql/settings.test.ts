// What cannot be had as a real server here: MySQL, old releases, clusters. A stub answers like them.

import assert from 'node:assert/strict';
import { isCoordinationError } from 'tricord';
import { type MysqlQuery, mysqlParticipant } from 'tricord/mysql';
import { describe, test } from 'vitest';

type Answer = readonly unknown[][] | Error;
const xaError = (errno: number, message: string) =>
  Object.assign(new Error(message), { errno, sqlState: 'XAE03' });

function participantOn(variables: Record<string, string>, xaRecover: Answer = []) {
  const sent: string[] = [];
  const answerTo = (sql: string): Answer => {
    if (sql.startsWith('show variables')) return Object.entries(variables);
    if (sql.startsWith('select version from tricord_versions')) return [[1]];
    if (sql === 'xa recover') return xaRecover;
    return [[Date.now()]];
  };
  const connection = {
    async query({ sql }: MysqlQuery) {
      sent.push(sql);
      const answer = answerTo(sql);
      if (answer instanceof Error) throw answer;
      return [answer, []];
    },
    release() {},
    destroy() {},
    on() {},
    removeListener() {},
  };
  const pool = {
    getConnection: async () => connection,
    query: () => {},
    execute: () => {},
  };
  return { participant: mysqlParticipant({ name: 'orders', pool }), sent };
}

const SAFE = {
  read_only: 'OFF',
  innodb_flush_log_at_trx_commit: '1',
  sync_binlog: '1',
  log_bin: 'ON',
  innodb_doublewrite: 'ON',
};

describe('a server that mysqlParticipant', () => {
  test.each([
    ['10.4.32-MariaDB', 'MariaDB Server', 'version'],
    ['5.5.5-10.3.39-MariaDB-log', 'MariaDB Server', 'version'],
    ['8.0.28', 'MySQL Community Server - GPL', 'version'],
    ['5.7.44-log', 'MySQL Community Server (GPL)', 'version'],
  ])('refuses: %s, which cannot keep a prepared branch', async (version, comment, setting) => {
    const { participant } = participantOn({
      ...SAFE,
      version,
      version_comment: comment,
    });
    const error = await participant.guarantees().catch((each: unknown) => each);
    assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
    assert.equal(error.details.setting, setting);
    assert.match(error.message, /MariaDB 10\.5 or MySQL 8\.0\.29/);
  });

  test.each([
    ['10.5.0-MariaDB', 'MariaDB Server'],
    ['5.5.5-10.11.6-MariaDB', 'x'],
    ['11.8.2-MariaDB-ubu2404', 'x'],
    ['8.0.29', 'MySQL Community Server - GPL'],
    ['8.4.3', 'MySQL Community Server - GPL'],
    ['9.1.0-commercial', 'x'],
  ])('accepts: %s', async (version, comment) => {
    const { participant } = participantOn({
      ...SAFE,
      version,
      version_comment: comment,
    });
    assert.equal((await participant.guarantees()).survives, 'power-loss');
  });

  test('refuses: a Galera cluster, by the name of its setting', async () => {
    const { participant } = participantOn({
      ...SAFE,
      version: '10.11.6-MariaDB',
      wsrep_on: 'ON',
    });
    const error = await participant.guarantees().catch((each: unknown) => each);
    assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
    assert.equal(error.details.setting, 'wsrep_on');
  });

  test('refuses: a replica, by the name of its setting', async () => {
    const { participant } = participantOn({
      ...SAFE,
      version: '8.0.36',
      read_only: 'ON',
    });
    const error = await participant.guarantees().catch((each: unknown) => each);
    assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
    assert.equal(error.details.setting, 'read_only');
    assert.match(error.message, /connect the pool to the primary/);
  });

  test('refuses: torn pages, with the setting to change', async () => {
    const version = '10.11.19-MariaDB';
    const { participant } = participantOn({
      ...SAFE,
      version,
      innodb_doublewrite: 'OFF',
    });
    const { survives, refusals } = await participant.guarantees();
    assert.equal(survives, 'process');
    assert.match(refusals?.join(' ') ?? '', /set innodb_doublewrite = ON/);
  });

  test('refuses: a MariaDB that rolls back at disconnect, by the name of its setting', async () => {
    const version = '10.11.19-MariaDB';
    const { participant } = participantOn({
      ...SAFE,
      version,
      legacy_xa_rollback_at_disconnect: 'ON',
    });
    const error = await participant.guarantees().catch((each: unknown) => each);
    assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
    assert.equal(error.details.setting, 'legacy_xa_rollback_at_disconnect');
  });

  test.each([1401, 1227])(
    'refuses: MySQL without XA_RECOVER_ADMIN (error %d), with the grant to make',
    async (errno) => {
      const refusal = xaError(errno, 'XAER_RMERR: Fatal error occurred');
      const { participant } = participantOn({ ...SAFE, version: '8.0.36' }, refusal);
      for (const call of [() => participant.guarantees(), () => participant.recover()]) {
        const error = await call().catch((each: unknown) => each);
        assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
        assert.equal(error.details.setting, 'XA_RECOVER_ADMIN');
        assert.match(error.message, /grant xa_recover_admin/);
      }
    },
  );

  test('lists by bytes: other formats, other participants and texts instead of bytes are told apart', async () => {
    const row = (format: number, gtrid: string, bqual: string) => {
      const data = Buffer.from(gtrid + bqual);
      return [format, gtrid.length, bqual.length, data];
    };
    const text = [7627569, 4, 8, 'tc1.1@orders'];
    const { participant } = participantOn({ ...SAFE, version: '8.0.36' }, [
      row(7627569, 'tc1.a', '1@orders'),
      row(1, 'tc1.b', '1@orders'),
      row(7627569, 'tc1.c', '1@stock'),
      row(7627569, 'tc1.d', '12@orders'),
      text,
    ]);
    const found = await participant.recover();
    assert.deepEqual(
      found.map(({ branchId }) => branchId),
      ['tc1.a.1', 'tc1.d.12', 'tc1..1'],
    );
  });
});
