import { describe, expect, test } from 'vitest';
import { BadFlag, readOptions } from '../../examples/order-flow/options.js';
import { expectExit, row, runDemo } from './order-flow-demo.js';

describe('npm run demo', () => {
  test('sells every unit once to 2,000 buyers at 4 nodes, and the audit is clean', async () => {
    const demo = await runDemo(['--seed', '7']);
    expectExit(demo, 0);
    expect(row(demo, 'sold')).toMatch(/^100 of 100 units/);
    expect(row(demo, 'refused')).toMatch(/^1,900: /);
    expect(row(demo, 'oversold')).toBe('0');
    expect(row(demo, 'transactions')).toMatch(/^100 committed, \d+ aborted, 0 in doubt$/);
    expect(row(demo, 'lock wait')).toMatch(/^p50 [\d.,]+ ms, p99 [\d.,]+ ms$/);
    expect(row(demo, 'product pages')).toMatch(/^hit rate \d+\.\d %$/);
    expect(row(demo, 'stock display')).toMatch(/^hit rate \d+\.\d %$/);
    expect(row(demo, 'audit')).toBe('clean');
    expect(demo.output).toContain('sold 100, refused 1900, oversold 0');
  });

  test('leaves goods on the shelf when too few want them, and that is no violation', async () => {
    const demo = await runDemo(['--buyers', '20', '--units', '50', '--nodes', '2', '--seed', '1']);
    expectExit(demo, 0);
    expect(row(demo, 'oversold')).toBe('0');
  });

  test.each([
    ['stock', 'stock and orders agree'],
    ['payment', 'money and orders agree'],
    ['order', 'orders are what buyers asked for'],
    ['lock', 'no lock is held'],
  ])('exits with 1 when somebody tampered with the %s', async (what, rule) => {
    const demo = await runDemo(['--tamper', what, '--buyers', '60', '--products', '2']);
    expectExit(demo, 1);
    expect(demo.output).toContain(`violated: ${rule}: `);
  });

  test('refuses bad flags with a sentence and exit code 2', async () => {
    const demo = await runDemo(['--nodes', '0']);
    expectExit(demo, 2);
    expect(demo.output).toContain('--nodes is "0"; it must be a whole number from 1 to 64');
  });

  test('tells its flags', async () => {
    const demo = await runDemo(['--help']);
    expectExit(demo, 0);
    expect(demo.output).toContain('--tamper <what>');
  });

  test('says which server does not answer', { timeout: 60_000 }, async () => {
    const demo = await runDemo(['--drivers', 'redis', '--redis-url', 'redis://127.0.0.1:1']);
    expectExit(demo, 1);
    expect(demo.output).toContain('no redis server answers at the address in --redis-url');
  });
});

describe('the flags of the demo', () => {
  test.each([
    [['--nodes', '65'], '--nodes is "65"; it must be a whole number from 1 to 64'],
    [['--units', '1.5'], '--units is "1.5"; it must be a whole number'],
    [['--seed', '-1'], "Option '--seed' argument is ambiguous"],
    [['--buyers', 'many'], '--buyers is "many"; it must be a whole number'],
    [['--drivers', 'etcd'], '--drivers is "etcd"; it must be one of memory, redis, zookeeper'],
    [['--kill'], '--kill needs nodes that are processes: add --drivers redis'],
    [['--kill', '--drivers', 'redis', '--nodes', '1'], '--kill needs a node that lives on'],
    [['--redis-url', 'redis://127.0.0.1:6379'], '--redis-url is not used by --drivers memory'],
    [
      ['--drivers', 'redis', '--redis-url', '127.0.0.1'],
      '--redis-url is not an address like redis',
    ],
    [['--drivers', 'zookeeper', '--zookeeper', 'zk'], '--zookeeper is "zk"; it must be host:port'],
    [['--sell'], "Unknown option '--sell'"],
    [['everything'], "Unexpected argument 'everything'"],
  ])('refuse %j', (args, sentence) => {
    expect(() => readOptions(args)).toThrow(sentence);
    expect(() => readOptions(args)).toThrow(BadFlag);
  });

  test('default to the flash sale of 2,000 buyers on memory drivers', () => {
    const sale = { nodes: 4, buyers: 2_000, products: 10, units: 10 };
    expect(readOptions([])).toMatchObject({ drivers: 'memory', kill: false, ...sale });
  });

  test('do not repeat a password of an address that cannot be used', () => {
    const url = 'http://shop:secret@127.0.0.1';
    const read = () => readOptions(['--drivers', 'redis', '--redis-url', url]);
    expect(read).toThrow(/^--redis-url is not an address like redis:\/\/host:port$/);
  });
});
