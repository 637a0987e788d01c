// Locks on ZooKeeper when the session is killed, the server frozen or restarted, replies are lost.

import assert from 'node:assert/strict';
import { lockId } from 'tricord';
import { zookeeperLock } from 'tricord/zookeeper';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { elapsedMs, systemClock } from '../../src/core/clock.js';
import { systemRandom } from '../../src/core/random.js';
import { CONNECTION } from '../../src/drivers/zookeeper/session.js';
import { lockNode } from '../../src/lock/node.js';
import {
  aborted,
  killSession,
  openLock,
  sessionIdOf,
  until,
} from '../integration/zookeeper-stage.js';
import { startZookeeper, type ZookeeperHandle } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const SESSION_TIMEOUT_MS = 2_000;
const since = (startedMs: number): number => performance.now() - startedMs;

describe('a lock on a server of its own [zookeeper]', () => {
  let server: ZookeeperHandle;
  beforeAll(async () => {
    server = await startZookeeper({ tickTimeMs: 200 });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());
  const options = () => ({ servers: server.url, sessionTimeoutMs: SESSION_TIMEOUT_MS });

  test('a killed session aborts its leases, and the next acquire works', async () => {
    await using one = await openLock(options());
    const lease = await one.lock.acquire('killed', { ttlMs: 30_000 });
    const id = await sessionIdOf(one.session);
    const startedMs = performance.now();
    const { ended } = await one.session[CONNECTION].current('watch');
    const lost = aborted(lease.signal);
    const over = new Promise<void>((resolve) => ended.addEventListener('abort', () => resolve()));
    await killSession(server, id);
    await over;
    assert.equal(lease.signal.aborted, true, 'it is lost no later than its session is known over');
    await lost;
    measured(`killed session: lease.signal aborted ${since(startedMs).toFixed(0)} ms after`);
    assert.ok(since(startedMs) < SESSION_TIMEOUT_MS);
    assert.throws(() => lease.assertHeld(), { code: 'LOCK_LOST' });
    const againMs = performance.now();
    const again = await one.lock.acquire('killed', { waitMs: 5_000 });
    measured(`killed session: the next acquire took ${since(againMs).toFixed(0)} ms`);
    assert.ok(again.fencingToken > lease.fencingToken);
    assert.notEqual(await sessionIdOf(one.session), id);
    assert.equal(await again.release(), 'released');
  });

  test('a killed session of a waiter costs its place, and it contends again', async () => {
    await using holder = await openLock(options());
    await using waiter = await openLock(options());
    const lease = await holder.lock.acquire('waits');
    const waiting = waiter.lock.acquire('waits', { waitMs: 10_000 });
    await until('it waits', async () => (await holder.lock.inspect('waits')).waiters.length === 1);
    await killSession(server, await sessionIdOf(waiter.session));
    await until('it waits again', async () => {
      const { waiters } = await holder.lock.inspect('waits');
      return waiters.length === 1;
    });
    await lease.release();
    assert.equal(await (await waiting).release(), 'released');
  });

  test('a frozen zookeeper aborts lease.signal no later than the session time-out', async () => {
    await using one = await openLock(options());
    const lease = await one.lock.acquire('frozen', { ttlMs: 30_000 });
    const lost = aborted(lease.signal);
    // Whatever the server answered, it answered before this.
    const frozenMs = performance.now();
    await server.pause();
    try {
      await lost;
      const tookMs = since(frozenMs);
      measured(
        `frozen zookeeper: lease.signal aborted ${tookMs.toFixed(0)} ms after the last answer ` +
          `(bound ${SESSION_TIMEOUT_MS})`,
      );
      assert.ok(tookMs <= SESSION_TIMEOUT_MS, `${tookMs} ms`);
    } finally {
      await server.resume();
    }
    await using next = await one.lock.acquire('frozen', { waitMs: 8_000 });
    assert.ok(next.fencingToken > lease.fencingToken);
  });

  test('a cut connection whose create was forwarded completes, and leaves no orphan', async () => {
    await using proxy = await server.proxy();
    await using direct = await openLock(options());
    await using cut = await openLock({ ...options(), servers: proxy.url });
    const lost = proxy.cutAfterForward('-x1-');
    const startedMs = performance.now();
    const lease = await cut.lock.acquire('cut', { waitMs: 10_000 });
    measured(`cut connection: acquire with a lost reply took ${since(startedMs).toFixed(0)} ms`);
    await lost;
    assert.ok(
      since(startedMs) < SESSION_TIMEOUT_MS / 2,
      'it did not wait for the session time-out',
    );
    const { holders, waiters } = await direct.lock.inspect('cut');
    assert.deepEqual([holders.length, waiters.length], [1, 0]);
    assert.equal(await lease.release(), 'released');
    assert.deepEqual(await direct.lock.inspect('cut'), {
      resource: 'cut',
      holders: [],
      waiters: [],
    });
  });

  test('a cut connection whose delete was forwarded still tells released', async () => {
    await using proxy = await server.proxy();
    await using direct = await openLock(options());
    await using cut = await openLock({ ...options(), servers: proxy.url });
    const lease = await cut.lock.acquire('delete');
    const lost = proxy.cutAfterForward('-x1-');
    assert.equal(await lease.release(), 'released');
    await lost;
    await (await direct.lock.acquire('delete', { waitMs: 2_000 })).release();
  });

  test('an aborted acquire whose create reply was cut leaves nothing in line', async () => {
    await using proxy = await server.proxy();
    await using direct = await openLock(options());
    await using cut = await openLock({ ...options(), servers: proxy.url });
    const holder = await direct.lock.acquire('abort');
    const abort = new AbortController();
    const lost = proxy.cutAfterForward('-x1-').then(() => abort.abort(new Error('enough')));
    const waiting = cut.lock.acquire('abort', { waitMs: 10_000, signal: abort.signal });
    await assert.rejects(waiting, /enough/);
    await lost;
    await until('nobody waits', async () => {
      return (await direct.lock.inspect('abort')).waiters.length === 0;
    });
    await holder.release();
  });

  test('a renewal whose reply is late counts from its sending', async () => {
    await using proxy = await server.proxy();
    await using slow = await openLock({ ...options(), servers: proxy.url });
    const node = lockNode({ nodeId: 'slow', clock: systemClock, random: systemRandom });
    const backend = zookeeperLock({ session: slow.session }).open(node);
    const grant = await backend.acquire({
      ...{ resource: 'slow', owner: lockId('slow', 'slow'), mode: 'exclusive', permits: 1 },
      ...{ capacity: 1, ttlMs: 30_000, tokens: 1, wait: true },
      signal: new AbortController().signal,
    });
    assert.ok(grant);
    proxy.delay(300, 'to-client');
    const [reply] = await backend.renew([grant], [30_000]);
    assert.ok(reply?.state === 'held');
    assert.ok(elapsedMs(systemClock, reply.validity.since) >= 300);
    assert.ok(reply.validity.forMs <= SESSION_TIMEOUT_MS);
    await proxy.pass();
    await backend.release(grant);
    await backend.close();
  });

  test('a lease outlives a quick restart of the server', async () => {
    await using one = await openLock({ ...options(), sessionTimeoutMs: 4_000 });
    const lease = await one.lock.acquire('restart', { ttlMs: 30_000 });
    const startedMs = performance.now();
    await server.kill();
    await server.restart();
    const downMs = since(startedMs);
    const next = await one.lock.acquire('other', { waitMs: 10_000 });
    measured(
      `restart: down ${downMs.toFixed(0)} ms, the next acquire ${since(startedMs).toFixed(0)} ms after the kill`,
    );
    await next.release();
    // Whether it survived is a matter of how long the restart took, and both sides agree.
    const { holders } = await one.lock.inspect('restart');
    assert.equal(holders.length === 1, lease.isHeld);
    assert.equal(await lease.release(), holders.length === 1 ? 'released' : 'lost');
  });

  test('after a stall of the event loop the first assertHeld refuses', async () => {
    await using one = await openLock(options());
    const lease = await one.lock.acquire('stall', { ttlMs: 30_000 });
    const untilMs = performance.now() + SESSION_TIMEOUT_MS + 100;
    while (performance.now() < untilMs);
    // No timer had a chance to run before this.
    assert.throws(() => lease.assertHeld(), { code: 'LOCK_LOST' });
    assert.equal(lease.signal.aborted, true);
  });
});
