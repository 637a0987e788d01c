// B8: the heap after a million waits.

import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Bench, type BenchContext, count } from './context.js';
import type { Table } from './report.js';

const PROGRAM = fileURLToPath(new URL('./b8-heap-process.ts', import.meta.url));

interface Heaps {
  readonly heapsMb: readonly number[];
  readonly tookMs: number;
  readonly handOffCount: number;
}

async function heap(context: BenchContext): Promise<Table> {
  const waits = count(context, 1_000_000, 20_000);
  const child = fork(PROGRAM, [context.redis.url, String(waits)], {
    execArgv: ['--expose-gc', '--import', 'tsx'],
  });
  const { heapsMb, tookMs, handOffCount } = await new Promise<Heaps>((resolve, reject) => {
    child.once('message', (message) => resolve(message as Heaps));
    child.once('exit', (code) => reject(new Error(`the waiting process ended with ${code}`)));
  });
  const mb = (value: number | undefined): string => `${(value ?? Number.NaN).toFixed(1)} MB`;
  const tenths = heapsMb.map((each, index) => [`${(index + 1) * 10} %`, mb(each)] as const);
  return {
    title: `B8: heap after ${waits.toLocaleString('en')} waits, Redis`,
    method: `Two nodes with 32 tasks each on one resource in one process, every tenth wait given up; heap in use after a collection. It took ${(tookMs / 1_000).toFixed(0)} s, ${handOffCount.toLocaleString('en')} of the grants by hand-over inside a node.`,
    columns: tenths.map(([share]) => share),
    rows: [tenths.map(([, heapMb]) => heapMb)],
  };
}

export const bench: Bench = { id: 'B8', run: async (context) => [await heap(context)] };
