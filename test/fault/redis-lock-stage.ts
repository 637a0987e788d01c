// What the fault tests of locks on Redis share.

import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Redis, type RedisOptions } from 'ioredis';
import { createLock, type Lock } from 'tricord';
import { type RedisLockOptions, redisLock } from 'tricord/redis';

export const elapsedSince = (startedMs: number): number => performance.now() - startedMs;

/** What ioredis takes beside an address. */
export type StagedClientOptions = Omit<RedisOptions, 'replyMapping'>;

/** Opens a lock the way a process would. */
export function openLock(
  url: string,
  options: {
    readonly client?: StagedClientOptions;
    readonly driver?: Omit<RedisLockOptions, 'client'>;
  } = {},
): { readonly lock: Lock; readonly client: Redis } & AsyncDisposable {
  const client = new Redis(url, options.client ?? {});
  // Tests break connections on purpose; ioredis prints errors that nobody listens to.
  client.on('error', () => {});
  const lock = createLock({ driver: redisLock({ client, ...options.driver }) });
  return {
    lock,
    client,
    async [Symbol.asyncDispose]() {
      await lock.close({ drainMs: 0 });
      client.disconnect();
    },
  };
}

/** Polls until the condition holds, and fails with `what` after a bound. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  boundMs = 10_000,
): Promise<void> {
  const started = performance.now();
  while (!(await condition())) {
    if (elapsedSince(started) > boundMs) throw new Error(`${what}: not within ${boundMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Resolves with the reason when a signal aborts. */
export function aborted(signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason);
    else signal.addEventListener('abort', () => resolve(signal.reason), { once: true });
  });
}

/** Runs a program of this folder in a process of its own, until it has written a line. */
export async function startProgram(name: string, ...args: string[]): Promise<ChildProcess> {
  const path = fileURLToPath(new URL(name, import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', path, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
    child.stdout?.once('data', () => resolve());
  });
  return child;
}

/** A process that takes a lock and keeps it, renewing, until it is killed. */
export function startHolder(url: string, resource: string, ttlMs: number): Promise<ChildProcess> {
  return startProgram('./redis-lock-holder-process.ts', url, resource, `${ttlMs}`);
}

/** A process that had a lock once and retains it, renewing, until somebody else asks. */
export function startRetainer(url: string, resource: string, ttlMs: number): Promise<ChildProcess> {
  return startProgram('./redis-lock-retainer-process.ts', url, resource, `${ttlMs}`);
}
