// A process that places orders, several at a time, until it is killed:
// node postgres-log-process.ts ‹databases and first id as JSON›

import { type OrderDatabases, orderNode } from './postgres-log-stage.js';

const CONCURRENCY = 4;
const config: OrderDatabases & { readonly id: number } = JSON.parse(process.argv[2] ?? '{}');
const node = orderNode(config);
let id = config.id;

const worker = async (): Promise<void> => {
  for (;;) {
    id += 1;
    const mine = id;
    const { state } = await node.place(mine);
    process.stdout.write(`${state} ${mine}\n`);
  }
};
await Promise.all(Array.from({ length: CONCURRENCY }, worker));
