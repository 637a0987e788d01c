import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { measured } from '../servers/shared.js';
import { expectExit, row, runDemo } from './order-flow-demo.js';

const SMALL = ['--nodes', '3', '--buyers', '150', '--products', '4', '--units', '12'];
const TIMEOUT_MS = 120_000;

describe.each([
  ['redis', '[redis] [postgresql]'],
  ['zookeeper', '[zookeeper] [postgresql]'],
])('npm run demo -- --drivers %s %s', (drivers) => {
  test('loses nothing when a node is killed with prepared branches', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const demo = await runDemo(['--drivers', drivers, '--kill', ...SMALL]);
    expectExit(demo, 0);
    expect(row(demo, 'sold')).toMatch(/^48 of 48 units/);
    expect(row(demo, 'oversold')).toBe('0');
    expect(row(demo, 'killed')).toMatch(/^node-\d+ \(process \d+\) with SIGKILL/);
    expect(row(demo, 'left in doubt')).toMatch(/^[1-9]\d* branch(es)? of [1-9]\d* transactions?$/);
    expect(row(demo, 'audit')).toBe('clean');
    measured(`${drivers}, a node killed: the others ${row(demo, 'other nodes')}`);
  });
});

describe('npm run demo -- --drivers redis, interrupted [redis] [postgresql]', () => {
  test('takes its servers down on Ctrl-C', { timeout: TIMEOUT_MS }, async () => {
    let isInterrupted = false;
    const demo = await runDemo(['--drivers', 'redis', ...SMALL], (output, pid) => {
      if (isInterrupted || !output.includes('buyers served')) return;
      isInterrupted = true;
      process.kill(pid, 'SIGINT');
    });
    expectExit(demo, 130);
    expect(demo.output).toContain('interrupted');
    const started = demo.output.matchAll(/ at 127\.0\.0\.1:(\d+), started for this sale/g);
    const ports = Array.from(started, ([, port]) => Number(port));
    expect(await Promise.all(ports.map(isOpen))).toEqual(ports.map(() => false));
  });
});

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
