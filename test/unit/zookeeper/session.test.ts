import assert from 'node:assert/strict';
import { zookeeper, zookeeperLock, zookeeperTransactions } from 'tricord/zookeeper';
import { describe, expect, test } from 'vitest';
import { errorOf, failureOf, isServerAnswer } from '../../../src/drivers/zookeeper/codes.js';
import { loadClient } from '../../../src/drivers/zookeeper/load.js';
import { Supervisor } from '../../../src/drivers/zookeeper/supervisor.js';
import { seededRandom, systemClock } from '../../../src/index.js';

const invalid = { name: 'TypeError', code: 'INVALID_ARGUMENT' };

describe('options of a session', () => {
  test('malformed options are refused before anything is sent', () => {
    for (const servers of ['', 'zk1', 'zk1:2181,', 'zk1:2181, zk2:2181', 'http://zk1:2181']) {
      assert.throws(() => zookeeper({ servers }), invalid, servers);
    }
    const servers = 'zk1:2181,[::1]:2181/services';
    assert.doesNotThrow(() => zookeeper({ servers }));
    for (const sessionTimeoutMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1.5]) {
      assert.throws(() => zookeeper({ servers, sessionTimeoutMs }), invalid);
    }
    assert.throws(() => zookeeper({ servers, namespace: 'a/b' }), invalid);
    assert.throws(() => zookeeper({ servers, chroot: '/a/../b' }), invalid);
    assert.throws(() => zookeeperLock({ session: {} as never }), invalid);
    const session = zookeeper({ servers });
    assert.throws(() => zookeeperTransactions({ session, authority: 'too-long-a-name' }), invalid);
    assert.throws(() => zookeeperTransactions({ session, unacknowledgedMax: 0 }), invalid);
  });

  test('a secret never stands in a message', () => {
    const auth = { scheme: 'digest', secret: ['user:hunter2'] as unknown as string };
    assert.throws(
      () => zookeeper({ servers: 'zk1:2181', auth }),
      (error: Error) => !error.message.includes('hunter2'),
    );
  });

  test('a session that was closed before it began refuses with CLOSED', async () => {
    const session = zookeeper({ servers: 'zk1:2181' });
    await session.close();
    await session.close();
    await assert.rejects(session.ready(), { code: 'CLOSED' });
  });
});

describe('the optional package', () => {
  const failing = (code: string, message: string) => () =>
    Promise.reject(Object.assign(new Error(message), { code }));

  test('when it is missing, the error says how to install it', async () => {
    const load = failing('ERR_MODULE_NOT_FOUND', "Cannot find package 'zookeeper' imported from x");
    await assert.rejects(loadClient(load), {
      code: 'ZOOKEEPER_MISSING',
      message: /npm install zookeeper/,
    });
  });

  test('when its native part was not built, the error names the approval and the rebuild', async () => {
    const unbuilt = failing('ERR', 'No native build was found for platform=linux');
    for (const load of [unbuilt, failing('MODULE_NOT_FOUND', "Cannot find module 'nan'")]) {
      await assert.rejects(loadClient(load), {
        code: 'ZOOKEEPER_NOT_BUILT',
        message: /approve-scripts.*allowScripts.*npm rebuild zookeeper/s,
      });
    }
  });
});

test('each client begins with another server than the one before, and knows them all', async () => {
  const asked: string[] = [];
  // It never has a socket, as where a server refuses.
  class Idle {
    readonly state = 0;
    init({ connect }: { readonly connect: string }): void {
      asked.push(connect);
    }
    on(): void {}
    add_auth(): void {}
    close(): void {}
  }
  const supervisor = new Supervisor({
    ...{ servers: 'a:1,b:2,c:3', sessionTimeoutMs: 10_000, connectTimeoutMs: 10_000, auth: [] },
    ...{ clock: systemClock, random: seededRandom(1), load: async () => Idle as never },
  });
  supervisor.current('connect').catch(() => {});
  await expect.poll(() => asked.length, { timeout: 5_000 }).toBeGreaterThanOrEqual(6);
  await supervisor.close();
  const firsts = asked.map((servers) => servers.split(',')[0]);
  for (let at = 0; at + 3 <= firsts.length; at += 1) {
    assert.deepEqual(firsts.slice(at, at + 3).sort(), ['a:1', 'b:2', 'c:3']);
  }
  for (const servers of asked) assert.deepEqual(servers.split(',').sort(), ['a:1', 'b:2', 'c:3']);
});

describe('codes of the client', () => {
  test('an answer that was lost is unknown, never a failure', () => {
    for (const rc of [-4, -7, -116, -112, -118]) assert.equal(failureOf(rc).kind, 'unknown');
    assert.equal(errorOf(failureOf(-4), 'do it').code, 'RESULT_UNKNOWN');
    assert.equal(errorOf(failureOf(-102), 'do it').code, 'BACKEND_UNSUPPORTED');
  });

  test('only what the server itself said proves that the session lived', () => {
    for (const rc of [0, -101, -103, -110]) assert.equal(isServerAnswer(rc), true);
    for (const rc of [-4, -7, -9, -112, -116]) assert.equal(isServerAnswer(rc), false);
  });
});
