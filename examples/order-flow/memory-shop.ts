import { createLock, createTransactionCoordinator } from 'tricord';
import { memoryLock, memoryTransactions } from 'tricord/memory';
import { openAuditor } from './auditor.js';
import {
  type MemoryDatabases,
  memoryDatabases,
  memoryStores,
  readMemory,
  tamperMemory,
} from './memory-stores.js';
import { localNode } from './node.js';
import type { Offer } from './offer.js';
import type { Shop } from './shop.js';
import { closeCaches, openCaches } from './shop-caches.js';
import type { Till } from './take-order.js';

const LIMITS = { lockTtlMs: 5_000, lockWaitMs: 10_000, transactionTimeoutMs: 5_000 };
const NAMESPACE = 'sale';
const DRAIN_MS = 2_000;
const TILLS = 8;

/** What all nodes share: the same driver objects stand for the same servers. */
type SharedDrivers = ReturnType<typeof sharedDrivers>;
const sharedDrivers = () => ({ lock: memoryLock(), log: memoryTransactions() });

/** A shop in this process: its nodes share the memory, and each has cords of its own. */
export async function openMemoryShop(offer: Offer, nodeCount: number): Promise<Shop> {
  const drivers = sharedDrivers();
  const databases = memoryDatabases(offer);
  const names = Array.from({ length: nodeCount }, (_, i) => `node-${i + 1}`);
  const tills = names.map((name) => openTill(name, drivers, databases));
  const auditor = openAuditor({
    ...drivers,
    namespace: NAMESPACE,
    skus: offer.products.map(({ sku }) => sku),
  });
  const readRemains = async () => ({
    locks: await auditor.locks(),
    prepared: await preparedIn(databases),
    inDoubt: await auditor.inDoubt(),
  });
  return {
    nodes: tills.map((till, i) => localNode(names[i] ?? '', TILLS, till)),
    surroundings: [`${nodeCount} nodes in this process, with everything in memory`],
    guarantees: (await tills[0]?.guarantees()) ?? [],
    readRemains,
    readBooks: async () => ({ ...readMemory(databases), ...(await readRemains()) }),
    tamper: async (what) =>
      what === 'lock'
        ? auditor.holdLock(offer.products[0]?.sku ?? '')
        : tamperMemory(databases, what),
    async [Symbol.asyncDispose]() {
      await Promise.all([...tills, auditor].map((opened) => opened.close()));
    },
  };
}

function openTill(nodeId: string, drivers: SharedDrivers, databases: MemoryDatabases): Till {
  const stores = memoryStores(databases);
  const lock = createLock({ driver: drivers.lock, nodeId });
  const coordinator = createTransactionCoordinator({
    log: drivers.log,
    nodeId,
    namespace: NAMESPACE,
    participants: stores.participants,
  });
  const caches = openCaches({ tiers: [], settings: [] });
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
    },
  };
}

async function preparedIn({ stock, payments, orders }: MemoryDatabases) {
  const found = await Promise.all(
    [stock, payments, orders].map(async (store) => {
      const branches = await store.recover();
      return branches.map(({ branchId }) => ({ store: store.name, branchId }));
    }),
  );
  return found.flat();
}
