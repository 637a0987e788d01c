// The locks that are compared, behind one small interface: tricord, and the npm packages for Redis at
// their defaults and tuned. The packages are installed into a private temporary folder by the bench.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { createLock } from 'tricord';
import { redisLock } from 'tricord/redis';

const PEERS = ['redis-semaphore@5.8.0', 'redlock@5.0.0-beta.2', '@sesamecare-oss/redlock@1.4.0'];

/** One client of one lock library, on a connection of its own. */
export interface Client {
  /** Takes the resource, waiting as long as it takes; resolves with how to give it back. */
  acquire(resource: string, ttlMs: number): Promise<() => Promise<unknown>>;
  /** Holds the resource until it is told to stop, and calls `lost` when the library says that it is lost. */
  guard(resource: string, ttlMs: number, lost: () => void): Promise<() => Promise<unknown>>;
  /** How many commands it has sent so far. */
  sentCount(): number;
  close(): Promise<void>;
}

type Uncounted = Omit<Client, 'sentCount'>;

export const CONTENDERS = [
  'tricord',
  'redis-semaphore',
  'redis-semaphore tuned',
  'redlock',
  'redlock tuned',
  '@sesamecare-oss/redlock',
  '@sesamecare-oss/redlock tuned',
] as const;
export type Contender = (typeof CONTENDERS)[number];

/** What the tuned rows mean, for the page. */
export const TUNING =
  'Tuned: redis-semaphore with `retryInterval: 2`; both redlocks with `retryDelay: 5`, ' +
  '`retryJitter: 5`, `retryCount: -1`. At their defaults the redlocks give up after ten tries; the ' +
  'bench then asks again at once.';

/** Where the npm packages are; `dispose` removes the folder. */
export interface InstalledPeers extends AsyncDisposable {
  readonly folder: string;
  readonly versions: string;
}

export async function installPeers(): Promise<InstalledPeers> {
  const folder = await mkdtemp(join(tmpdir(), 'tricord-peers-'));
  await writeFile(join(folder, 'package.json'), '{"private":true}');
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--legacy-peer-deps'];
  await promisify(execFile)('npm', ['install', ...quiet, ...PEERS], { cwd: folder });
  return {
    folder,
    versions: PEERS.map((peer) => peer.replace(/@(?=\d)/, ' ')).join(', '),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Opens a contender on a connection of its own; its commands are counted where it is said. */
export function openClient(
  contender: Contender,
  url: string,
  folder: string,
  { isCounted = false }: { readonly isCounted?: boolean } = {},
): Client {
  const redis = new Redis(url, { retryStrategy: () => 50 });
  redis.on('error', () => {});
  let sent = 0;
  if (!isCounted) return { ...openOn(redis, contender, folder), sentCount: () => sent };
  const send = redis.sendCommand.bind(redis);
  redis.sendCommand = (...values) => {
    sent += 1;
    return send(...values);
  };
  return { ...openOn(redis, contender, folder), sentCount: () => sent };
}

function openOn(redis: Redis, contender: Contender, folder: string): Uncounted {
  const load = (name: string): unknown => createRequire(join(folder, 'package.json'))(name);
  switch (contender) {
    case 'tricord':
      return tricordClient(redis);
    case 'redis-semaphore':
      return semaphoreClient(redis, load('redis-semaphore') as SemaphoreModule, {});
    case 'redis-semaphore tuned':
      return semaphoreClient(redis, load('redis-semaphore') as SemaphoreModule, {
        retryInterval: 2,
      });
    case 'redlock':
      return redlockClient(redis, load('redlock') as RedlockModule, {});
    case 'redlock tuned':
      return redlockClient(redis, load('redlock') as RedlockModule, TUNED_REDLOCK);
    case '@sesamecare-oss/redlock':
      return redlockClient(redis, load('@sesamecare-oss/redlock') as RedlockModule, {});
    case '@sesamecare-oss/redlock tuned':
      return redlockClient(redis, load('@sesamecare-oss/redlock') as RedlockModule, TUNED_REDLOCK);
  }
}

const WAIT_MS = 600_000;

function tricordClient(redis: Redis): Uncounted {
  const lock = createLock({ driver: redisLock({ client: redis }), waitMs: WAIT_MS });
  return {
    async acquire(resource, ttlMs) {
      const lease = await lock.acquire(resource, { ttlMs });
      return () => lease.release();
    },
    async guard(resource, ttlMs, lost) {
      const lease = await lock.acquire(resource, { ttlMs });
      lease.signal.addEventListener('abort', lost, { once: true });
      return () => lease.release();
    },
    async close() {
      await lock.close({ drainMs: 0 });
      redis.disconnect();
    },
  };
}

interface SemaphoreModule {
  readonly Mutex: new (
    client: Redis,
    key: string,
    options: object,
  ) => { acquire(): Promise<void>; release(): Promise<void> };
}

function semaphoreClient(redis: Redis, { Mutex }: SemaphoreModule, tuning: object): Uncounted {
  const take = async (resource: string, ttlMs: number, onLockLost: () => void) => {
    const bounds = { lockTimeout: ttlMs, acquireTimeout: WAIT_MS };
    const mutex = new Mutex(redis, resource, { ...bounds, onLockLost, ...tuning });
    await mutex.acquire();
    return () => mutex.release().catch(() => {});
  };
  return {
    acquire: (resource, ttlMs) => take(resource, ttlMs, () => {}),
    guard: take,
    close: async () => redis.disconnect(),
  };
}

export interface RedlockModule {
  readonly default: new (
    clients: Redis[],
    options: object,
  ) => {
    on(event: 'error', listener: () => void): void;
    acquire(resources: string[], ttlMs: number): Promise<{ release(): Promise<unknown> }>;
    using(
      resources: string[],
      ttlMs: number,
      body: (signal: AbortSignal) => Promise<void>,
    ): Promise<void>;
  };
  readonly Redlock?: RedlockModule['default'];
}

const TUNED_REDLOCK = { retryDelay: 5, retryJitter: 5, retryCount: -1 };

function redlockClient(redis: Redis, module: RedlockModule, tuning: object): Uncounted {
  const Redlock = module.Redlock ?? module.default;
  const redlock = new Redlock([redis], tuning);
  redlock.on('error', () => {});
  let isClosed = false;
  return {
    async acquire(resource, ttlMs) {
      for (;;) {
        try {
          const lock = await redlock.acquire([resource], ttlMs);
          return () => lock.release().catch(() => {});
        } catch (error) {
          if (isClosed) throw error;
        }
      }
    },
    guard(resource, ttlMs, lost) {
      return new Promise((resolve, reject) => {
        const work = redlock.using([resource], ttlMs, async (signal) => {
          signal.addEventListener('abort', lost, { once: true });
          await new Promise<void>((stop) => resolve(async () => stop()));
        });
        work.catch(reject);
      });
    },
    async close() {
      isClosed = true;
      redis.disconnect();
    },
  };
}
