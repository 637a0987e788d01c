// Answers of the Redis log that depend on what became of an earlier copy, from a scripted client.

import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { newIncarnation, newTransactionIds } from '../../../src/core/ids.js';
import { seededRandom } from '../../../src/core/random.js';
import { redisTransactions } from '../../../src/drivers/redis/decision-log.js';
import { FakeClient } from './fake-client.js';

function stage() {
  const client = new FakeClient();
  const clock = virtualClock();
  const [nodeId, namespace] = ['node-1', 'unit'];
  const log = redisTransactions({ client, replyTimeoutMs: 500 });
  const session = log.open({ nodeId, namespace, clock, random: seededRandom(1) });
  const incarnation = newIncarnation();
  const newId = newTransactionIds({ namespace, authority: 'redis', incarnation }, clock);
  const transactionId = newId('order:1', nodeId);
  const record = { transactionId, resourceId: 'order:1', nodeId, branches: [] };
  return { client, clock, decide: () => session.decide(incarnation, record) };
}

test('fenced after a lost request is unknown: what that recorded may be over and forgotten', async () => {
  const { client, clock, decide } = stage();
  let sent = 0;
  client.answer = () => {
    sent += 1;
    return sent === 1 ? new Promise(() => {}) : Promise.resolve(['ok', 'fenced']);
  };
  const refused = expect(decide()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  await clock.advance(2_000);
  await refused;
  // The coordinator asks again, and combines this answer with what it knows.
  expect(await decide()).toBe('fenced');
});

test('fenced in answer to a request that the client sent twice is unknown, too', async () => {
  const { client, clock, decide } = stage();
  let reply = (_answer: unknown): void => {};
  client.answer = () =>
    new Promise((resolve) => {
      reply = resolve;
    });
  const refused = expect(decide()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  await clock.settle();
  client.emit('close');
  reply(['ok', 'fenced']);
  client.answer = () => Promise.resolve(['ok', 'fenced']);
  await clock.advance(2_000);
  await refused;
});
