import { EventEmitter } from 'node:events';
import { lockId } from 'tricord';
import { redisLock } from 'tricord/redis';
import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { seededRandom } from '../../../src/core/random.js';
import { lockNode } from '../../../src/lock/node.js';
import { FakeClient } from './fake-client.js';

/** The connection that listens: messages come when the test says so. */
class FakeSubscriber extends EventEmitter {
  status = 'ready';
  subscribe = () => Promise.resolve();
  unsubscribe = () => Promise.resolve();
  disconnect = () => {};
}

test('a grant whose message overtakes the answer "queued" is not lost', async () => {
  const client = new FakeClient();
  const clock = virtualClock();
  const node = lockNode({ nodeId: 'n', clock, random: seededRandom(1) });
  const subscriber = new FakeSubscriber();
  client.duplicate = () => subscriber as never;
  let answer = (_text: string): void => {};
  client.answer = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  const backend = redisLock({ client }).open(node);
  const asked = backend.acquire({
    ...{ resource: 'sku:42', owner: lockId('sku:42', 'n'), mode: 'exclusive', permits: 1 },
    ...{ capacity: 1, ttlMs: 10_000, tokens: 1, wait: true },
    signal: new AbortController().signal,
  });
  await clock.settle();
  const grantId = String(client.sent[0]?.values[1]);
  const inbox = `tricord:default:lock:inbox:${node.incarnation}`;
  subscriber.emit('message', inbox, `1 g ${grantId} 8 2000000 2000 0`);
  answer('Q|1|500|100000');
  const grant = await clock.runUntil(asked, { limitMs: 100 });
  expect(grant?.fencingToken).toBe(8n);
  expect(clock.monotonicMs(), 'no heartbeat had to tell it').toBe(0);
  await backend.close();
});
