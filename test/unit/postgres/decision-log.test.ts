import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { newIncarnation, newTransactionIds } from '../../../src/core/ids.js';
import { logGuarantees } from '../../../src/drivers/postgres/decision-log-guarantees.js';
import { decodeRecord, encodeDecision } from '../../../src/drivers/postgres/decision-log-record.js';
import { literal, logStatements } from '../../../src/drivers/postgres/decision-log-statements.js';
import type { ServerSettings } from '../../../src/drivers/postgres/settings.js';
import { logTables, setupSql } from '../../../src/drivers/postgres/setup-sql.js';

const newId = newTransactionIds({
  namespace: 'unit',
  authority: 'pg',
  incarnation: newIncarnation(),
});

function record() {
  const resourceId = "order:\u0000'\\ü";
  const transactionId = newId(resourceId, 'node-1');
  const branches = [{ participant: 'orders', branchId: `${transactionId}.1`, evidence: "x'y" }];
  return { transactionId, resourceId, nodeId: 'node-1', branches };
}

describe('the statements of the decision log', () => {
  test('a literal holds quotes and backslashes, whatever the server makes of them', () => {
    assert.equal(literal("a'b\\c"), "E'a''b\\\\c'");
  });

  test('no text of a record leaves its literal', () => {
    const { decide } = logStatements(logTables('tricord'), "name'space");
    const { statements } = decide("inc'; drop table x; --", 10, [encodeDecision(record())]);
    const rest = statements.join(';').replaceAll(/E'(?:[^'\\]|''|\\\\)*'/g, '');
    assert.ok(
      !rest.includes('drop') && !rest.includes('order:') && !rest.includes('name'.concat("'")),
    );
  });

  test('what may be lost in a crash is only what can be had again', () => {
    const all = logStatements(logTables('tricord'), 'unit');
    const decision = all.decide('i', 1, [encodeDecision(record())]);
    for (const durable of [decision, all.fence('i'), all.register('i', 'n')]) {
      assert.ok(durable.isLazy !== true, durable.operation);
    }
    for (const lazy of [all.acknowledge([['t', 'p']]), all.heartbeat('i'), all.prune(1, 1)]) {
      assert.ok(lazy.isLazy, lazy.operation);
    }
  });
});

describe('a record of the decision log', () => {
  const rowOf = (values: ReturnType<typeof encodeDecision>) => ({
    transaction_id: values.transactionId,
    format: 1,
    record: values.record,
    unacknowledged: values.participants,
    age_ms: '12.5',
  });

  test('comes back as it was, with characters that PostgreSQL has no place for', () => {
    const given = record();
    const values = encodeDecision(given);
    assert.ok(!values.record.includes('\u0000'));
    const found = decodeRecord(rowOf(values));
    assert.deepEqual(found, { ...given, unacknowledged: ['orders'], ageMs: 12.5 });
  });

  test('of a newer format, or of something else, is refused', () => {
    const row = rowOf(encodeDecision(record()));
    const codeOf = (code: string) => expect.objectContaining({ code });
    expect(() => decodeRecord({ ...row, format: 2 })).toThrow(codeOf('UPGRADE_NEEDED'));
    expect(() => decodeRecord({ ...row, record: '<xml>' })).toThrow(codeOf('DATA_CORRUPT'));
  });
});

describe('the guarantees of the decision log', () => {
  const safe: ServerSettings = {
    version: '16.1',
    versionNumber: 160_001,
    slotsMax: 0,
    isInRecovery: false,
    fsync: 'on',
    fullPageWrites: 'on',
    synchronousCommit: 'off',
    synchronousStandbyNames: '',
    statementTimeoutMs: 0,
    lockTimeoutMs: 0,
    idleTimeoutMs: 0,
  };

  test.each([
    ['a single primary', {}, 'power-loss', 0],
    ['a synchronous standby', { synchronousStandbyNames: 'a' }, 'failover', 0],
    ['fsync off', { fsync: 'off', synchronousStandbyNames: 'a' }, 'process', 1],
    ['full_page_writes off', { fullPageWrites: 'off' }, 'process', 1],
    [
      'settings that were not shown',
      { fsync: 'unknown', synchronousStandbyNames: 'unknown' },
      'process',
      1,
    ],
    ['standby names that were not shown', { synchronousStandbyNames: 'unknown' }, 'power-loss', 0],
  ])('%s', (_, changes, survives, refusals) => {
    const given = logGuarantees('log', { ...safe, ...changes });
    assert.equal(given.survives, survives);
    assert.equal(given.refusals?.length, refusals);
  });
});

describe('the setup of the decision log', () => {
  test('names its schema everywhere, and nothing in it takes anything away', () => {
    const text = setupSql({ schema: 'order_log' });
    assert.ok(!text.includes('tricord.') && text.includes('"order_log".decisions'));
    assert.ok(!/\b(?:drop|delete|truncate)\b/i.test(text));
  });

  test.each(['', 'A', '1a', 'a-b', 'a"b', 'pg_x', 'a'.repeat(64)])(
    'refuses schema %j',
    (schema) => {
      expect(() => setupSql({ schema })).toThrow(
        expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
      );
    },
  );
});
