// npm run bench:transaction [-- --quick] [-- --only price-2,recovery,…] [-- --no-page]
//
// Measures transactions on servers that it starts, against the same SQL by hand, and writes its
// section of docs/reference/benchmarks.md. Nine minutes in all; each part that `--only` names takes
// less than two and replaces its own table alone. `--quick` takes one in all, and leaves the page.

import { parseArgs } from 'node:util';
import { startPostgres, startRedis, startZookeeper } from '../../servers/provider.js';
import { machine, printed, type Table, writeParts } from '../lock/report.js';
import { calls } from './calls.js';
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
    'price-1': () => price(servers, { count: 1, rounds, roundMs }),
    'price-2': () => price(servers, { count: 2, rounds, roundMs }),
    'price-3': () => price(servers, { count: 3, rounds, roundMs }),
    'price-5': () => price(servers, { count: 5, rounds, roundMs }),
    remote: () => calls(servers, { rounds, roundMs, counted: values.quick ? 20 : 200 }),
    recovery: () => recovery(servers, { branches: values.quick ? 200 : 1_000 }),
    hot: () => hotStock(servers, { rounds, roundMs: 2 * roundMs }),
    zookeeper: () => zookeeperDecisions(zookeeper, { rounds, roundMs: 2 * roundMs }),
  };
  const order = Object.keys(benches);
  const section = { domain: 'transaction', heading: 'Transactions' };
  for (const part of values.only?.split(',') ?? order) {
    const table = await benches[part]?.();
    if (table === undefined) throw new Error(`${part} is none of ${order.join(', ')}`);
    console.log(printed(table));
    if (!values.page || values.quick) continue;
    await writeParts(section, introduction, order, new Map([[part, table]]));
  }
}

await main();
