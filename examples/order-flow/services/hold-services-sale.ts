import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, systemRandom } from 'tricord';
import { audit } from '../audit.js';
import type { Told } from '../books.js';
import { Cleanup } from '../cleanup.js';
import { openCords } from '../cords.js';
import { NodeDied } from '../node.js';
import { type Buyer, makeOffer, type Offer } from '../offer.js';
import { fillDatabases, readDatabases } from '../postgres-books.js';
import { type PreparedWatch, watchPrepared } from '../prepared-watch.js';
import { violationLines } from '../report.js';
import { openServers } from '../servers.js';
import type { ServicesOptions } from './options.js';
import type { ServiceSetup } from './service.js';
import { type ServiceNode, startService } from './service-node.js';

const PROCESSES = [
  ['catalog', 1],
  ['stock', 2],
  ['payment', 2],
  ['order', 2],
] as const;
/** Buyers that each order process serves at the same time. */
const TILLS = 4;
const KILL_AFTER = 0.2;
const KILL_WITHIN_MS = 30_000;
const QUIESCE_WITHIN_MS = 30_000;
const QUIESCE_LOOK_MS = 100;

/** Holds one sale over four services, from its opening to the audit; answers whether that was clean. */
export async function holdServicesSale(
  { shop: options, kill }: ServicesOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const offer = makeOffer(options);
  const { buyers, products, units, seed } = options;
  say(
    `Sale over four services: ${buyers} buyers, ${products} products of ${units}, --seed ${seed}`,
  );
  await using cleanup = new Cleanup();
  const { coordination, databases, surroundings } = await openServers(options, cleanup);
  for (const line of surroundings) say(`  ${line}`);
  await fillDatabases(databases, offer);
  const watch = await watchPrepared(databases);
  cleanup.add(() => watch[Symbol.asyncDispose]());
  const namespace = `sale-${randomBytes(2).toString('hex')}`;
  const facts = { namespace, coordination, databases, products: offer.products };
  const nodes = await startAll(facts, cleanup, signal);
  say(`  ${nodes.length} processes: catalog, two of stock, two of payment, two of order`);

  const startedAt = performance.now();
  const told: Told[] = [];
  const ordering = nodes.filter(({ name }) => name.startsWith('order'));
  const victim = nodes.find(
    ({ name }) => name === (kill === 'coordinator' ? 'order-1' : 'stock-1'),
  );
  const killing =
    kill === 'none' || victim === undefined
      ? true
      : killInDoubt(victim, watch, () => told.length >= buyers * KILL_AFTER, signal);
  await serveAll(offer, ordering, told);
  const wasKilled = await killing;
  const tookMs = performance.now() - startedAt;

  const cords = openCords(coordination, namespace);
  cleanup.add(() => cords.close());
  const remains = remainsOf(cords.log, namespace, watch);
  cleanup.add(() => remains.close());
  await quiesce(remains.read, signal);
  const books = { ...(await readDatabases(databases)), ...(await remains.read()) };
  const found = audit(offer, books, told);
  const sold = told.filter(({ answer }) => answer === 'sold').length;
  say(`  ${sold} sold, ${told.length - sold} refused, in ${(tookMs / 1_000).toFixed(1)} s`);
  for (const line of violationLines(found.violations)) say(line);
  if (!wasKilled) say('No kill found a prepared branch: try again, with more --buyers.');
  const isClean = found.violations.length === 0;
  say(
    isClean
      ? `The audit is clean: sold ${found.soldUnits}, oversold ${found.oversoldUnits}; stock, payments and orders agree, and nothing is left over.`
      : `The audit found ${found.violations.length} violations.`,
  );
  return isClean && wasKilled;
}

async function startAll(
  facts: Omit<ServiceSetup, 'role' | 'node'>,
  cleanup: Cleanup,
  signal: AbortSignal,
): Promise<readonly ServiceNode[]> {
  const nodes = PROCESSES.flatMap(([role, processes]) =>
    Array.from({ length: processes }, (_, index) => {
      const node = startService({ ...facts, role, node: `${role}-${index + 1}` }, signal);
      cleanup.add(() => node.close());
      return node;
    }),
  );
  await Promise.all(nodes.map(({ opened }) => opened));
  return nodes;
}

/** Every buyer asks until an answer comes; who stood at a process that died asks at another. */
async function serveAll(offer: Offer, nodes: readonly ServiceNode[], told: Told[]): Promise<void> {
  const queue: Buyer[] = [...offer.buyers];
  const till = async (node: ServiceNode): Promise<void> => {
    for (let buyer = queue.shift(); buyer !== undefined; buyer = queue.shift()) {
      try {
        told.push({ orderId: buyer.orderId, answer: await node.serve(buyer) });
      } catch (error) {
        if (!(error instanceof NodeDied)) throw error;
        queue.unshift(buyer);
        return;
      }
    }
  };
  const tillsOf = (each: readonly ServiceNode[]): Promise<unknown> =>
    Promise.all(each.flatMap((node) => Array.from({ length: TILLS }, () => till(node))));
  await tillsOf(nodes);
  // Those of the last process that died.
  await tillsOf(nodes.filter(({ isAlive }) => isAlive));
}

/** Kills a process as soon as some transaction has prepared branches. */
async function killInDoubt(
  victim: ServiceNode,
  watch: PreparedWatch,
  isTime: () => boolean,
  signal: AbortSignal,
): Promise<boolean> {
  const since = performance.now();
  while (performance.now() - since < KILL_WITHIN_MS) {
    if (isTime() && (await watch.prepared()).length > 0) {
      await victim.kill();
      const left = (await watch.prepared()).length;
      say(`  killed ${victim.name} (process ${victim.pid}); ${left} branches are prepared`);
      return true;
    }
    await sleep(2, undefined, { signal });
  }
  return false;
}

type Log = ReturnType<typeof openCords>['log'];

/** What is left over: prepared branches, decisions without acknowledgement, calls. */
function remainsOf(log: Log, namespace: string, watch: PreparedWatch) {
  const node = { nodeId: 'auditor', namespace, clock: systemClock, random: systemRandom };
  const session = log.open(node);
  const calls = log.openCalls?.(node);
  return {
    async read() {
      const statuses = await session.incarnations();
      const open = statuses.filter(({ unacknowledgedCount }) => unacknowledgedCount > 0);
      const services = ['catalog', 'stock', 'payment'];
      const left = await Promise.all(
        services.map(async (name) => (await calls?.list(name, 100)) ?? []),
      );
      return {
        locks: [],
        prepared: await watch.prepared(),
        inDoubt: [
          ...open.map(({ incarnation }) => `of ${incarnation}`),
          ...left.flat().map(({ callId, state }) => `${callId} is ${state}`),
        ],
      };
    },
    async close() {
      await Promise.all([session.close(), calls?.close()]);
    },
  };
}

async function quiesce(
  read: ReturnType<typeof remainsOf>['read'],
  signal: AbortSignal,
): Promise<void> {
  const startedAt = performance.now();
  while (performance.now() - startedAt < QUIESCE_WITHIN_MS) {
    const { prepared, inDoubt } = await read();
    if (prepared.length + inDoubt.length === 0) return;
    await sleep(QUIESCE_LOOK_MS, undefined, { signal });
  }
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
