// What every entry point of the repository needs before it can run: the modules of the lock file, and
// the native ZooKeeper client. Plain JavaScript on Node alone.

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Installs and builds what is missing, and says so in a line each. Ends the process on a failure. */
export function prepareModules(root) {
  if (!existsSync(join(root, 'node_modules', 'vitest'))) {
    step(root, 'installing the modules', ['ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  }
  if (!loads(root, 'zookeeper')) {
    step(root, 'building the ZooKeeper client (a minute or two)', ['rebuild', 'zookeeper']);
  }
  if (!loads(root, 'zookeeper')) {
    fail('the ZooKeeper client was not built: install python3, make, gcc and g++, then try again');
  }
}

function step(root, what, args) {
  process.stderr.write(`${what}: npm ${args.join(' ')}\n`);
  const { status, stdout, stderr, error } = spawnSync('npm', args, { cwd: root, encoding: 'utf8' });
  if (status === 0) return;
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}\n`);
  fail(`npm ${args.join(' ')} failed`);
}

// In a process of its own: a native module that is half built may end the process that loads it.
function loads(root, name) {
  const options = { cwd: root, stdio: 'ignore' };
  return spawnSync(process.execPath, ['-e', `require('${name}')`], options).status === 0;
}

function fail(sentence) {
  process.stderr.write(`${sentence}\n`);
  process.exit(1);
}
