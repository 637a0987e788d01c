// Three-phase commit by processes, each with a PostgreSQL database of its own: whatever process or
// server fails at whatever step, the sites that are left agree, and nothing stays behind.

import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { eventually } from '../integration/postgres-stage.js';
import { startZookeeper } from '../servers/provider.js';
import { type CuttingProxy, createProxy } from '../servers/proxy.js';
import { measured } from '../servers/shared.js';
import {
  type NodeProcess,
  SITES,
  type ThreePhaseNodes,
  threePhaseNodes,
} from './three-phase-nodes.js';

const OTHERS = ['stock', 'payment'] as const;
/** `THREE_PHASE_ALL=1` plays every step; without it, those between which something changes. */
const isAll = process.env.THREE_PHASE_ALL !== undefined;
const played = <Case>(cases: readonly Case[], short: readonly number[]): readonly Case[] =>
  isAll ? cases : short.flatMap((index) => cases.slice(index, index + 1));
const RECORDS_GONE_MS = 60_000;
let lastId = 0;
const nextId = (): number => {
  lastId += 1;
  return lastId;
};

describe('sites that talk HTTP [postgresql] [redis]', () => {
  let nodes: ThreePhaseNodes;
  beforeAll(async () => {
    nodes = await threePhaseNodes('http');
    await Promise.all(OTHERS.map((name) => nodes.start(name)));
  });
  afterAll(() => nodes?.[Symbol.asyncDispose]());

  const steps = [
    ['after write Q', 'nowhere'],
    ['sent can', 'either'],
    ['before write W', 'nowhere'],
    ['after write W', 'either'],
    ['before write PC', 'nowhere'],
    ['after write PC', 'nowhere'],
    ['sent try', 'either'],
    ['before write C', 'everywhere'],
    ['after write C', 'everywhere'],
    ['sent end', 'everywhere'],
  ] as const;
  test.each(played(steps, [1, 5, 6, 7]))(
    'the coordinator killed %s: the others end it %s, and it agrees later',
    async (point, end) => {
      const id = nextId();
      const coordinator = await nodes.start('orders', { point });
      coordinator.tell(`place ${id}`);
      assert.equal(await coordinator.exited, 'SIGKILL');
      const since = performance.now();
      const found = await nodes.agreed(id, OTHERS);
      measured(
        `killed ${point}: in ${found.length} of 2 after ${(performance.now() - since) | 0} ms`,
      );
      if (end === 'nowhere') assert.deepEqual(found, []);
      if (end === 'everywhere') assert.deepEqual(found, OTHERS);
      const again = await nodes.start('orders');
      const all = await nodes.agreed(id, SITES);
      assert.equal(all.length > 0, found.length > 0);
      again.child.kill('SIGKILL');
      await again.exited;
    },
  );

  test('a coordinator and the store killed together block nobody', async () => {
    const id = nextId();
    const coordinator = await nodes.start('orders', { point: 'sent try', signal: 'SIGSTOP' });
    coordinator.tell(`place ${id}`);
    await eventually(async () => (await nodes.prepared()).length === 3, 10_000);
    await nodes.redis.kill();
    coordinator.child.kill('SIGKILL');
    await nodes.agreed(id, OTHERS);
    await nodes.redis.restart();
    const again = await nodes.start('orders');
    await nodes.agreed(id, SITES);
    assert.equal(await again.ask(`place ${nextId()}`), 'committed');
    again.child.kill('SIGKILL');
    await again.exited;
  });

  test('a frozen coordinator, taken for dead, agrees when it wakes', async () => {
    const id = nextId();
    const coordinator = await nodes.start('orders', { point: 'sent can', signal: 'SIGSTOP' });
    coordinator.tell(`place ${id}`);
    // Before that the others hold nothing, and seem to agree.
    await eventually(async () => {
      const open = await nodes.prepared();
      return OTHERS.every((name) => open.includes(name));
    }, 10_000);
    await nodes.agreed(id, OTHERS);
    coordinator.child.kill('SIGCONT');
    const all = await nodes.agreed(id, SITES);
    const answer = await coordinator.line();
    assert.notEqual(answer, all.length > 0 ? 'aborted' : 'committed');
    coordinator.child.kill('SIGKILL');
    await coordinator.exited;
  });

  test('after all of that nothing is prepared and no record is left', async () => {
    const coordinator = await nodes.start('orders');
    assert.equal(await coordinator.ask(`place ${nextId()}`), 'committed');
    await eventually(async () => (await nodes.recordCount()) === 0, RECORDS_GONE_MS);
    assert.deepEqual(await nodes.prepared(), []);
  }, 90_000);
});

