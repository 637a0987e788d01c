// Readers, downgrades, retained and delayed locks on ZooKeeper when replies are lost and holders die.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { lockId } from 'tricord';
import { zookeeperLock } from 'tricord/zookeeper';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { systemRandom } from '../../src/core/random.js';
import type { Grant, GrantRequest, LockBackend } from '../../src/lock/driver.js';
import { lockNode } from '../../src/lock/node.js';
import { killSession, openLock, sessionIdOf, until } from '../integration/zookeeper-stage.js';
import { startZookeeper, type ZookeeperHandle } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const SESSION_TIMEOUT_MS = 2_000;
const RETAINER = fileURLToPath(new URL('./zookeeper-lock-retainer.ts', import.meta.url));
const since = (startedMs: number): number => performance.now() - startedMs;
const SHARED = { mode: 'shared', capacity: Number.POSITIVE_INFINITY } as const;

describe('modes of a lock on a server of its own [zookeeper]', () => {
  let server: ZookeeperHandle;
  beforeAll(async () => {
    const config = { maxSessionTimeout: '20000' };
    server = await startZookeeper({ tickTimeMs: 200, config });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  /** A node on the driver's own interface. */
  const openNode = async (servers = server.url, sessionTimeoutMs = SESSION_TIMEOUT_MS) => {
    const staged = await openLock({ servers, sessionTimeoutMs });
    const node = lockNode({ nodeId: 'faults', clock: systemClock, random: systemRandom });
    const backend = zookeeperLock({ session: staged.session }).open(node);
    const request = (resource: string, changes: Partial<GrantRequest> = {}): GrantRequest => ({
      ...{ resource, owner: lockId(resource, 'faults'), mode: 'exclusive', permits: 1 },
      ...{ capacity: 1, ttlMs: 60_000, tokens: 1, wait: true },
      signal: new AbortController().signal,
      ...changes,
    });
    return {
      backend,
      session: staged.session,
      acquire: (resource: string, changes?: Partial<GrantRequest>) =>
        backend.acquire(request(resource, changes)) as Promise<Grant>,
      async [Symbol.asyncDispose]() {
        await backend.close();
        await staged[Symbol.asyncDispose]();
      },
    };
  };
  const waiting = (backend: LockBackend, resource: string, count: number): Promise<void> => {
    const isInLine = async (): Promise<boolean> =>
      (await backend.inspect(resource)).waiters.length === count;
    return until(`${count} in line`, isInLine, 30_000);
  };

  test('a downgrade whose reply is lost is one downgrade: readers come in, a writer waits', async () => {
    await using proxy = await server.proxy();
    await using cut = await openNode(proxy.url);
    await using direct = await openNode();
    const writer = await cut.acquire('lost-downgrade');
    const reader = direct.acquire('lost-downgrade', SHARED);
    await waiting(direct.backend, 'lost-downgrade', 1);
    const lost = proxy.cutAfterForward('"mode":"s"');
    const shared = await cut.backend.downgrade(writer);
    await lost;
    assert.equal(shared?.mode, 'shared');
    assert.equal(shared.grantId, writer.grantId);
    const joined = await reader;
    assert.equal(joined.fencingToken, shared.fencingToken, 'all readers carry one token');
    assert.equal(await direct.acquire('lost-downgrade', { wait: false }), undefined);
    assert.equal(await cut.backend.release(shared), 'released');
    await direct.backend.release(joined);
    const next = await direct.acquire('lost-downgrade', { wait: false });
    assert.ok((next.fencingToken ?? 0n) > (shared.fencingToken ?? 0n));
    await direct.backend.release(next);
  });

  test('a downgrade that never arrives lets nobody in before the holder’s session is over', async () => {
    await using proxy = await server.proxy();
    await using frozen = await openNode(proxy.url);
    await using direct = await openNode();
    const writer = await frozen.acquire('stuck-downgrade');
    const reader = direct.acquire('stuck-downgrade', SHARED);
    await waiting(direct.backend, 'stuck-downgrade', 1);
    proxy.freeze('to-server');
    const enough = new AbortController();
    const downgrading = frozen.backend.downgrade(writer, { signal: enough.signal });
    enough.abort(new Error('enough'));
    await assert.rejects(downgrading, /enough/);
    await assert.rejects(frozen.backend.reserveTokens(writer, 4), { code: 'RESULT_UNKNOWN' });
    const joined = await reader;
    assert.ok(writer.loss !== undefined, 'it was lost before the reader came in');
    assert.ok((joined.fencingToken ?? 0n) > (writer.fencingToken ?? 0n));
    await direct.backend.release(joined);
    await proxy.pass();
  });

  test('the reply to an epoch is lost: the reader is granted once, with the epoch that stands', async () => {
    await using proxy = await server.proxy();
    await using cut = await openNode(proxy.url);
    await using direct = await openNode();
    await direct.backend.release(await direct.acquire('lost-epoch'));
    const lost = proxy.cutAfterForward('"epoch"');
    const reader = await cut.acquire('lost-epoch', SHARED);
    await lost;
    const other = await direct.acquire('lost-epoch', SHARED);
    assert.equal(other.fencingToken, reader.fencingToken);
    await cut.backend.release(reader);
    await direct.backend.release(other);
    const { holders, waiters } = await direct.backend.inspect('lost-epoch');
    assert.deepEqual([holders.length, waiters.length], [0, 0]);
  });

  test('readers after a writer have a token of their own, not below what it wrote with', async () => {
    await using one = await openNode();
    const newest = { token: 0n };
    for (let round = 0; round < 3; round += 1) {
      for (const changes of [SHARED, SHARED, {}]) {
        const grant = await one.acquire('turns', changes);
        const last = await one.backend.reserveTokens(grant, 8);
        const token = grant.fencingToken ?? 0n;
        assert.ok(token >= newest.token, `${token} after ${newest.token}`);
        newest.token = last === undefined ? token : last + 7n;
        await one.backend.release(grant);
      }
    }
  });

  test('what a dead session held is free after its lock delay, and not before', async () => {
    await using holder = await openNode();
    await using other = await openNode();
    const lockDelayMs = 1_200;
    const held = await holder.acquire('delayed', { lockDelayMs });
    const next = other.acquire('delayed');
    await waiting(other.backend, 'delayed', 1);
    const startedMs = performance.now();
    await killSession(server, await sessionIdOf(holder.session));
    const granted = await next;
    measured(
      `lock delay ${lockDelayMs} ms: granted ${since(startedMs).toFixed(0)} ms after the end`,
    );
    assert.ok(since(startedMs) >= lockDelayMs);
    assert.ok((granted.fencingToken ?? 0n) > (held.fencingToken ?? 0n));
    assert.equal(await other.backend.release(granted), 'released');
    const freeMs = performance.now();
    const free = await other.acquire('delayed');
    assert.ok(since(freeMs) < lockDelayMs, 'the guard is gone');
    await other.backend.release(free);
  });

  test('1,000 requests of one node wait in line, most give up, the others are served in order', async () => {
    await using holder = await openNode(server.url, 15_000);
    await using crowd = await openNode(server.url, 15_000);
    const held = await holder.acquire('crowd');
    const served: number[] = [];
    const leaving: AbortController[] = [];
    const asking = Array.from({ length: 1_000 }, async (_, index) => {
      const leave = new AbortController();
      leaving.push(leave);
      const grant = await crowd.acquire('crowd', { signal: leave.signal }).catch(() => undefined);
      if (grant === undefined) return;
      served.push(index);
      await crowd.backend.release(grant);
    });
    await waiting(holder.backend, 'crowd', 1_000);
    const stormMs = performance.now();
    for (const [index, leave] of leaving.entries()) if (index % 20 !== 0) leave.abort();
    await holder.backend.release(held);
    await Promise.all(asking);
    measured(`1,000 in line, 950 gave up: the rest was served in ${since(stormMs).toFixed(0)} ms`);
    assert.deepEqual(
      served,
      Array.from({ length: 50 }, (_, index) => index * 20),
    );
    await until('nobody is left', async () => {
      const { holders, waiters } = await holder.backend.inspect('crowd');
      return holders.length + waiters.length === 0;
    });
  });

  describe('a node that retains what it does not use', () => {
    const startRetainer = async (resource: string): Promise<ChildProcess> => {
      const args = ['--import', 'tsx', RETAINER, server.url, resource];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise((resolve, reject) => {
        child.stdout?.once('data', resolve);
        child.once('exit', (code) => reject(new Error(`the retainer ended with ${code}`)));
      });
      return child;
    };
    const takeFrom = async (resource: string) => {
      await using other = await openLock({ servers: server.url, sessionTimeoutMs: 4_000 });
      const startedMs = performance.now();
      const lease = await other.lock.acquire(resource, { waitMs: 20_000 });
      const tookMs = since(startedMs);
      await lease.release();
      return { tookMs, token: lease.fencingToken };
    };
    /** A session is missed within a tick of its time-out. */
    const GONE_MS_MAX = SESSION_TIMEOUT_MS + 1_500;

    test('gives it up when somebody asks', async () => {
      const retainer = await startRetainer('retained');
      try {
        const { tookMs } = await takeFrom('retained');
        measured(`retained lock: given up ${tookMs.toFixed(0)} ms after it was asked for`);
        assert.ok(tookMs < SESSION_TIMEOUT_MS / 2, `${tookMs} ms`);
      } finally {
        retainer.kill('SIGKILL');
      }
    });

    test('delays a waiter by no more than its session when it is dead', async () => {
      const retainer = await startRetainer('retained-dead');
      retainer.kill('SIGKILL');
      const { tookMs } = await takeFrom('retained-dead');
      measured(`dead retainer: granted after ${tookMs.toFixed(0)} ms (bound ${GONE_MS_MAX})`);
      assert.ok(tookMs < GONE_MS_MAX, `${tookMs} ms`);
    });

    test('delays a waiter by no more than its session when it is frozen, and knows it when it wakes', async () => {
      const retainer = await startRetainer('retained-frozen');
      try {
        retainer.kill('SIGSTOP');
        const { tookMs, token } = await takeFrom('retained-frozen');
        measured(`frozen retainer: granted after ${tookMs.toFixed(0)} ms (bound ${GONE_MS_MAX})`);
        assert.ok(tookMs < GONE_MS_MAX, `${tookMs} ms`);
        const again = new Promise<string>((resolve) => {
          retainer.stdout?.once('data', (chunk: Buffer) => resolve(chunk.toString()));
        });
        retainer.kill('SIGUSR2');
        retainer.kill('SIGCONT');
        const used = BigInt(/again (\d+)/.exec(await again)?.[1] ?? 0);
        assert.ok(used > token, 'it took the lock anew, with a token of its own');
      } finally {
        retainer.kill('SIGKILL');
      }
    });
  });
});
