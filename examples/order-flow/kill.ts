import { setTimeout as sleep } from 'node:timers/promises';
import { parseTransactionId, transactionId } from 'tricord';
import type { PreparedWatch, SeenBranch } from './prepared-watch.js';
import type { RemoteNode } from './remote-node.js';
import type { Sale } from './sale.js';

/** What a killed node left behind, and what became of it. */
export interface Killing {
  readonly node: string;
  readonly pid: number;
  readonly attempts: number;
  readonly branches: readonly LeftBranch[];
}

export interface LeftBranch extends SeenBranch {
  /** From the kill until another node had finished it; undefined when nobody did in time. */
  readonly inDoubtMs: number | undefined;
}

export interface KillScene {
  readonly sale: Sale;
  readonly nodes: RemoteNode[];
  readonly watch: PreparedWatch;
  /** Starts another node and adds it to `nodes`. */
  readonly addNode: () => Promise<RemoteNode>;
  /** The sale must be in full swing: this many units are sold first. */
  readonly soldFirst: number;
  readonly note: (text: string) => void;
}

const ATTEMPTS_MAX = 10;
const LOOK_EVERY_MS = 10;
const DISCONNECTED_WITHIN_MS = 1_000;
const FINISHED_WITHIN_MS = 60_000;

/**
 * Kills a node with SIGKILL while it has prepared branches, and follows what it left. A kill that
 * found none is repeated. Undefined when the sale was over before a kill found any.
 */
export async function killNode(scene: KillScene): Promise<Killing | undefined> {
  const { sale, watch, note } = scene;
  while (sale.soldCount < scene.soldFirst && !sale.isOver) {
    await sleep(LOOK_EVERY_MS, undefined, { signal: sale.signal });
  }
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const victim = await chooseVictim(scene);
    if (victim === undefined) return undefined;
    const killedAt = performance.now();
    await victim.node.kill();
    // What it had sent is still worked on; only when its connections are gone is this its estate.
    await until(() => watch.isDisconnected(victim.node.name), DISCONNECTED_WITHIN_MS);
    const left = (await watch.prepared()).filter((branch) => {
      return incarnationOf(branch) === victim.incarnation;
    });
    const { name, pid } = victim.node;
    note(`SIGKILL to ${name} (process ${pid}): ${left.length} prepared branches are left`);
    if (left.length > 0) {
      const branches = await follow(left, watch, killedAt);
      return { node: name, pid, attempts: attempt, branches };
    }
    // Nobody buys meanwhile, so that there is something left to sell for the next attempt.
    sale.pause();
    sale.join(await scene.addNode());
    sale.resume();
  }
  return undefined;
}

/** Waits until a node has prepared branches. */
async function chooseVictim({ sale, nodes, watch }: KillScene) {
  while (!sale.isOver) {
    sale.signal.throwIfAborted();
    for (const branch of await watch.prepared()) {
      const node = nodes.find((candidate) => isOf(branch, candidate, sale));
      if (node !== undefined) return { node, incarnation: incarnationOf(branch) };
    }
  }
  return undefined;
}

/** A transaction's id is a function of its resource, its node and its origin: so it can be recognised. */
function isOf({ transactionId: id }: SeenBranch, node: RemoteNode, sale: Sale): boolean {
  const origin = parseTransactionId(id);
  if (origin === undefined) return false;
  return sale.ordersAt(node).some((orderId) => transactionId(orderId, node.name, origin) === id);
}

async function follow(
  left: readonly SeenBranch[],
  watch: PreparedWatch,
  killedAt: number,
): Promise<LeftBranch[]> {
  const finished = new Map<string, number>();
  await until(async () => {
    const still = new Set((await watch.prepared()).map(({ branchId }) => branchId));
    for (const { branchId } of left) {
      if (!still.has(branchId) && !finished.has(branchId)) {
        finished.set(branchId, performance.now() - killedAt);
      }
    }
    return finished.size === left.length;
  }, FINISHED_WITHIN_MS);
  return left.map((branch) => ({ ...branch, inDoubtMs: finished.get(branch.branchId) }));
}

/** Asks until the answer is yes, or for so long. */
async function until(condition: () => Promise<boolean>, withinMs: number): Promise<void> {
  const startedAt = performance.now();
  while (!(await condition()) && performance.now() - startedAt < withinMs)
    await sleep(LOOK_EVERY_MS);
}

const incarnationOf = (branch: SeenBranch): string | undefined =>
  parseTransactionId(branch.transactionId)?.incarnation;