describe('a participant that fails [postgresql] [redis]', () => {
  let nodes: ThreePhaseNodes;
  let coordinator: NodeProcess;
  beforeAll(async () => {
    nodes = await threePhaseNodes('http');
    const starting = [nodes.start('orders'), nodes.start('payment')] as const;
    coordinator = (await Promise.all(starting))[0];
  });
  afterAll(() => nodes?.[Symbol.asyncDispose]());

  const steps = ['before write W', 'after write W', 'after write PC', 'before write C'] as const;
  test.each(played(steps, [1, 3]))(
    'killed %s: the others end it, and it agrees when it is back',
    async (point) => {
      const id = nextId();
      const stock = await nodes.start('stock', { point });
      const outcome = coordinator.ask(`place ${id}`);
      assert.equal(await stock.exited, 'SIGKILL');
      const found = await nodes.agreed(id, ['orders', 'payment']);
      const again = await nodes.start('stock');
      const all = await nodes.agreed(id, SITES);
      assert.equal(all.length > 0, found.length > 0);
      assert.notEqual(await outcome, all.length > 0 ? 'aborted' : 'committed');
      again.child.kill('SIGKILL');
      await again.exited;
    },
  );

  test('cut off from the others after its yes, it waits; when it is back, it agrees', async () => {
    const id = nextId();
    const stock = await nodes.start('stock', { point: 'after write W', signal: 'SIGSTOP' });
    const outcome = coordinator.ask(`place ${id}`);
    await stock.stopped();
    await nodes.agreed(id, ['orders', 'payment']);
    assert.ok((await nodes.prepared()).includes('stock'), 'it must not decide alone');
    stock.tell('cut on');
    stock.child.kill('SIGCONT');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    assert.ok((await nodes.prepared()).includes('stock'), 'it must not decide alone');
    stock.tell('cut off');
    const all = await nodes.agreed(id, SITES);
    assert.notEqual(await outcome, all.length > 0 ? 'aborted' : 'committed');
  });
});

test('partitioned by cutting proxies after its yes, a participant waits, and the majority does not [postgresql] [redis]', async () => {
  await using nodes = await threePhaseNodes('http');
  const proxies = new Map<string, CuttingProxy>();
  for (const name of SITES) {
    const { hostname: host, port } = new URL(nodes.addresses[name] ?? '');
    proxies.set(name, await createProxy({ host, port: Number(port) }));
  }
  const through = (name: string) => ({ [name]: `http://${proxies.get(name)?.address}/` });
  /** Everybody reaches stock through a proxy, and stock everybody else. */
  const outside = { addresses: { ...nodes.addresses, ...through('stock') } };
  const inside = { addresses: { ...nodes.addresses, ...through('orders'), ...through('payment') } };
  const coordinator = await nodes.start('orders', outside);
  await nodes.start('payment', outside);
  const point = { point: 'after write W', signal: 'SIGSTOP' } as const;
  const stock = await nodes.start('stock', { ...inside, ...point });
  const id = nextId();
  const outcome = coordinator.ask(`place ${id}`);
  await stock.stopped();
  for (const proxy of proxies.values()) {
    proxy.refuse();
    proxy.cut();
  }
  stock.child.kill('SIGCONT');
  await nodes.agreed(id, ['orders', 'payment']);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  assert.ok((await nodes.prepared()).includes('stock'), 'it must not decide alone');
  for (const proxy of proxies.values()) await proxy.pass();
  const all = await nodes.agreed(id, SITES);
  assert.notEqual(await outcome, all.length > 0 ? 'aborted' : 'committed');
  await eventually(async () => (await nodes.recordCount()) === 0, RECORDS_GONE_MS);
  for (const proxy of proxies.values()) await proxy.close();
}, 90_000);

test('where crashes are the only faults, an elected backup ends it alone [postgresql] [redis]', async () => {
  await using nodes = await threePhaseNodes('http');
  const isCrashStop = true;
  const [, payment] = await Promise.all(OTHERS.map((name) => nodes.start(name, { isCrashStop })));
  const id = nextId();
  const coordinator = await nodes.start('orders', {
    ...{ isCrashStop, point: 'sent try', signal: 'SIGSTOP' },
  });
  coordinator.tell(`place ${id}`);
  await eventually(async () => (await nodes.prepared()).length === SITES.length, 10_000);
  // One of three is left: a quorum would wait for ever.
  coordinator.child.kill('SIGKILL');
  payment?.child.kill('SIGKILL');
  await eventually(async () => !(await nodes.prepared()).includes('stock'), 20_000);
}, 60_000);

for (const transport of ['redis', 'zookeeper'] as const) {
  test(`sites that talk over ${transport} end what a killed coordinator left [${transport}]`, async () => {
    const zookeeper = transport === 'zookeeper' ? await startZookeeper() : undefined;
    await using nodes = await threePhaseNodes(transport, zookeeper?.url);
    await Promise.all(OTHERS.map((name) => nodes.start(name)));
    for (const point of played(['sent try', 'sent can', 'after write C'], [0])) {
      const id = nextId();
      const coordinator = await nodes.start('orders', { point });
      coordinator.tell(`place ${id}`);
      assert.equal(await coordinator.exited, 'SIGKILL');
      await nodes.agreed(id, OTHERS);
      const again = await nodes.start('orders');
      await nodes.agreed(id, SITES);
      again.child.kill('SIGKILL');
      await again.exited;
    }
    await zookeeper?.[Symbol.asyncDispose]();
  });
}
