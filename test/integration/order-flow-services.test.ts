// The order flow as services: the flags here; a whole sale with a kill on one kind of store, small.

import { expect, test } from 'vitest';
import { readServicesOptions } from '../../examples/order-flow/services/options.js';
import { expectExit, runDemo } from './order-flow-demo.js';

const SMALL = ['--topology', 'services', '--buyers', '60', '--products', '2', '--units', '15'];

test('a sale over four services [redis] [postgresql] is clean although an order process is killed', async () => {
  const run = await runDemo([...SMALL, '--seed', '20261', '--kill', 'coordinator']);
  expectExit(run, 0);
  expect(run.output).toMatch(/killed order-1/);
  expect(run.output).toMatch(/The audit is clean/);
}, 120_000);

test('so is one in which the services decide by a majority [redis] [postgresql]', async () => {
  const few = ['--topology', 'services', '--buyers', '40', '--products', '2', '--units', '10'];
  const how = ['--protocol', 'three-phase', '--kill', 'coordinator', '--seed', '20261'];
  const run = await runDemo([...few, ...how]);
  expectExit(run, 0);
  expect(run.output).toMatch(/killed order-1[\s\S]*order-1 is back/);
  expect(run.output).toMatch(/The audit is clean/);
}, 120_000);

test('flags that mean nothing are refused, with what to pass', () => {
  const options = readServicesOptions(['--topology', 'services', '--kill', 'participant']);
  expect(options).toMatchObject({ kill: 'participant', shop: { drivers: 'redis' } });
  expect(() => readServicesOptions(['--kill', 'everybody'])).toThrow(/none, coordinator/);
  expect(() => readServicesOptions(['--protocol', 'one-phase'])).toThrow(/two-phase, three-phase/);
  expect(() => readServicesOptions(['--buyers', '0'])).toThrow(/from 1 on/);
});
