import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
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
import { quiesce, remainsOf } from './remains.js';
import type { ServiceSetup } from './service.js';
import { type ServiceNode, startService } from './service-node.js';
import { openVotes } from './voting-site.js';

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
/** Until a killed process is there again. */
const BACK_AFTER_MS = 2_000;

/** Holds one sale over four services, from its opening to the audit; answers whether that was clean. */
export async function holdServicesSale(
  { shop: options, protocol, kill }: ServicesOptions,
  signal: AbortSignal,
): Promise<boolean> {
  const offer = makeOffer(options);
  const { buyers, products, units, seed } = options;
  say(
    `Sale over four services, ${protocol}: ${buyers} buyers, ${products} products of ${units}, --seed ${seed}`,
  );
  await using cleanup = new Cleanup();
  const { coordination, databases, surroundings } = await openServers(options, cleanup);
  for (const line of surroundings) say(`  ${line}`);
  await fillDatabases(databases, offer);
  const watch = await watchPrepared(databases);
  cleanup.add(() => watch[Symbol.asyncDispose]());
  const namespace = `sale-${randomBytes(2).toString('hex')}`;
  const votes = await openVotes(protocol, databases, cleanup);
  const { products: listed } = offer;
  const facts = { namespace, coordination, databases, protocol, votes, products: listed };
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
      : killInDoubt(
          victim,
          watch,
          () => told.length >= buyers * KILL_AFTER,
          () => startAgain(victim, facts, cleanup, signal),
          signal,
        );
  const [wasKilled] = await Promise.all([killing, serveAll(offer, ordering, told)]);
  const tookMs = performance.now() - startedAt;

  const cords = openCords(coordination, namespace);
  cleanup.add(() => cords.close());
  const remains = remainsOf(cords.log, { namespace, protocol }, watch);
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

/**
 * Any other process ends what a dead one left in two-phase commit. In three-phase commit a site is what
 * its name and its votes are: it comes back under its name, and takes up what it had voted for.
 */
async function startAgain(
  { name }: ServiceNode,
  facts: Omit<ServiceSetup, 'role' | 'node'>,
  cleanup: Cleanup,
  signal: AbortSignal,
): Promise<void> {
  if (facts.protocol === 'two-phase') return;
  await sleep(BACK_AFTER_MS, undefined, { signal });
  const role = PROCESSES.find(([each]) => name.startsWith(each))?.[0] ?? 'order';
  const node = startService({ ...facts, role, node: name }, signal);
  cleanup.add(() => node.close());
  await node.opened;
  say(`  ${name} is back (process ${node.pid})`);
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
  onKilled: () => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> {
  const since = performance.now();
  while (performance.now() - since < KILL_WITHIN_MS) {
    if (isTime() && (await watch.prepared()).length > 0) {
      await victim.kill();
      const left = (await watch.prepared()).length;
      say(`  killed ${victim.name} (process ${victim.pid}); ${left} branches are prepared`);
      await onKilled();
      return true;
    }
    await sleep(2, undefined, { signal });
  }
  return false;
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);
