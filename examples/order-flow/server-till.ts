import { createLock, createTransactionCoordinator } from 'tricord';
import { type Coordination, openCords } from './cords.js';
import { type Databases, postgresStores } from './postgres-stores.js';
import { closeCaches, openCaches } from './shop-caches.js';
import type { Till } from './take-order.js';

/** All that a node's process must know. */
export interface TillSetup {
  readonly node: string;
  /** Of the sale: at most 10 characters. */
  readonly namespace: string;
  readonly coordination: Coordination;
  readonly databases: Databases;
  /** To each database. */
  readonly connectionsMax: number;
}

const LIMITS = { lockTtlMs: 3_000, lockWaitMs: 15_000, transactionTimeoutMs: 5_000 };
const SWEEP_MS = 500;
const DRAIN_MS = 2_000;

/** Opens a node of the shop over real servers. */
export function openTill(setup: TillSetup): Till {
  const { node: nodeId, namespace } = setup;
  const stores = postgresStores(setup.databases, nodeId, setup.connectionsMax);
  const cords = openCords(setup.coordination, namespace);
  const lock = createLock({ driver: cords.lock, nodeId });
  const coordinator = createTransactionCoordinator({
    log: cords.log,
    nodeId,
    namespace,
    participants: stores.participants,
    sweepMs: SWEEP_MS,
  });
  const caches = openCaches(cords);
  return {
    lock,
    coordinator,
    caches,
    stores,
    limits: LIMITS,
    guarantees: async () => [await lock.guarantees(), await coordinator.guarantees()],
    async close() {
      const drain = { drainMs: DRAIN_MS };
      await Promise.all([coordinator.close(drain), lock.close(drain), closeCaches(caches, drain)]);
      await Promise.all([stores.close(), cords.close()]);
    },
  };
}
