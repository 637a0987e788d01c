// A process of the lock's nemesis: node lock-worker-process.ts ‹WorkerConfig as JSON›
//
// It tells its parent `ready`, works until it hears anything, and ends; with its parent at the latest.

import { type WorkerConfig, work } from './lock-worker.js';

const config: WorkerConfig = JSON.parse(process.argv[2] ?? '{}');
let isStopped = false;
process.once('message', () => {
  isStopped = true;
});
const orphaned = (): void => process.exit(3);
process.once('disconnect', orphaned);
process.send?.('ready');
await work(config, () => isStopped);
process.off('disconnect', orphaned);
process.disconnect();
process.exit(0);
