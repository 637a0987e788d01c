// Starts the demo, also from a fresh clone: plain Node.js, nothing to install first.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { runTypescript } from './typescript.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

if (!existsSync(`${root}/node_modules/tsx`)) {
  console.log('Installing the development dependencies (npm ci --ignore-scripts) …');
  npm('ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error');
}
const isZookeeper = process.argv.some((arg) => /^(--drivers=)?zookeeper$/.test(arg));
if (isZookeeper && !existsSync(`${root}/node_modules/zookeeper/build/Release/zookeeper.node`)) {
  console.log('Building the native ZooKeeper client (npm rebuild zookeeper), some minutes …');
  npm('rebuild', 'zookeeper', '--loglevel=error');
}
await runTypescript('./main.ts');

/** @param {string[]} args */
function npm(...args) {
  const { status, error } = spawnSync('npm', args, { cwd: root, stdio: 'inherit' });
  if (error !== undefined) console.error(`npm did not start: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}
