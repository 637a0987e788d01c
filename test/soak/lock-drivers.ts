// The drivers that the lock's nemesis knows, as one of its processes opens them.

import { Redis } from 'ioredis';
import type { LockDriver } from '../../src/index.js';
import { redisLock, redisQuorumLock } from '../../src/redis.js';
import { zookeeper, zookeeperLock } from '../../src/zookeeper.js';

export type NemesisDriver = 'redis' | 'zookeeper' | 'quorum';

/** Where a process finds the backend: through proxies of its own. */
export interface WorkerPlace {
  readonly driver: NemesisDriver;
  readonly urls: readonly string[];
}

export interface OpenedDriver {
  readonly driver: LockDriver;
  close(): Promise<void>;
}

/** Short, so that a minute sees many sessions and heartbeats. */
export const SESSION_TIMEOUT_MS = 2_000;
export const HEARTBEAT_MS = 500;
/** The TTL on quorums, and how long a node that was restarted stays out. */
export const QUORUM_TTL_MS = 2_000;
const RECONNECT_MS = 100;
const REPLY_TIMEOUT_MS = 1_000;

/** Opens the driver as one process does, on a client of its own. */
export async function openDriver({ driver, urls }: WorkerPlace): Promise<OpenedDriver> {
  switch (driver) {
    case 'redis':
      return overRedis(urls, ([client]) =>
        redisLock({
          client: client as Redis,
          heartbeatMs: HEARTBEAT_MS,
          replyTimeoutMs: REPLY_TIMEOUT_MS,
        }),
      );
    case 'quorum':
      return overRedis(urls, (clients) =>
        redisQuorumLock({
          clients,
          heartbeatMs: HEARTBEAT_MS,
          replyTimeoutMs: REPLY_TIMEOUT_MS,
          ttlMsMax: QUORUM_TTL_MS,
        }),
      );
    case 'zookeeper':
      return overZookeeper(urls);
  }
}

function overRedis(
  urls: readonly string[],
  make: (clients: readonly Redis[]) => LockDriver,
): OpenedDriver {
  const clients = urls.map((url) => new Redis(url, { retryStrategy: () => RECONNECT_MS }));
  // Connections break on purpose; ioredis prints errors that nobody listens to.
  for (const client of clients) client.on('error', () => {});
  const close = async (): Promise<void> => {
    for (const client of clients) client.disconnect();
  };
  return { driver: make(clients), close };
}

function overZookeeper(urls: readonly string[]): OpenedDriver {
  const servers = urls.join(',');
  const session = zookeeper({ servers, sessionTimeoutMs: SESSION_TIMEOUT_MS });
  return { driver: zookeeperLock({ session }), close: () => session.close() };
}
