// The cache in ZooKeeper on an ensemble of three servers, of which one lags behind the others.

import assert from 'node:assert/strict';
import { type Cache, type CacheConsistency, createCache } from 'tricord';
import { zookeeper, zookeeperCache } from 'tricord/zookeeper';
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import { until } from '../integration/zookeeper-stage.js';
import { measured } from '../servers/shared.js';
import { startZookeeperEnsemble, type ZookeeperEnsemble } from '../servers/zookeeper-ensemble.js';

const TIMEOUT_MS = 8_000;

interface Node extends AsyncDisposable {
  readonly cache: Cache<number>;
}

async function openNode(servers: string, consistency: CacheConsistency): Promise<Node> {
  const session = zookeeper({ servers, sessionTimeoutMs: 15_000 });
  await session.ready();
  const cache = createCache<number>({
    name: 'lagging',
    tiers: [zookeeperCache({ session })],
    ttlMs: 600_000,
    hardTimeoutMs: TIMEOUT_MS,
    timeoutMs: TIMEOUT_MS,
    consistency,
  });
  return {
    cache,
    async [Symbol.asyncDispose]() {
      await cache.close({ drainMs: 0 });
      await session.close();
    },
  };
}

describe('a cache on a server that lags behind its ensemble [zookeeper]', () => {
  let ensemble: ZookeeperEnsemble;
  beforeAll(async () => {
    // A follower that hears nothing is given up after five ticks.
    const config = { maxSessionTimeout: '20000', syncLimit: '10' };
    ensemble = await startZookeeperEnsemble({ tickTimeMs: 500, config });
  });
  afterEach(() => ensemble.heal());
  afterAll(() => ensemble?.[Symbol.asyncDispose]());

  test('with `lease` a read waits until its server has caught up, and answers what was acknowledged', async () => {
    const [follower] = await ensemble.followers();
    assert.ok(follower);
    const others = ensemble.members.filter((member) => member !== follower);
    await using writer = await openNode(others.map(({ address }) => address).join(), 'lease');
    await using leased = await openNode(follower.address, 'lease');
    await using sequential = await openNode(follower.address, 'sequential');
    for (let turn = 1; turn <= 3; turn += 1) {
      const [before, after] = [turn * 2, turn * 2 + 1];
      await writer.cache.set('price', before);
      await until('both have read it', async () => {
        const seen = [await leased.cache.get('price'), await sequential.cache.get('price')];
        return seen.every((value) => value === before);
      });
      ensemble.lag(follower);
      await writer.cache.set('price', after);
      // What shows that the server does lag: nobody has told it.
      assert.equal(await sequential.cache.get('price'), before);
      const startedMs = performance.now();
      const reading = leased.cache.get('price');
      const loading = leased.cache.getOrLoad('price', () => -1);
      const first = await Promise.race([
        reading,
        new Promise((go) => setTimeout(go, 200, 'waits')),
      ]);
      assert.equal(first, 'waits');
      ensemble.catchUp(follower);
      assert.equal(await reading, after);
      assert.equal(await loading, after);
      const waitedMs = performance.now() - startedMs;
      measured(
        `zookeeper cache, lease: a server 200 ms behind was read in ${waitedMs.toFixed(0)} ms`,
      );
      await until('the other one sees it', async () => {
        const seen = await sequential.cache.get('price');
        assert.ok(seen === before || seen === after);
        return seen === after;
      });
    }
  });

  test('with `lease` reads through every server see each write that was acknowledged before', async () => {
    const nodes: Node[] = [];
    for (const { address } of ensemble.members) nodes.push(await openNode(address, 'lease'));
    for (let version = 100; version < 115; version += 1) {
      const [writer, ...readers] = [0, 1, 2].map((at) => nodes[(version + at) % 3] as Node);
      await writer?.cache.set('rate', version);
      const seen = await Promise.all(readers.map(({ cache }) => cache.get('rate')));
      assert.deepEqual(seen, [version, version]);
    }
    for (const node of nodes) await node[Symbol.asyncDispose]();
  });
});
