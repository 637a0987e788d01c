// What a server's settings promise, and what makes it useless: settings that one cannot have live here.

import assert from 'node:assert/strict';
import { isCoordinationError } from 'tricord';
import { describe, test } from 'vitest';
import {
  assertCanPrepare,
  guaranteesOf,
  type ServerSettings,
} from '../../../src/drivers/postgres/settings.js';

const SAFE: ServerSettings = {
  version: '15.8',
  versionNumber: 150_008,
  slotsMax: 64,
  isInRecovery: false,
  fsync: 'on',
  fullPageWrites: 'on',
  synchronousCommit: 'on',
  synchronousStandbyNames: '',
  statementTimeoutMs: 0,
  lockTimeoutMs: 0,
  idleTimeoutMs: 0,
};

describe('a PostgreSQL server', () => {
  test.each([
    [{}, 'power-loss'],
    [{ synchronousStandbyNames: 'ANY 1 (*)' }, 'failover'],
    [
      {
        synchronousStandbyNames: 'ANY 1 (*)',
        synchronousCommit: 'remote_apply',
      },
      'failover',
    ],
    [
      {
        synchronousStandbyNames: 'ANY 1 (*)',
        synchronousCommit: 'remote_write',
      },
      'power-loss',
    ],
    [{ synchronousStandbyNames: 'ANY 1 (*)', synchronousCommit: 'local' }, 'power-loss'],
    [{ synchronousStandbyNames: 'ANY 1 (*)', synchronousCommit: 'off' }, 'process'],
    [{ synchronousStandbyNames: 'unknown' }, 'power-loss'],
    [{ fsync: 'unknown' }, 'process'],
    [{ fullPageWrites: 'off' }, 'process'],
  ] as const)('with %j survives %s', (change, survives) => {
    const settings: ServerSettings = { ...SAFE, ...change };
    assert.equal(guaranteesOf('postgres orders', settings).survives, survives);
  });

  test.each([
    ['PostgreSQL 12', { version: '12.22', versionNumber: 120_022 }, 'server_version', /upgrade/],
    ['a standby', { isInRecovery: true }, 'pg_is_in_recovery()', /to the primary/],
    ['one without slots', { slotsMax: 0 }, 'max_prepared_transactions', /ALTER SYSTEM SET/],
    ['one that tells nothing', { versionNumber: Number.NaN }, 'server_version', /13 or newer/],
  ] as const)('is refused by the name of the setting: %s', (_, change, setting, message) => {
    assert.throws(
      () => assertCanPrepare('postgres orders', { ...SAFE, ...change }),
      (error) => {
        assert.ok(isCoordinationError(error, 'BACKEND_UNSUPPORTED'));
        assert.equal(error.details.setting, setting);
        assert.match(error.message, message);
        return true;
      },
    );
  });
});
