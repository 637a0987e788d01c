import { type ChildProcess, spawn } from 'node:child_process';
import { chown, mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine } from './handle.js';
import { freePort } from './ports.js';
import { isStill, send, signalTree, stateOf } from './process-tree.mjs';
import { accountOf, isRoot } from './programs.js';
import { reapLater, reapNoMore } from './reaper.js';
import type { ProcessPlan, Site } from './recipe.js';

const STOP_TIMEOUT_MS = 10_000;
const KILL_TIMEOUT_MS = 5_000;

/** Runs a server's program in a private folder, on a free port of 127.0.0.1. */
export async function processEngine(
  name: string,
  plan: (site: Site) => Promise<ProcessPlan>,
): Promise<Engine> {
  const folder = await mkdtemp(join(tmpdir(), `tricord-${name}-`));
  reapLater('folder', folder);
  const site: Site = { host: '127.0.0.1', port: await freePort(), folder };
  return new ProcessEngine(site, await plan(site));
}

class ProcessEngine implements Engine {
  readonly host: string;
  readonly port: number;
  readonly #plan: ProcessPlan;
  readonly #folder: string;
  #process: ChildProcess | undefined;

  constructor(site: Site, plan: ProcessPlan) {
    this.host = site.host;
    this.port = site.port;
    this.#folder = site.folder;
    this.#plan = plan;
  }

  get isRunning(): boolean {
    const child = this.#process;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  async start(): Promise<void> {
    const { command, args, user } = this.#plan;
    const account = user !== undefined && isRoot() ? await accountOf(user) : undefined;
    const output = await open(join(this.#folder, 'output.log'), 'a');
    try {
      const child = spawn(command, [...args], {
        cwd: this.#folder,
        detached: true,
        stdio: ['ignore', output.fd, output.fd],
        // The tests' own settings must not reach the servers.
        env: { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: this.#folder },
        ...account,
      });
      await new Promise((resolve, reject) => child.once('spawn', resolve).once('error', reject));
      this.#process = child;
      const pid = child.pid as number;
      reapLater('process', pid);
      child.once('exit', () => reapNoMore('process', pid));
      child.unref();
    } finally {
      await output.close();
    }
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined || !this.isRunning) return;
    // What is frozen could not obey. Only the first process is asked: it ends its own children.
    signalTree(child.pid, 'SIGCONT');
    send(child.pid, this.#plan.stopSignal ?? 'SIGTERM');
    if (!(await hasExited(child, STOP_TIMEOUT_MS))) await this.kill();
  }

  async kill(): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined || !this.isRunning) return;
    const all = signalTree(child.pid, 'SIGKILL');
    if (!(await hasExited(child, KILL_TIMEOUT_MS))) {
      throw new Error(`process ${child.pid} (${this.#plan.command}) survived SIGKILL`);
    }
    await until(() => all.every((pid) => (stateOf(pid) ?? 'Z') === 'Z'));
  }

  async pause(): Promise<void> {
    const pid = this.#runningPid('pause');
    const all = signalTree(pid, 'SIGSTOP');
    await until(() => all.every(isStill));
  }

  async resume(): Promise<void> {
    signalTree(this.#runningPid('resume'), 'SIGCONT');
  }

  async remove(): Promise<void> {
    await this.kill();
    await rm(this.#folder, {
      recursive: true,
      force: true,
      maxRetries: 10,
      retryDelay: 50,
    });
    reapNoMore('folder', this.#folder);
  }

  async log(): Promise<string> {
    const text = await readFile(join(this.#folder, 'output.log'), 'utf8').catch(() => '');
    return text.slice(-2_000);
  }

  #runningPid(verb: string): number {
    if (!this.isRunning) throw new Error(`cannot ${verb} ${this.#plan.command}: it is not running`);
    return this.#process?.pid as number;
  }
}

/** Gives a folder that the tests made as root to the account that a server runs as. */
export async function giveTo(user: string, folder: string): Promise<void> {
  if (!isRoot()) return;
  const { uid, gid } = await accountOf(user);
  await chown(folder, uid, gid);
}

async function hasExited(child: ChildProcess, timeoutMs: number): Promise<boolean> {
  const gone = () => child.exitCode !== null || child.signalCode !== null;
  if (gone()) return true;
  child.ref();
  const timer = new AbortController();
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await Promise.race([exited, sleep(timeoutMs, undefined, { signal: timer.signal })]);
  timer.abort();
  child.unref();
  return gone();
}

/** Waits for what the kernel does soon after a signal. */
async function until(condition: () => boolean): Promise<void> {
  const startedAt = performance.now();
  while (!condition()) {
    if (performance.now() - startedAt > KILL_TIMEOUT_MS) throw new Error('a signal had no effect');
    await sleep(5);
  }
}
