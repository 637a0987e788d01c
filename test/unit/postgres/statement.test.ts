import assert from 'node:assert/strict';
import { describe, test } from 'vitest';
import { endingCommand, transactionControl } from '../../../src/drivers/postgres/statement.js';

describe('transactionControl', () => {
  test.each([
    ['commit', 'COMMIT'],
    [' \n;; Commit work', 'COMMIT'],
    ['-- a comment\ncommit', 'COMMIT'],
    ['/* one */ /* two\n */end', 'END'],
    ['rollback', 'ROLLBACK'],
    ['rollback transaction', 'ROLLBACK'],
    ['rollback prepared $1', 'ROLLBACK'],
    ['abort', 'ABORT'],
    ['begin', 'BEGIN'],
    ['start  transaction read only', 'START  TRANSACTION'],
    ["prepare transaction 'x'", 'PREPARE TRANSACTION'],
  ])('finds the statement that begins or ends a transaction in %j', (text, control) => {
    assert.equal(transactionControl(text), control);
  });

  test.each([
    'rollback to a',
    'rollback to savepoint a',
    'rollback work to a',
    'ROLLBACK TRANSACTION TO SAVEPOINT a',
    'savepoint commit',
    'release savepoint a',
    'select 1 -- commit',
    "select 'commit'",
    'commits',
    'endless',
    'prepare plan as select 1',
    'insert into begin values (1)',
    '',
    '-- commit',
  ])('lets %j pass', (text) => {
    assert.equal(transactionControl(text), undefined);
  });
});

describe('endingCommand', () => {
  test.each([
    [['SELECT', 'COMMIT'], false, 'COMMIT'],
    [['COMMIT', 'BEGIN'], false, 'COMMIT'],
    [['ROLLBACK'], true, 'ROLLBACK'],
    [['SELECT', 'ROLLBACK', 'BEGIN'], false, 'ROLLBACK'],
    [['ROLLBACK', 'START'], false, 'ROLLBACK'],
    [['PREPARE'], true, 'PREPARE'],
  ])('%j with nothing left open (%j) ended the branch by %s', (tags, isIdle, ending) => {
    assert.equal(endingCommand(tags, isIdle), ending);
  });

  test.each([
    [['ROLLBACK'], false],
    [['PREPARE'], false],
    [['SELECT', 'ROLLBACK', 'RELEASE'], false],
    [['INSERT'], false],
    [[], false],
  ])('%j inside the branch still leaves it open', (tags, isIdle) => {
    assert.equal(endingCommand(tags, isIdle), undefined);
  });
});
