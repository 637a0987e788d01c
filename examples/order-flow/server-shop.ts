import { randomBytes } from 'node:crypto';
import { openAuditor } from './auditor.js';
import { Cleanup } from './cleanup.js';
import { openCords } from './cords.js';
import { killNode } from './kill.js';
import type { Offer } from './offer.js';
import type { Options } from './options.js';
import { fillDatabases, readDatabases, tamperDatabases } from './postgres-books.js';
import { watchPrepared } from './prepared-watch.js';
import { type RemoteNode, startNode } from './remote-node.js';
import { openServers } from './servers.js';
import type { Shop } from './shop.js';

const TILLS = 4;
/** A till holds a connection to each store; the page is read beside them. */
const CONNECTIONS_MAX = TILLS + 2;

/** The part of the goods that is sold before a node is killed. */
const KILL_AFTER = 0.1;

/** A shop whose nodes are processes, over real servers. */
export async function openServerShop(
  options: Options,
  offer: Offer,
  signal: AbortSignal,
): Promise<Shop> {
  const cleanup = new Cleanup();
  try {
    return await open(options, offer, signal, cleanup);
  } catch (error) {
    await cleanup[Symbol.asyncDispose]();
    throw error;
  }
}

async function open(
  options: Options,
  offer: Offer,
  signal: AbortSignal,
  cleanup: Cleanup,
): Promise<Shop> {
  const { coordination, databases, surroundings } = await openServers(options, cleanup);
  await fillDatabases(databases, offer);
  const watch = await watchPrepared(databases);
  cleanup.add(() => watch[Symbol.asyncDispose]());

  const namespace = `sale-${randomBytes(2).toString('hex')}`;
  const nodes: RemoteNode[] = [];
  let nodeCount = 0;
  const addNode = async (): Promise<RemoteNode> => {
    nodeCount += 1;
    const node = `node-${nodeCount}`;
    const setup = { node, namespace, coordination, databases, connectionsMax: CONNECTIONS_MAX };
    const started = startNode(setup, TILLS, signal);
    cleanup.add(() => started.close());
    await started.opened;
    nodes.push(started);
    return started;
  };
  await Promise.all(Array.from({ length: options.nodes }, addNode));

  const cords = openCords(coordination, namespace);
  cleanup.add(() => cords.close());
  const offered = options.products * options.units;
  const soldFirst = Math.ceil(offered * KILL_AFTER);
  const skus = offer.products.map(({ sku }) => sku);
  const auditor = openAuditor({ ...cords, namespace, skus });
  cleanup.add(() => auditor.close());
  const readRemains = async () => ({
    locks: await auditor.locks(),
    prepared: await watch.prepared(),
    inDoubt: await auditor.inDoubt(),
  });
  return {
    nodes,
    surroundings: [
      `${options.nodes} nodes, each a process of its own`,
      ...surroundings,
      `everything of this sale is in the namespace ${namespace}`,
      cacheNote(options),
    ],
    guarantees: nodes[0]?.guarantees ?? [],
    readRemains,
    readBooks: async () => ({ ...(await readDatabases(databases)), ...(await readRemains()) }),
    killNode: (sale, note) => killNode({ sale, nodes, watch, addNode, note, soldFirst }),
    tamper: (what) =>
      what === 'lock' ? auditor.holdLock(skus[0] ?? '') : tamperDatabases(databases, what),
    [Symbol.asyncDispose]: () => cleanup[Symbol.asyncDispose](),
  };
}

const cacheNote = ({ drivers }: Options): string =>
  drivers === 'redis'
    ? 'product pages and stock cached in the memory of each node, then in Redis'
    : 'product pages and stock cached in the memory of each node, settings in ZooKeeper';
