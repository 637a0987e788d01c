// C5: what entries take, and that many keys leave nothing behind.

import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median } from '../lock/measure.js';
import { ratio, type Table } from '../lock/report.js';
import { type Bench, type BenchContext, count } from './context.js';

const PROGRAM = fileURLToPath(new URL('./c5-heap-process.ts', import.meta.url));

async function run<Result>(what: string, number: number): Promise<Result> {
  const args = ['--expose-gc', '--import', 'tsx', PROGRAM, what, String(number)];
  const { stdout } = await promisify(execFile)(process.execPath, args);
  return JSON.parse(stdout);
}

async function perEntry(context: BenchContext): Promise<Table> {
  const entries = count(context, 100_000, 10_000);
  const bytes = new Map<string, number>();
  for (const what of ['lru-cache', 'tricord memoryCache']) {
    const runs: number[] = [];
    for (let turn = 0; turn < count(context, 3, 1); turn += 1) {
      runs.push((await run<{ bytes: number }>(what, entries)).bytes);
    }
    bytes.set(what, median(runs));
  }
  const floor = bytes.get('lru-cache') ?? Number.NaN;
  return {
    title: 'C5: memory of an entry',
    method: `${entries.toLocaleString('en')} entries of 288 bytes (as JSON) with TTL, each value an object of its own; a process for each run with \`--expose-gc\`: (heapUsed + external after four collections, less the same before) / entries, the median of three runs. Keys and values are in it.`,
    columns: ['cache', 'bytes an entry', 'of lru-cache'],
    rows: Array.from(bytes, ([name, each]) => [name, each.toFixed(0), ratio(each / floor)]),
  };
}

async function flat(context: BenchContext): Promise<Table> {
  const keys = count(context, 10_000_000, 100_000);
  const { samples, evictionCount } = await run<{ samples: number[]; evictionCount: number }>(
    'flat',
    keys,
  );
  const megabytes = (value: number): string => `${(value / 2 ** 20).toFixed(1)} MB`;
  return {
    title: `Heap while ${keys.toLocaleString('en')} different keys pass through 10,000 entries`,
    method: 'Heap and external memory in use after a collection, each tenth of the way.',
    columns: samples.map((_, index) => `${10 * (index + 1)} %`),
    rows: [samples.map(megabytes)],
    notes: [`${evictionCount.toLocaleString('en')} evictions.`],
  };
}

export const bench: Bench = {
  id: 'C5',
  run: async (context) => [await perEntry(context), await flat(context)],
};
