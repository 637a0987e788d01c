// Ends what a test process started, when that process ends: in order, by a crash, by SIGKILL or by
// Ctrl-C. It runs in a session of its own and notices the end by the end of its standard input,
// which the kernel closes however its owner dies. Plain JavaScript: it must start at once.
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { send, signalTree } from './process-tree.mjs';

const RUNNER_POLL_MS = 500;
const processes = new Set();
const folders = new Set();
const containers = new Set();
let isReaping = false;
const registers = {
  process: processes,
  folder: folders,
  container: containers,
};

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
process.stdout.on('error', () => {});

const input = createInterface({ input: process.stdin });
input.on('line', (line) => {
  const { verb, what, value } = JSON.parse(line);
  registers[what][verb](value);
});
input.on('close', reap);

// A worker can outlive a runner that was killed: then the runner's end counts.
const runner = Number(process.env.TRICORD_RUNNER_PID ?? 0);
if (runner > 0) {
  setInterval(() => isAlive(runner) || reap(), RUNNER_POLL_MS).unref();
}

async function reap() {
  if (isReaping) return;
  isReaping = true;
  for (const pid of processes) signalTree(pid, 'SIGKILL');
  await new Promise((resolve) => setTimeout(resolve, 50));
  for (const folder of folders) {
    rmSync(folder, {
      recursive: true,
      force: true,
      maxRetries: 10,
      retryDelay: 50,
    });
  }
  if (containers.size > 0) await removeContainers();
  // The owner is a worker that lost its runner; it has nothing left to do.
  if (runner > 0 && !isAlive(runner)) send(Number(process.argv[2]), 'SIGKILL');
  process.exit(0);
}

async function removeContainers() {
  const { getContainerRuntimeClient } = await import('testcontainers');
  const client = await getContainerRuntimeClient();
  for (const id of containers) {
    await client.container
      .getById(id)
      .remove({ force: true, v: true })
      .catch(() => {});
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
