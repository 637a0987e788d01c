// The cache in ZooKeeper: copies that watches keep, when connections and sessions end.

import assert from 'node:assert/strict';
import { type Cache, createCache, systemClock, systemRandom } from 'tricord';
import { type ZookeeperSession, zookeeper, zookeeperCache } from 'tricord/zookeeper';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { nodeCopies } from '../../src/drivers/zookeeper/cache-copies.js';
import { sweepOnce } from '../../src/drivers/zookeeper/cache-sweep.js';
import { CONNECTION } from '../../src/drivers/zookeeper/session.js';
import { killSession, sessionIdOf, until } from '../integration/zookeeper-stage.js';
import { startZookeeper, type ZookeeperHandle } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const SESSION_TIMEOUT_MS = 4_000;

interface Node extends AsyncDisposable {
  readonly cache: Cache<unknown>;
  readonly session: ZookeeperSession;
}

async function openNode(servers: string, name: string): Promise<Node> {
  const session = zookeeper({ servers, sessionTimeoutMs: SESSION_TIMEOUT_MS });
  await session.ready();
  const cache = createCache<unknown>({
    name,
    tiers: [zookeeperCache({ session })],
    ttlMs: 60_000,
    hardTimeoutMs: 1_000,
    timeoutMs: 2_000,
  });
  return {
    cache,
    session,
    async [Symbol.asyncDispose]() {
      await cache.close();
      await session.close();
    },
  };
}

describe('a cache on a server of its own [zookeeper]', () => {
  let server: ZookeeperHandle;
  beforeAll(async () => {
    server = await startZookeeper({ tickTimeMs: 200 });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test('a write of another process is seen as soon as the watch has told of it', async () => {
    await using one = await openNode(server.url, 'watched');
    await using two = await openNode(server.url, 'watched');
    for (let turn = 0; turn < 20; turn += 1) {
      await one.cache.set('price', turn);
      const startedMs = performance.now();
      await until('the other process sees it', async () => (await two.cache.get('price')) === turn);
      const tookMs = performance.now() - startedMs;
      assert.ok(tookMs < 1_000, `it took ${tookMs} ms`);
    }
  });

  test('a read of a known key asks nobody, and answers nothing while the server is away', async () => {
    await using proxy = await server.proxy();
    await using one = await openNode(proxy.url, 'asks-nobody');
    await one.cache.set('switch', 'on');
    assert.equal(await one.cache.get('switch'), 'on');
    proxy.freeze();
    const startedMs = performance.now();
    assert.equal(await one.cache.get('switch'), 'on');
    const tookMs = performance.now() - startedMs;
    measured(
      `zookeeper cache: a known key was read in ${tookMs.toFixed(1)} ms from a server that is frozen`,
    );
    assert.ok(tookMs < 500);
    await until(
      'the session is known to be disconnected',
      async () => (await one.cache.get('switch')) === undefined,
    );
    assert.equal(await one.cache.getOrLoad('switch', () => 'source'), 'source');
    proxy.thaw();
    await until('it is back', async () => (await one.cache.get('switch')) === 'on');
  });

  test('what was written while a process was cut off is seen by its first read after', async () => {
    await using proxy = await server.proxy();
    await using near = await openNode(proxy.url, 'cut-off');
    await using far = await openNode(server.url, 'cut-off');
    for (let turn = 0; turn < 5; turn += 1) {
      await far.cache.set('route', `old-${turn}`);
      await until('it has a copy', async () => (await near.cache.get('route')) === `old-${turn}`);
      proxy.refuse();
      proxy.cut();
      await far.cache.set('route', `new-${turn}`);
      await proxy.pass();
      let seen: unknown;
      await until('it is connected again', async () => {
        seen = await near.cache.get('route');
        return seen !== undefined;
      });
      assert.equal(seen, `new-${turn}`);
    }
  });

  test('a session that is killed loses the copies and nothing else', async () => {
    await using near = await openNode(server.url, 'killed');
    await using far = await openNode(server.url, 'killed');
    await near.cache.set('rate', 1);
    assert.equal(await near.cache.get('rate'), 1);
    await killSession(server, await sessionIdOf(near.session));
    await far.cache.set('rate', 2);
    let seen: unknown;
    await until('there is a session again', async () => {
      seen = await near.cache.get('rate');
      return seen !== undefined;
    });
    assert.equal(seen, 2);
  });

  test('a value that no znode holds is refused by name and size, and stops nobody', async () => {
    await using one = await openNode(server.url, 'large');
    const large = 'x'.repeat(1_100_000);
    await assert.rejects(one.cache.set('key', large), (error: Error & { cause?: unknown }) => {
      assert.match(String(error.cause), /1,?000,?000|1000000/);
      return true;
    });
    assert.equal(await one.cache.getOrLoad('key', () => large), large);
    assert.equal(await one.cache.getOrLoad('other', () => 'small'), 'small');
  });

  test('a write that others overtake again and again ends within its time, with a code', async () => {
    await using proxy = await server.proxy();
    await using near = await openNode(proxy.url, 'overtaken');
    await using far = await openNode(server.url, 'overtaken');
    const node = { name: 'overtaken', clock: systemClock, random: systemRandom };
    const tier = zookeeperCache({ session: near.session }).open(node);
    await far.cache.set('key', 0);
    // Between what it sees and what it writes the other process has always written.
    proxy.delay(200, 'to-client');
    let isDone = false;
    const overtaking = (async () => {
      for (let turn = 1; !isDone; turn += 1) await far.cache.set('key', turn);
    })();
    const startedMs = performance.now();
    const seized = tier.seize('key', systemRandom.token(22), 30_000, { timeoutMs: 1_500 });
    const outcome = await seized.catch((error) => error.code);
    const tookMs = performance.now() - startedMs;
    isDone = true;
    await overtaking;
    assert.equal(outcome, 'RESULT_UNKNOWN');
    await proxy.pass();
    measured(`zookeeper cache: overtaken for ${tookMs.toFixed(0)} ms (bound 1500 + 500)`);
    assert.ok(tookMs < 2_000, `it took ${tookMs} ms`);
    await near.cache.set('key', -1);
    assert.equal(await far.cache.get('key', { consistency: 'linearizable' }), -1);
    await tier.close();
  });

  test('what was removed long ago is swept, and what lives is left', async () => {
    await using one = await openNode(server.url, 'swept');
    await one.cache.set('lives', 'value');
    await one.cache.set('removed', 'value');
    await one.cache.delete('removed');
    const connection = one.session[CONNECTION];
    const base = `${connection.root}/caches/swept`;
    const live = await connection.current('look');
    const names = async (): Promise<readonly string[]> => {
      const listed = await live.ask.children(base);
      return listed.ok ? listed.value.names.toSorted() : [];
    };
    assert.deepEqual(await names(), ['generation', 'k-lives', 'k-removed']);
    const store = (aheadMs: number) => ({
      base,
      copies: nodeCopies(10),
      encoding: 'utf8' as const,
      connection: { ...connection, serverTimeMs: async () => Date.now() + aheadMs },
    });
    assert.equal(await sweepOnce(store(0)), 0);
    assert.equal(await sweepOnce(store(3_601_000)), 1);
    assert.deepEqual(await names(), ['generation', 'k-lives']);
    assert.equal(await one.cache.get('lives'), 'value');
  });
});
