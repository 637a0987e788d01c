// npm run bench:lock [-- --quick] [-- --only B1,B3] [-- --no-page]
//
// Measures the built package, as users run it, beside the npm packages for locks on Redis and Apache
// Curator for ZooKeeper, on servers that it starts, and writes docs/reference/benchmarks.md.
// Variants are interleaved and ratios are of medians within one run. About twelve minutes, none of the
// parts above three: `--only` measures some of them and leaves the others on the page as they were.
// `--quick` runs everything once in about one, and leaves the page alone.

import { parseArgs } from 'node:util';
import { startRedis } from '../../servers/provider.js';
import { bench as b1 } from './b1-uncontended.js';
import { bench as b2 } from './b2-hand-off.js';
import { bench as b3 } from './b3-contention.js';
import { bench as b4 } from './b4-renewals.js';
import { bench as b5 } from './b5-killed-holder.js';
import { bench as b6 } from './b6-loss-signal.js';
import { bench as b7 } from './b7-lost-reply.js';
import { bench as b8 } from './b8-heap.js';
import { installPeers } from './peers.js';
import { bench as quorum } from './quorum.js';
import { machine, printed, writeParts } from './report.js';
import { bench as zookeeper } from './zookeeper.js';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    page: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const BENCHES = [b1, b2, b3, b4, b5, b6, b7, b8, quorum, zookeeper];
/** As they stand on the page. */
const PARTS = BENCHES.flatMap(({ id }) => [0, 1, 2, 3].map((index) => `${id}-${index}`));
const wanted = values.only?.split(',');
const chosen = BENCHES.filter(({ id }) => wanted === undefined || wanted.includes(id));

async function main(): Promise<void> {
  await using peers = await installPeers();
  await using redis = await startRedis();
  const context = { redis, peers: peers.folder, isQuick: values.quick };
  const introduction = [
    `Written by \`npm run bench:lock\`. Machine: ${machine()}; Redis ${redis.version} without persistence, servers and clients on the same machine. ioredis 6.0.0, ${peers.versions}.`,
    '',
    'Compare within a table: contenders run in turn in short rounds, and figures are medians. Tables may come from different runs. On another machine the figures differ, the ratios hardly.',
  ];
  console.log(introduction.join('\n'));
  for (const bench of chosen) {
    const startedMs = performance.now();
    const done = await bench.run(context);
    for (const table of done) console.log(printed(table));
    console.log(`  (${bench.id} took ${((performance.now() - startedMs) / 1_000).toFixed(0)} s)`);
    // After each, so that a run that is interrupted leaves what it measured.
    if (!values.page || values.quick) continue;
    const measured = new Map(done.map((table, index) => [`${bench.id}-${index}`, table]));
    await writeParts({ domain: 'lock', heading: 'Locks' }, introduction, PARTS, measured);
  }
}

await main();
// Some of the peers keep timers of their own.
process.exit(0);
