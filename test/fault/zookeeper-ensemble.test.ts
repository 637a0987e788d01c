// Locks on an ensemble of three servers, of which some die, freeze or are cut off from the others.

import assert from 'node:assert/strict';
import type { Lease } from 'tricord';
import { lockDriverContract } from 'tricord/testing';
import { zookeeper, zookeeperLock } from 'tricord/zookeeper';
import { afterAll, afterEach, beforeAll, describe, test } from 'vitest';
import {
  aborted,
  openLock,
  type StagedLock,
  sessionIdOf,
  until,
} from '../integration/zookeeper-stage.js';
import { measured } from '../servers/shared.js';
import { startZookeeperEnsemble, type ZookeeperEnsemble } from '../servers/zookeeper-ensemble.js';

/** Longer than an election takes, which is up to five seconds here. */
const LONG_SESSION_MS = 15_000;
const SHORT_SESSION_MS = 2_000;
const GRANT_MS_MAX = 20_000;
const since = (startedMs: number): number => performance.now() - startedMs;

describe('a lock on an ensemble [zookeeper]', () => {
  let ensemble: ZookeeperEnsemble;
  beforeAll(async () => {
    const config = { maxSessionTimeout: '20000' };
    ensemble = await startZookeeperEnsemble({ tickTimeMs: 200, config });
  });
  afterEach(async () => {
    await ensemble.heal();
    for (const member of ensemble.members) if (member.isRunning) await member.resume();
    await Promise.all(ensemble.members.filter(isDown).map((member) => member.restart()));
  });
  afterAll(() => ensemble?.[Symbol.asyncDispose]());

  const isDown = ({ isRunning }: { readonly isRunning: boolean }): boolean => !isRunning;
  const open = (sessionTimeoutMs: number, servers = ensemble.url): Promise<StagedLock> =>
    openLock({ servers, sessionTimeoutMs, connectTimeoutMs: GRANT_MS_MAX });
  /** Takes a resource through another node, and tells how long that took. */
  const takeNext = async (node: StagedLock, resource: string): Promise<[Lease, number]> => {
    const startedMs = performance.now();
    const lease = await node.lock.acquire(resource, { waitMs: GRANT_MS_MAX });
    return [lease, since(startedMs)];
  };

  test('the leader is killed: leases are kept, and new ones are granted within a bound', async () => {
    await using one = await open(LONG_SESSION_MS);
    await using other = await open(LONG_SESSION_MS);
    const lease = await one.lock.acquire('kept', { ttlMs: 60_000 });
    const waiting = other.lock.acquire('kept', { waitMs: 60_000 });
    await until('it waits', async () => (await one.lock.inspect('kept')).waiters.length === 1);
    await (await ensemble.leader()).kill();
    const [next, tookMs] = await takeNext(other, 'new');
    measured(`leader killed: the next grant ${tookMs.toFixed(0)} ms after (bound ${GRANT_MS_MAX})`);
    assert.ok(lease.isHeld, 'the lease outlived the election');
    assert.equal(await next.release(), 'released');
    assert.equal(await lease.release(), 'released');
    const after = await waiting;
    assert.ok(after.fencingToken > lease.fencingToken, 'tokens go on under another leader');
    await after.release();
  });

  test('a minority is cut off: its client loses its leases before the majority grants them', async () => {
    const [follower] = await ensemble.followers();
    assert.ok(follower);
    const majority = ensemble.members.filter((member) => member !== follower);
    await using cut = await open(SHORT_SESSION_MS, follower.url);
    await using whole = await open(LONG_SESSION_MS, majority.map(({ url }) => url).join());
    const lease = await cut.lock.acquire('minority', { ttlMs: 60_000 });
    const lost = aborted(lease.signal);
    const waiting = whole.lock.acquire('minority', { waitMs: GRANT_MS_MAX });
    await until('it waits', async () => {
      return (await whole.lock.inspect('minority')).waiters.length === 1;
    });
    ensemble.isolate(follower);
    const startedMs = performance.now();
    await Promise.race([lost, waiting]);
    assert.ok(lease.signal.aborted, 'it is lost here before it is granted there');
    const lostMs = since(startedMs);
    const next = await waiting;
    measured(
      `minority cut off: its lease was lost after ${lostMs.toFixed(0)} ms (bound ` +
        `${SHORT_SESSION_MS}), the majority granted after ${since(startedMs).toFixed(0)} ms`,
    );
    assert.ok(lostMs <= SHORT_SESSION_MS, `${lostMs} ms`);
    assert.throws(() => lease.assertHeld(), { code: 'LOCK_LOST' });
    assert.ok(next.fencingToken > lease.fencingToken);
    await next.release();
  });

  test('a session moves to another server with its leases', async () => {
    const proxies = await Promise.all(ensemble.members.map((member) => member.proxy()));
    await using one = await open(LONG_SESSION_MS, proxies.map(({ address }) => address).join());
    const lease = await one.lock.acquire('moved', { ttlMs: 60_000 });
    const id = await sessionIdOf(one.session);
    for (let move = 0; move < 3; move += 1) {
      const used = proxies.filter(({ openCount }) => openCount > 0);
      for (const proxy of used) proxy.refuse();
      for (const proxy of used) proxy.cut();
      const [next, tookMs] = await takeNext(one, `elsewhere-${move}`);
      measured(`session moved: the next grant after ${tookMs.toFixed(0)} ms`);
      await next.release();
      for (const proxy of used) await proxy.pass();
    }
    assert.equal(await sessionIdOf(one.session), id, 'it is the same session');
    assert.ok(lease.isHeld);
    assert.equal(await lease.release(), 'released');
    for (const proxy of proxies) await proxy.close();
  });

  test('a frozen follower costs its clients neither session nor leases', async () => {
    const [follower] = await ensemble.followers();
    assert.ok(follower);
    const proxies = await Promise.all(ensemble.members.map((member) => member.proxy()));
    const own = proxies[ensemble.members.indexOf(follower)];
    const others = proxies.filter((proxy) => proxy !== own);
    // At first only the follower takes connections, so that this is where the session is.
    for (const proxy of others) proxy.refuse();
    await using one = await open(LONG_SESSION_MS, proxies.map(({ address }) => address).join());
    const lease = await one.lock.acquire('frozen-follower', { ttlMs: 60_000 });
    const id = await sessionIdOf(one.session);
    for (const proxy of others) await proxy.pass();
    await follower.pause();
    const [next, tookMs] = await takeNext(one, 'beside');
    measured(`frozen follower: the next grant after ${tookMs.toFixed(0)} ms`);
    assert.equal(await sessionIdOf(one.session), id);
    assert.ok(lease.isHeld);
    await next.release();
    assert.equal(await lease.release(), 'released');
    await follower.resume();
    for (const proxy of proxies) await proxy.close();
  });

  test('an expired session loses its leases, and its node begins a new one', async () => {
    await using one = await open(LONG_SESSION_MS);
    const lease = await one.lock.acquire('expired', { ttlMs: 60_000 });
    const lost = aborted(lease.signal);
    const id = await sessionIdOf(one.session);
    await ensemble.expireSession(id);
    await lost;
    const [next] = await takeNext(one, 'expired');
    assert.ok(next.fencingToken > lease.fencingToken);
    assert.notEqual(await sessionIdOf(one.session), id);
    await next.release();
  });

  test('without a majority leases end on the local deadline, and nothing is granted until it is back', async () => {
    await using one = await open(SHORT_SESSION_MS);
    const lease = await one.lock.acquire('majority', { ttlMs: 60_000 });
    const lost = aborted(lease.signal);
    const startedMs = performance.now();
    const leader = await ensemble.leader();
    const others = ensemble.members.filter((member) => member !== leader);
    await Promise.all(others.map((member) => member.kill()));
    const killedMs = since(startedMs);
    await lost;
    const lostMs = since(startedMs);
    measured(`majority lost: lease.signal aborted after ${lostMs.toFixed(0)} ms`);
    assert.ok(lostMs <= SHORT_SESSION_MS + killedMs, `${lostMs} ms`);
    await assert.rejects(one.lock.acquire('majority', { waitMs: 300 }), (error: Error) => {
      return ['LOCK_TIMEOUT', 'BACKEND_UNAVAILABLE'].includes(
        (error as { code?: string }).code ?? '',
      );
    });
    await Promise.all(ensemble.members.filter(isDown).map((member) => member.restart()));
    const [next] = await takeNext(one, 'majority');
    assert.ok(next.fencingToken > lease.fencingToken);
    await next.release();
  });

  test('all three are killed and started again: both sides agree on what is held', async () => {
    await using one = await open(LONG_SESSION_MS);
    const lease = await one.lock.acquire('restarted', { ttlMs: 60_000 });
    const startedMs = performance.now();
    await Promise.all(ensemble.members.map((member) => member.kill()));
    await Promise.all(ensemble.members.map((member) => member.restart()));
    const [next] = await takeNext(one, 'after');
    measured(`all restarted: the next grant ${since(startedMs).toFixed(0)} ms after the kill`);
    await next.release();
    const { holders } = await one.lock.inspect('restarted');
    assert.equal(lease.isHeld, holders.length === 1);
    const [again] = lease.isHeld ? [undefined] : await takeNext(one, 'restarted');
    assert.ok(again === undefined || again.fencingToken > lease.fencingToken);
    assert.equal(await lease.release(), again === undefined ? 'released' : 'lost');
    await again?.release();
  });

  const SLICE =
    /^(in a storm|nodes are served|readers between two writers|a writer becomes a reader|as many permits|what a crashed node held|a forced release ends the grant|who watches)/;
  const contract = lockDriverContract({
    resourcePrefix: 'contract:',
    async open() {
      const { url } = ensemble;
      const patience = { sessionTimeoutMs: LONG_SESSION_MS, connectTimeoutMs: GRANT_MS_MAX };
      const session = zookeeper({ servers: url, ...patience });
      await session.ready();
      return { driver: zookeeperLock({ session }), close: () => session.close() };
    },
  }).filter(({ name }) => SLICE.test(name));
  for (const { name, run } of contract) test(`contract: ${name}`, run);
});
