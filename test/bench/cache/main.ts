// npm run bench:cache [-- --quick] [-- --only C1,C3] [-- --no-page]
//
// Measures the built package, as users run it, beside npm's caches, on servers that it starts, and
// writes its section of docs/reference/benchmarks.md, bench by bench. Variants are interleaved and
// ratios are of medians within one run. Each bench takes less than three minutes; `--quick` runs
// everything once, and leaves the page alone.

import { parseArgs } from 'node:util';
import { machine, printed } from '../lock/report.js';
import { bench as c1 } from './c1-eviction.js';
import { bench as c2 } from './c2-memory.js';
import { bench as c3 } from './c3-redis.js';
import { bench as c4 } from './c4-memcached.js';
import { bench as c5 } from './c5-heap.js';
import { bench as c6 } from './c6-processes.js';
import { bench as c7 } from './c7-bar.js';
import { writePart } from './page.js';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string' },
    page: { type: 'boolean', default: true },
  },
  allowNegative: true,
});
const BENCHES = [c1, c2, c3, c4, c5, c6, c7];
const wanted = values.only?.split(',');
const chosen = BENCHES.filter(({ id }) => wanted === undefined || wanted.includes(id));

const introduction = [
  `Written by \`npm run bench:cache\`. Machine: ${machine()}; servers and clients on the same machine.`,
  '',
  'Compare within a table: contenders run in turn in short rounds, and figures are medians. On another machine the figures differ, the ratios hardly.',
];

async function main(): Promise<void> {
  for (const bench of chosen) {
    const startedMs = performance.now();
    const tables = await bench.run({ isQuick: values.quick });
    for (const table of tables) console.log(printed(table));
    console.log(`  (${bench.id} took ${((performance.now() - startedMs) / 1_000).toFixed(0)} s)`);
    if (values.page && !values.quick) await writePart(bench.id, introduction, tables);
  }
}

await main();
// Some of the peers keep timers of their own.
process.exit(0);
