// npm run bench:transaction [-- --quick] [-- --only price,recovery,hot,zookeeper] [-- --no-page]
//
// Measures transactions on servers that it starts, against the same SQL by hand, and writes its
// section of docs/reference/benchmarks.md. About six minutes; `--quick` takes one, and leaves the
// page alone.

import { parseArgs } from 'node:util';
import { startPostgres, startRedis, startZookeeper } from '../../servers/provider.js';
import { machine, printed, type Table, writeSection } from '../lock/report.js';
import { hotStock } from './hot-stock.js';
import { price } from './price.js';
import { recovery } from './recovery.js';
import { zookeeperDecisions } from './zookeeper-decisions.js';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    page: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const rounds = values.quick ? 1 : 5;
const roundMs = values.quick ? 200 : 700;
const wanted = values.only?.split(',');

async function main(): Promise<void> {
  await using postgres = await startPostgres({
    maxPreparedTransactions: 1_200,
    config: { max_connections: '400' },
  });
  await using redis = await startRedis({ appendonly: 'always' });
  await using zookeeper = await startZookeeper();
  const servers = { postgres, redis };
  const introduction = [
    `Written by \`npm run bench:transaction\`. Machine: ${machine()}; PostgreSQL ${postgres.version}, Redis ${redis.version} with \`appendfsync always\`, ZooKeeper ${zookeeper.version}; servers and clients on the same machine.`,
    '',
    'Contenders run in turn in short rounds, and figures are medians of rounds; the spread is that of the medians. Latencies depend on the disk; the ratios hardly.',
  ];
  console.log(introduction.join('\n'));
  const benches: Readonly<Record<string, () => Promise<Table>>> = {
    price: () => price(servers, { rounds, roundMs }),
    recovery: () => recovery(servers, { branches: values.quick ? 200 : 1_000 }),
    hot: () => hotStock(servers, { rounds, roundMs: 2 * roundMs }),
    zookeeper: () => zookeeperDecisions(zookeeper, { rounds, roundMs: 2 * roundMs }),
  };
  const tables: Table[] = [];
  for (const [name, bench] of Object.entries(benches)) {
    if (wanted !== undefined && !wanted.includes(name)) continue;
    const table = await bench();
    tables.push(table);
    console.log(printed(table));
  }
  if (values.page && !values.quick && wanted === undefined) {
    await writeSection('transaction', 'Transactions', introduction, tables);
  }
}

await main();
