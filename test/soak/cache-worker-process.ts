// A process of the cache's nemesis: node cache-worker-process.ts ‹CacheWorkerConfig as JSON›
//
// It tells its parent `ready`, works until it hears anything, and ends; with its parent at the latest.

import { type CacheWorkerConfig, work } from './cache-worker.js';

const config: CacheWorkerConfig = JSON.parse(process.argv[2] ?? '{}');
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
