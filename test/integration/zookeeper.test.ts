// Sessions, locks and logs on a real ZooKeeper: start-up, access rights, formats, sizes.

import assert from 'node:assert/strict';
import { createLock } from 'tricord';
import {
  type ZookeeperOptions,
  zookeeper,
  zookeeperLock,
  zookeeperTransactions,
} from 'tricord/zookeeper';
import { describe, test } from 'vitest';
import { systemClock } from '../../src/core/clock.js';
import { newIncarnation, newTransactionIds } from '../../src/core/ids.js';
import { systemRandom } from '../../src/core/random.js';
import { HEAD_BYTES_MAX } from '../../src/drivers/zookeeper/log-format.js';
import { CONNECTION } from '../../src/drivers/zookeeper/session.js';
import type { CommitRecord } from '../../src/transaction/decision-log.js';
import { startZookeeper } from '../servers/provider.js';
import { freshPrefix, onServer } from '../servers/shared.js';
import { openLock, until } from './zookeeper-stage.js';

const NODE = { nodeId: 'n', namespace: 'sizes', clock: systemClock, random: systemRandom };

onServer('zookeeper', 'a zookeeper session', (server) => {
  const fresh = (options: Partial<ZookeeperOptions> = {}): ZookeeperOptions => {
    return { servers: server.url, chroot: `/${freshPrefix('it')}/deep`, ...options };
  };

  test('roots and namespaces do not see each other', async () => {
    const root = fresh();
    await using one = await openLock(root);
    await using same = await openLock(root);
    await using named = await openLock({ ...root, namespace: 'other' });
    await using elsewhere = await openLock({ ...fresh(), servers: `${server.url}/` });
    const lease = await one.lock.acquire('sku:42');
    assert.equal(await same.lock.tryAcquire('sku:42'), undefined);
    assert.ok(await named.lock.tryAcquire('sku:42'));
    assert.ok(await elsewhere.lock.tryAcquire('sku:42'));
    await lease.release();
  });

  test('with an identity, what is stored is closed to others, and the refusal holds no secret', async () => {
    const root = fresh();
    await using owner = await openLock({
      ...root,
      auth: { scheme: 'digest', secret: 'me:hunter2' },
    });
    await (await owner.lock.acquire('closed')).release();
    await using stranger = await openLock(root);
    await assert.rejects(stranger.lock.acquire('closed', { waitMs: 5_000 }), (error: Error) => {
      assert.equal((error as { code?: string }).code, 'BACKEND_UNSUPPORTED');
      assert.match(error.message, /auth/);
      assert.doesNotMatch(error.message, /hunter2/);
      return true;
    });
    await (await owner.lock.acquire('closed')).release();
  });

  test('a new session proves its identities again, and what it creates is closed as before', async () => {
    const root = fresh();
    const auth = { scheme: 'digest', secret: 'me:hunter2' };
    await using own = await startZookeeper({ tickTimeMs: 200 });
    const options = { ...root, servers: own.url, sessionTimeoutMs: 2_000 };
    await using owner = await openLock({ ...options, auth });
    await (await owner.lock.acquire('before')).release();
    const before = await owner.session[CONNECTION].current('look');
    await own.expireSession(BigInt.asUintN(64, BigInt(`0x${before.id}`)));
    await until('the session is over', () => before.ended.aborted);
    await (await owner.lock.acquire('before', { waitMs: 5_000 })).release();
    await (await owner.lock.acquire('after', { waitMs: 5_000 })).release();
    await using stranger = await openLock(options);
    for (const resource of ['before', 'after']) {
      await assert.rejects(stranger.lock.acquire(resource, { waitMs: 5_000 }), {
        code: 'BACKEND_UNSUPPORTED',
      });
    }
  });

  test('a chroot in the connection string is created, whatever its depth', async () => {
    const chroot = `/${freshPrefix('chroot')}/a/b`;
    await using one = await openLock({ servers: `${server.url}${chroot}` });
    await using same = await openLock({ servers: server.url, chroot });
    const lease = await one.lock.acquire('sku:42');
    assert.equal(await same.lock.tryAcquire('sku:42'), undefined);
    await lease.release();
    for (const wrong of ['host:2181/../x', 'host:2181/a b', 'host', 'host:2181,/x']) {
      assert.throws(() => zookeeper({ servers: wrong }), { code: 'INVALID_ARGUMENT' });
    }
  });

  test('data that a newer release wrote in a lock’s directory is refused, not misread', async () => {
    await using one = await openLock(fresh());
    await (await one.lock.acquire('epoch')).release();
    const { root, current } = one.session[CONNECTION];
    const { ask } = await current('write');
    await ask.set(`${root}/locks/epoch`, Buffer.from('{"v":2,"readers":7}'), -1);
    const reading = one.lock.acquire('epoch', { mode: 'shared', waitMs: 5_000 });
    await assert.rejects(reading, { code: 'UPGRADE_NEEDED' });
  });

  test('a place that a newer release wrote is refused, not misread', async () => {
    await using one = await openLock(fresh());
    await (await one.lock.acquire('newer')).release();
    const { root, current } = one.session[CONNECTION];
    const { ask } = await current('write');
    await ask.create(`${root}/locks/newer/g2-shared-7`, Buffer.alloc(0), 1);
    await assert.rejects(one.lock.acquire('newer', { waitMs: 5_000 }), { code: 'UPGRADE_NEEDED' });
    await assert.rejects(one.lock.inspect('newer'), { code: 'UPGRADE_NEEDED' });
  });

  test('a head that a newer release wrote is refused, not misread', async () => {
    await using one = await openLock(fresh());
    const log = zookeeperTransactions({ session: one.session }).open(NODE);
    const incarnation = newIncarnation();
    await log.register(incarnation);
    const { root, current } = one.session[CONNECTION];
    const { ask } = await current('write');
    await ask.set(`${root}/transactions/zk/sizes/${incarnation}`, Buffer.from('{"v":3}'), -1);
    await assert.rejects(log.unacknowledged(incarnation, 1), { code: 'UPGRADE_NEEDED' });
    await log.close();
  });

  test('an empty directory of a lock is made anew after the server removed it', async () => {
    await using one = await openLock(fresh());
    const first = await one.lock.acquire('container');
    await first.release();
    const { root, current } = one.session[CONNECTION];
    const { ask } = await current('remove');
    const removed = await ask.remove(`${root}/locks/container`);
    assert.ok(removed.ok);
    const second = await one.lock.acquire('container');
    assert.ok(
      second.fencingToken > first.fencingToken,
      'the sequence began anew, the token did not',
    );
    await second.release();
  });

  test('many tasks of two nodes take turns, each with a higher token', async () => {
    const root = fresh();
    await using one = await openLock(root);
    await using other = await openLock(root);
    const tokens: bigint[] = [];
    const work = async ({ lock }: typeof one): Promise<void> => {
      await using lease = await lock.acquire('turns', { waitMs: 15_000 });
      tokens.push(lease.fencingToken);
    };
    await Promise.all(Array.from({ length: 40 }, (_, index) => work(index % 2 ? one : other)));
    assert.equal(tokens.length, 40);
    assert.deepEqual(
      tokens,
      tokens.toSorted((a, b) => (a < b ? -1 : 1)),
    );
  });

  test('a head stays small: what does not fit moves to overflow znodes and is still found', async () => {
    await using owner = await openLock(fresh());
    const log = zookeeperTransactions({ session: owner.session }).open(NODE);
    const incarnation = newIncarnation();
    await log.register(incarnation);
    const ids = newTransactionIds({ namespace: 'sizes', authority: 'zk', incarnation });
    const records = Array.from({ length: 300 }, (): CommitRecord => {
      const transactionId = ids('r', 'n');
      const branch = {
        participant: 'p',
        branchId: `${transactionId}.1`,
        evidence: 'e'.repeat(900),
      };
      return { transactionId, resourceId: 'r', nodeId: 'n', branches: [branch] };
    });
    const answers = await Promise.all(records.map((each) => log.decide(incarnation, each)));
    assert.deepEqual(new Set(answers), new Set(['committed']));
    const { root, current } = owner.session[CONNECTION];
    const { ask } = await current('look');
    const head = await ask.get(`${root}/transactions/zk/sizes/${incarnation}`);
    assert.ok(head.ok && head.value.data.length < HEAD_BYTES_MAX * 1.1);
    for (const each of records) assert.ok(await log.find(each.transactionId));
    assert.equal((await log.unacknowledged(incarnation, 1_000)).length, 300);
    const [first] = await log.unacknowledged(incarnation, 1);
    assert.equal(first?.transactionId, records[0]?.transactionId);
    await log.acknowledge(
      records.map(({ transactionId }) => ({ transactionId, participant: 'p' })),
    );
    await until('all are acknowledged', async () => {
      return (await log.unacknowledged(incarnation, 10)).length === 0;
    });
    for (const each of records) assert.equal(await log.decide(incarnation, each), 'committed');
    await log.close();
  });

  test('records go after their retention, and a fenced incarnation with the last of them', async () => {
    await using one = await openLock(fresh());
    const retain = { session: one.session, recordRetainMs: 50 };
    const log = zookeeperTransactions(retain).open(NODE);
    const incarnation = newIncarnation();
    await log.register(incarnation);
    const ids = newTransactionIds({ namespace: 'sizes', authority: 'zk', incarnation });
    const transactionId = ids('r', 'n');
    const branches = [{ participant: 'p', branchId: `${transactionId}.1`, evidence: '' }];
    await log.decide(incarnation, { transactionId, resourceId: 'r', nodeId: 'n', branches });
    await log.acknowledge([{ transactionId, participant: 'p' }]);
    await log.fence(incarnation);
    await log.acknowledge([{ transactionId, participant: 'p' }]);
    const { root, current } = one.session[CONNECTION];
    const { ask } = await current('look');
    await until('its znode is gone', async () => {
      await log.prune();
      const head = await ask.get(`${root}/transactions/zk/sizes/${incarnation}`);
      return !head.ok && head.kind === 'no-node';
    });
    assert.equal(await log.find(transactionId), undefined);
    await log.close();
  });
});

describe('a session without a server [zookeeper]', () => {
  test('calls say BACKEND_UNAVAILABLE in time, and work once the server is there', async () => {
    await using server = await startZookeeper();
    await server.stop();
    const session = zookeeper({ servers: server.url, connectTimeoutMs: 500 });
    const lock = createLock({ driver: zookeeperLock({ session }) });
    const startedMs = performance.now();
    await assert.rejects(session.ready(), { code: 'BACKEND_UNAVAILABLE', retryable: true });
    await assert.rejects(lock.tryAcquire('early'), { code: 'BACKEND_UNAVAILABLE' });
    assert.ok(performance.now() - startedMs < 3_000);
    await server.restart();
    await until('it connects', () =>
      session.ready().then(
        () => true,
        () => false,
      ),
    );
    await (await lock.acquire('early')).release();
    await lock.close();
    await session.close();
  });
});
