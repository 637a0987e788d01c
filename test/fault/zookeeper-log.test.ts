// Commit decisions on ZooKeeper when replies are lost and owners are paused; and the end of a process.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { zookeeperTransactions } from 'tricord/zookeeper';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { newIncarnation, newTransactionIds } from '../../src/core/ids.js';
import { systemRandom } from '../../src/core/random.js';
import type { CommitRecord } from '../../src/transaction/decision-log.js';
import { killSession, openLock, sessionIdOf, until } from '../integration/zookeeper-stage.js';
import { startZookeeper, type ZookeeperHandle } from '../servers/provider.js';
import { measured } from '../servers/shared.js';

const CLOSER = fileURLToPath(new URL('./zookeeper-closer.ts', import.meta.url));

describe('a decision log on a server of its own [zookeeper]', () => {
  let server: ZookeeperHandle;
  beforeAll(async () => {
    server = await startZookeeper({ tickTimeMs: 200 });
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  const openLog = async (servers = server.url, options: { recordRetainMs?: number } = {}) => {
    const { session, lock } = await openLock({ servers, sessionTimeoutMs: 2_000 });
    const node = { nodeId: 'owner', namespace: 'faults', clock: systemClock, random: systemRandom };
    const log = zookeeperTransactions({ session, ...options }).open(node);
    const dispose = async () => {
      await log.close();
      await lock.close({ drainMs: 0 });
      await session.close();
    };
    return { log, session, [Symbol.asyncDispose]: dispose };
  };
  const recordsOf = (incarnation: string) => {
    const ids = newTransactionIds({ namespace: 'faults', authority: 'zk', incarnation });
    return (): CommitRecord => {
      const transactionId = ids('order', 'owner');
      const branches = [{ participant: 'orders', branchId: `${transactionId}.1`, evidence: '' }];
      return { transactionId, resourceId: 'order', nodeId: 'owner', branches };
    };
  };

  test('a cut connection that loses the reply of a decision resolves it to the truth', async () => {
    await using proxy = await server.proxy();
    await using owner = await openLog(proxy.url);
    await using other = await openLog();
    const incarnation = newIncarnation();
    await owner.log.register(incarnation);
    const record = recordsOf(incarnation)();
    const lost = proxy.cutAfterForward(record.transactionId);
    const startedMs = performance.now();
    assert.equal(await owner.log.decide(incarnation, record), 'committed');
    measured(
      `cut connection: a decision with a lost reply took ${Math.round(performance.now() - startedMs)} ms`,
    );
    await lost;
    assert.equal((await other.log.unacknowledged(incarnation, 10)).length, 1);
    assert.equal(await owner.log.decide(incarnation, recordsOf(incarnation)()), 'committed');
  });

  test('an owner that was fenced while it was paused is refused', async () => {
    await using proxy = await server.proxy();
    await using owner = await openLog(proxy.url);
    await using recoverer = await openLog();
    const incarnation = newIncarnation();
    await owner.log.register(incarnation);
    const next = recordsOf(incarnation);
    const [before, late] = [next(), next()];
    assert.equal(await owner.log.decide(incarnation, before), 'committed');
    proxy.freeze();
    const deciding = owner.log.decide(incarnation, late);
    await recoverer.log.fence(incarnation);
    proxy.thaw();
    assert.equal(await deciding, 'fenced');
    assert.equal(owner.log.fencedSignal(incarnation).aborted, true);
    assert.equal(await recoverer.log.find(late.transactionId), undefined);
    assert.ok(await recoverer.log.find(before.transactionId));
  });

  test('a lost reply is unknown when the record was finished and forgotten meanwhile', async () => {
    await using proxy = await server.proxy();
    await using owner = await openLog(proxy.url);
    await using recoverer = await openLog(server.url, { recordRetainMs: 0 });
    const incarnation = newIncarnation();
    await owner.log.register(incarnation);
    const record = recordsOf(incarnation)();
    const { transactionId } = record;
    const lost = proxy.cutAfterForward(transactionId);
    const deciding = assert.rejects(
      owner.log.decide(incarnation, record, { signal: AbortSignal.timeout(20_000) }),
      { code: 'RESULT_UNKNOWN' },
    );
    await lost;
    proxy.refuse();
    await recoverer.log.fence(incarnation);
    assert.ok(await recoverer.log.find(transactionId));
    await recoverer.log.acknowledge([{ transactionId, participant: 'orders' }]);
    await until('the record is forgotten', async () => {
      await recoverer.log.prune();
      return (await recoverer.log.find(transactionId)) === undefined;
    });
    await proxy.pass();
    await deciding;
    assert.equal(await owner.log.decide(incarnation, record), 'fenced');
  });

  test('decisions in flight when the server dies are resolved when it is back', async () => {
    await using owner = await openLog();
    const incarnation = newIncarnation();
    await owner.log.register(incarnation);
    const next = recordsOf(incarnation);
    const deciding = Array.from({ length: 50 }, () => {
      const record = next();
      const answer = owner.log.decide(incarnation, record, {
        signal: AbortSignal.timeout(15_000),
      });
      return answer.then((state) => ({ record, state }));
    });
    const all = Promise.all(deciding);
    await server.kill();
    await server.restart();
    for (const { record, state } of await all) {
      const found = await owner.log.find(record.transactionId);
      assert.equal(state, found === undefined ? 'fenced' : 'committed');
      assert.equal(state, 'committed');
    }
  });

  test('a killed session leaves its incarnation live: the owner shows itself again', async () => {
    await using owner = await openLog();
    await using other = await openLog();
    const incarnation = newIncarnation();
    await owner.log.register(incarnation);
    await killSession(server, await sessionIdOf(owner.session));
    await until('live again', async () => {
      const all = await other.log.incarnations();
      return all.find((each) => each.incarnation === incarnation)?.state === 'live';
    });
    assert.equal(await owner.log.decide(incarnation, recordsOf(incarnation)()), 'committed');
  });

  test('a fence reaches its live owner by itself', async () => {
    await using owner = await openLog();
    await using recoverer = await openLog();
    const incarnation = newIncarnation();
    await owner.log.register(incarnation);
    const signal = owner.log.fencedSignal(incarnation);
    await recoverer.log.fence(incarnation);
    await until('it knows', () => signal.aborted, 2_000);
  });

  test('a process ends by itself after close, and nothing was printed', async () => {
    const tsx = fileURLToPath(new URL('../../node_modules/.bin/tsx', import.meta.url));
    const child = spawn(tsx, [CLOSER, server.url]);
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        printed += chunk.toString();
      });
    }
    const code = await new Promise((resolve) => child.on('exit', resolve));
    assert.equal(printed, '');
    assert.equal(code, 0);
  });
});
