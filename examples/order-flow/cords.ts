import { Redis } from 'ioredis';
import type { DecisionLog, LockDriver, SiteTransport } from 'tricord';
import { redisCache, redisLock, redisTransactions, redisTransport } from 'tricord/redis';
import {
  zookeeper,
  zookeeperCache,
  zookeeperLock,
  zookeeperTransactions,
  zookeeperTransport,
} from 'tricord/zookeeper';
import type { SharedTiers } from './shop-caches.js';

/** The server that the cords of a sale run on. */
export type Coordination =
  | { readonly drivers: 'redis'; readonly url: string }
  | { readonly drivers: 'zookeeper'; readonly servers: string };

/** A node's drivers for lock, transactions and cache, over one connection. */
export interface Cords extends SharedTiers {
  readonly lock: LockDriver;
  readonly log: DecisionLog;
  /** Between the sites of three-phase transactions. */
  readonly transport: SiteTransport;
  close(): Promise<void>;
}

/** A node counts as dead after so long without a sign; the others then finish what it left. */
const SILENT_AFTER_MS = 3_000;

/** @param namespace - keeps a sale apart from everything else on the same server. */
export function openCords(coordination: Coordination, namespace: string): Cords {
  return coordination.drivers === 'redis'
    ? redisCords(coordination.url, namespace)
    : zookeeperCords(coordination.servers, namespace);
}

function redisCords(url: string, namespace: string): Cords {
  const client = new Redis(url, { maxRetriesPerRequest: 2 });
  // ioredis reports each failed attempt to reconnect; the cords tell what it meant for a call.
  client.on('error', () => {});
  return {
    lock: redisLock({ client, namespace }),
    log: redisTransactions({ client, namespace, livenessTimeoutMs: SILENT_AFTER_MS }),
    tiers: [redisCache({ client, namespace })],
    settings: [],
    transport: redisTransport({ client, namespace }),
    close: async () => client.disconnect(),
  };
}

function zookeeperCords(servers: string, namespace: string): Cords {
  const session = zookeeper({ servers, namespace, sessionTimeoutMs: SILENT_AFTER_MS });
  return {
    lock: zookeeperLock({ session }),
    log: zookeeperTransactions({ session }),
    tiers: [],
    settings: [zookeeperCache({ session })],
    transport: zookeeperTransport({ session }),
    close: () => session.close(),
  };
}
