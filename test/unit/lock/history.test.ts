import { expect, test } from 'vitest';
import { type LockEvent, lockViolations } from '../../../src/testing/lock-history.js';

const enter = (fencingToken: bigint, owner = 'x'): LockEvent => ({
  ...{ event: 'enter', resource: 'a', fencingToken, owner },
});
const leave = (fencingToken: bigint, wasHeld = true, owner = 'x'): LockEvent => ({
  ...{ event: 'leave', resource: 'a', fencingToken, owner, wasHeld },
});

test('a history of holders one after another is without violation', () => {
  expect(lockViolations([enter(1n), leave(1n), enter(5n), leave(5n)])).toEqual([]);
});

test('who enters while another holds is found', () => {
  const history = [enter(1n, 'x'), enter(2n, 'y'), leave(1n, true, 'x'), leave(2n, true, 'y')];
  expect(lockViolations(history)).toEqual([
    'y (token 2 of "a") entered while x (token 1 of "a") held',
  ]);
});

test('who enters and leaves while another holds is found too', () => {
  const history = [enter(1n, 'x'), enter(2n, 'y'), leave(2n, true, 'y'), leave(1n, true, 'x')];
  expect(lockViolations(history)).toEqual([
    'y (token 2 of "a") entered while x (token 1 of "a") held',
  ]);
});

test('a holder that knows that it lost its lease may overlap with the next', () => {
  expect(lockViolations([enter(1n), enter(2n), leave(1n, false), leave(2n)])).toEqual([]);
});

test('a token that does not increase is found', () => {
  expect(lockViolations([enter(2n), leave(2n), enter(2n), leave(2n)])).toHaveLength(1);
  expect(lockViolations([enter(2n), leave(2n), enter(1n), leave(1n)])).toHaveLength(1);
});

test('different resources have nothing to do with each other', () => {
  const other = { ...enter(1n), resource: 'b' };
  expect(lockViolations([enter(1n), other, leave(1n), { ...leave(1n), resource: 'b' }])).toEqual(
    [],
  );
});

test('leaving without having entered is found', () => {
  expect(lockViolations([leave(1n)])).toHaveLength(1);
});
