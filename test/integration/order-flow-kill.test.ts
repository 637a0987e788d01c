import { transactionId } from 'tricord';
import { describe, expect, test } from 'vitest';
import { killNode } from '../../examples/order-flow/kill.js';
import type { PreparedWatch, SeenBranch } from '../../examples/order-flow/prepared-watch.js';
import type { RemoteNode } from '../../examples/order-flow/remote-node.js';
import type { Sale } from '../../examples/order-flow/sale.js';

/** A branch of the transaction that a node makes for an order. */
function branchOf(node: string, orderId: string): SeenBranch {
  const incarnation = node.padEnd(11, '-');
  const origin = { namespace: 'sale', authority: 'test', incarnation, unique: 'u1' };
  const id = transactionId(orderId, node, origin);
  return { store: 'stock', branchId: `${id}.0`, transactionId: id };
}

const LOOKS_UNTIL_FINISHED = 3;

/** A sale whose nodes only pretend; `leaves` says whose branches outlive their node. */
function stage(leaves: (node: string) => boolean) {
  const killed: string[] = [];
  const steps: string[] = [];
  const nodes: RemoteNode[] = [];
  const looksLeft = new Map<string, number>();
  const addNode = async (): Promise<RemoteNode> => {
    const name = `node-${nodes.length + 1}`;
    looksLeft.set(name, Number.POSITIVE_INFINITY);
    const kill = async (): Promise<void> => {
      killed.push(name);
      looksLeft.set(name, leaves(name) ? LOOKS_UNTIL_FINISHED : 0);
    };
    const node = { name, pid: 100 + nodes.length, kill } as RemoteNode;
    nodes.push(node);
    return node;
  };
  const prepared = async (): Promise<SeenBranch[]> => {
    for (const [name, looks] of looksLeft) looksLeft.set(name, looks - 1);
    const holders = [...looksLeft].filter(([, looks]) => looks >= 0);
    return holders.map(([name]) => branchOf(name, `order-of-${name}`));
  };
  const sale = {
    soldCount: 1,
    isOver: false,
    signal: new AbortController().signal,
    ordersAt: ({ name }: RemoteNode) => (killed.includes(name) ? [] : [`order-of-${name}`]),
    pause: () => steps.push('pause'),
    resume: () => steps.push('resume'),
    join: ({ name }: RemoteNode) => steps.push(`join ${name}`),
  } as unknown as Sale;
  const watch = { prepared, isDisconnected: async () => true } as unknown as PreparedWatch;
  return { killed, steps, scene: { sale, nodes, watch, addNode, soldFirst: 1, note() {} } };
}

describe('the kill of the order flow', () => {
  test('follows the branches of the node that it killed until others have finished them', async () => {
    const { scene } = stage(() => true);
    await scene.addNode();
    const killing = await killNode(scene);
    expect(killing).toMatchObject({ node: 'node-1', pid: 100, attempts: 1 });
    expect(killing?.branches).toEqual([
      { ...branchOf('node-1', 'order-of-node-1'), inDoubtMs: expect.any(Number) },
    ]);
  });

  test('is repeated with another node when the first had left no branch', async () => {
    const { scene, killed, steps } = stage((node) => node === 'node-2');
    await scene.addNode();
    const killing = await killNode(scene);
    expect(killed).toEqual(['node-1', 'node-2']);
    expect(killing).toMatchObject({ node: 'node-2', attempts: 2 });
    expect(steps).toEqual(['pause', 'join node-2', 'resume']);
  });

  test('recognises the node of a branch by the transaction id, and leaves others alone', async () => {
    const { scene, killed } = stage(() => true);
    await scene.addNode();
    await scene.addNode();
    // Only the second works on the order of its branch; a name alone proves nothing.
    const ordersAt = ({ name }: RemoteNode) => (name === 'node-2' ? ['order-of-node-2'] : []);
    Object.assign(scene.sale, { ordersAt });
    await killNode(scene);
    expect(killed).toEqual(['node-2']);
  });
});
