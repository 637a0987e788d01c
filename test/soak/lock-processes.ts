// The processes of a nemesis, over all their lives.

import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CuttingProxy } from '../servers/proxy.js';
import { reapLater, reapNoMore } from '../servers/reaper.js';

const LOCKS = new URL('./lock-worker-process.ts', import.meta.url);
const TSCONFIG = fileURLToPath(new URL('../tsconfig.json', import.meta.url));
const START_TIMEOUT_MS = 30_000;
const OUTPUT_CHARACTERS_MAX = 10_000;

/** A process that is started again after it was killed. */
export interface WorkerHandle {
  /** The present life's name in the history. */
  readonly process: string;
  readonly proxies: readonly CuttingProxy[];
  /** What went wrong by itself: an exit that nobody ordered, with what was printed. */
  readonly failures: readonly string[];
  start(): Promise<void>;
  kill(): Promise<void>;
  signal(signal: NodeJS.Signals): void;
  /** Lets it end what it has begun; kills it, and tells so, when it takes longer than that. */
  finish(timeoutMs: number): Promise<void>;
}

/**
 * A worker that is not started yet; `configOf` makes the configuration of each life. Its program is by
 * default that of the locks.
 */
export function workerHandle(
  index: number,
  proxies: readonly CuttingProxy[],
  configOf: (process: string, life: number) => object,
  program: URL = LOCKS,
): WorkerHandle {
  const failures: string[] = [];
  let life = 0;
  let child: ChildProcess | undefined;
  let isOrdered = false;
  let name = '';
  const exited = (process: ChildProcess): Promise<void> =>
    process.exitCode !== null || process.signalCode !== null
      ? Promise.resolve()
      : new Promise((resolve) => process.once('exit', () => resolve()));

  return {
    get process() {
      return name;
    },
    proxies,
    failures,
    async start() {
      life += 1;
      name = `w${index}.${life}`;
      isOrdered = false;
      const born = fork(fileURLToPath(program), [JSON.stringify(configOf(name, life))], {
        execArgv: ['--import', 'tsx'],
        env: { ...process.env, TSX_TSCONFIG_PATH: TSCONFIG },
        stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      });
      child = born;
      watch(born, name);
      await withTimeout(
        Promise.race([new Promise((resolve) => born.once('message', resolve)), exited(born)]),
        START_TIMEOUT_MS,
      );
    },
    async kill() {
      isOrdered = true;
      const dying = child;
      dying?.kill('SIGKILL');
      if (dying !== undefined) await exited(dying);
    },
    signal: (signal) => void child?.kill(signal),
    async finish(timeoutMs) {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      if (child.connected) child.send('stop', () => {});
      if (
        await withTimeout(
          exited(child).then(() => true),
          timeoutMs,
        )
      )
        return;
      failures.push(`${name} did not end within ${timeoutMs} ms`);
      child.kill('SIGKILL');
      await exited(child);
    },
  };

  function watch(born: ChildProcess, bornName: string): void {
    const pid = born.pid as number;
    let output = '';
    reapLater('process', pid);
    for (const stream of [born.stdout, born.stderr]) {
      stream?.on('data', (chunk) => {
        output = (output + chunk).slice(-OUTPUT_CHARACTERS_MAX);
      });
    }
    born.once('close', (code, signal) => {
      reapNoMore('process', pid);
      if (isOrdered || code === 0) return;
      failures.push(`${bornName} ended by itself with ${signal ?? code}: ${output}`);
    });
  }
}

/** The promise's value, or undefined after so long. */
async function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
