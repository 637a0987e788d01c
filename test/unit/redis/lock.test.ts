import { createLock, lockId } from 'tricord';
import { redisLock } from 'tricord/redis';
import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { seededRandom } from '../../../src/core/random.js';
import { redisGuarantees } from '../../../src/drivers/redis/guarantees.js';
import { pushedValidity, repliedValidity } from '../../../src/drivers/redis/lock/deadline.js';
import type { GrantRequest } from '../../../src/lock/driver.js';
import { lockNode } from '../../../src/lock/node.js';
import { FakeClient, replyError } from './fake-client.js';

test('a grant counts from before the send that is answered, not from the answer', () => {
  const sent = { monotonicMs: 1_000, wallMs: 5_000 };
  expect(repliedValidity(sent, 400)).toEqual({ since: sent, forMs: 400 });
});

test('a pushed grant counts from the send that the server answered "queued", never from the message', () => {
  const sent = { monotonicMs: 1_000, wallMs: 5_000 };
  const first = { monotonicMs: 400, wallMs: 4_400 };
  const pushed = { endsUs: 9_000_000, ttlMs: 2_000 };
  const sighting = { sent, serverUs: 6_500_000 };
  expect(pushedValidity(pushed, sighting, first, 30_000)).toEqual({ since: sent, forMs: 2_500 });
  // A clock that was set forward in between makes nobody believe for longer than the TTL.
  expect(pushedValidity(pushed, sighting, first, 1_000)).toEqual({ since: sent, forMs: 1_000 });
  // The message overtook the answer: the grant was written after the first send.
  expect(pushedValidity(pushed, undefined, first, 30_000)).toEqual({ since: first, forMs: 2_000 });
});

/** A driver on a client without a server, in virtual time. */
function stage() {
  const client = new FakeClient();
  const clock = virtualClock();
  const node = lockNode({ nodeId: 'n', clock, random: seededRandom(1) });
  const backend = redisLock({ client }).open(node);
  const request = (changes: Partial<GrantRequest> = {}): GrantRequest => ({
    resource: 'sku:42',
    owner: lockId('sku:42', 'n'),
    mode: 'exclusive',
    permits: 1,
    capacity: 1,
    ttlMs: 10_000,
    tokens: 1,
    wait: true,
    signal: new AbortController().signal,
    ...changes,
  });
  // A second connection is not to be had here: heartbeats must do.
  client.duplicate = () => Object.assign(new FakeClient(), silent) as never;
  return { client, clock, backend, request };
}

const silent = { subscribe: () => new Promise(() => {}), disconnect: () => {} };

test('the answer to a second send of the same request is dated by the second send', async () => {
  const { client, clock, backend, request } = stage();
  const answers: ((reply: string) => void)[] = [];
  client.answer = () => new Promise((resolve) => answers.push(resolve));
  const asked = backend.acquire(request());
  await clock.settle();
  const firstSentMs = clock.monotonicMs();
  await clock.advance(2_100);
  expect(answers.length, 'sent again under the same id').toBe(2);
  expect(client.sent[0]?.values).toEqual(client.sent[1]?.values);
  answers[1]?.('H|7|10000|0');
  const grant = await asked;
  expect(grant?.fencingToken).toBe(7n);
  expect(grant?.validity.since.monotonicMs).toBeGreaterThan(firstSentMs + 2_000);
  await backend.close();
});

test('a grant whose reply took most of its TTL is extended before it is handed out', async () => {
  const { client, clock, backend, request } = stage();
  let reply = (_text: string): void => {};
  client.answer = () =>
    new Promise((resolve) => {
      reply = (text) => resolve(client.sent.length === 1 ? text : [text]);
    });
  const asked = backend.acquire(request({ ttlMs: 1_000 }));
  await clock.advance(900);
  reply('H|7|1000|0');
  await clock.advance(50);
  const askedAgainMs = clock.monotonicMs();
  expect(client.sent.length).toBe(2);
  reply('H|7|1000|0');
  const grant = await asked;
  expect(grant?.validity.since.monotonicMs).toBeGreaterThan(askedAgainMs - 51);
  await backend.close();
});

test('a request that was overtaken by its own end contends under a new id', async () => {
  const { client, backend, request } = stage();
  const replies = ['G', 'H|9|10000|0'];
  client.answer = () => Promise.resolve(replies.shift());
  const grant = await backend.acquire(request());
  const ids = client.sent.map(({ values }) => values[1]);
  expect(new Set(ids).size).toBe(2);
  expect(grant?.grantId).toBe(ids[1]);
  await backend.close();
});

test('a request that is refused with RESULT_UNKNOWN is cancelled in the background', async () => {
  const { client, clock, backend, request } = stage();
  const refused = expect(backend.acquire(request({ wait: false }))).rejects.toMatchObject({
    code: 'RESULT_UNKNOWN',
  });
  await clock.advance(5_000);
  await refused;
  const ids = new Set(client.sent.map(({ values }) => values[1]));
  expect(ids.size, 'one id, also for the cancel').toBe(1);
  expect(new Set(client.sent.map(({ text }) => text)).size, 'two scripts').toBe(2);
  await backend.close();
});

test('a Redis before 6.2 is refused before anything is sent, with the version that is needed', async () => {
  const { client, backend, request } = stage();
  client.version = '6.0.16';
  await expect(backend.acquire(request())).rejects.toMatchObject({
    code: 'BACKEND_UNSUPPORTED',
    details: { found: '6.0.16', needed: '6.2' },
  });
  expect(client.sent).toEqual([]);
});

test('a renewal without an answer is unknown, and one that is refused too', async () => {
  const { client, clock, backend, request } = stage();
  client.answer = () => Promise.resolve('H|1|10000|0');
  const grant = await backend.acquire(request());
  if (grant === undefined) throw new Error('not granted');
  client.answer = () => Promise.reject(replyError('LOADING Redis is loading'));
  expect(await backend.renew([grant], [10_000])).toMatchObject([{ state: 'unknown' }]);
  client.answer = () => new Promise(() => {});
  const renewing = backend.renew([grant], [3_000]);
  await clock.advance(1_000);
  expect(await renewing).toMatchObject([{ state: 'unknown' }]);
  await backend.close();
});

test('options outside their bounds and what is no client are refused by name', () => {
  const client = new FakeClient();
  expect(() => redisLock({ client: {} as never })).toThrow(/client is/);
  expect(() => redisLock({ client, heartbeatMs: 1 })).toThrow(/heartbeatMs is 1/);
  expect(() => redisLock({ client, replyTimeoutMs: Number.NaN })).toThrow(/replyTimeoutMs/);
  expect(() => redisLock({ client, namespace: 'a:b' })).toThrow(/namespace/);
  expect(() => createLock({ driver: redisLock({ client }) })).not.toThrow();
});

const SETTINGS = {
  redis_version: '7.0.15',
  redis_mode: 'standalone',
  role: 'master',
  connected_slaves: '0',
  appendonly: 'yes',
  appendfsync: 'always',
  save: '',
  maxmemory: '0',
  'maxmemory-policy': 'noeviction',
};
const SURVIVAL: readonly (readonly [change: Partial<typeof SETTINGS>, survives: string])[] = [
  [{}, 'power-loss'],
  [{ appendfsync: 'everysec' }, 'process'],
  [{ appendfsync: 'unknown' }, 'process'],
  [{ appendonly: 'no' }, 'none'],
  [{ appendonly: 'unknown' }, 'none'],
  [{ 'maxmemory-policy': 'allkeys-lru' }, 'none'],
  [{ 'maxmemory-policy': 'unknown' }, 'none'],
];

for (const [change, survives] of SURVIVAL) {
  test(`a Redis with ${JSON.stringify(change)} is said to survive ${survives}`, () => {
    const guarantees = redisGuarantees('redis', { ...SETTINGS, ...change });
    expect(guarantees.survives).toBe(survives);
    expect(guarantees.warnings.length).toBe(survives === 'power-loss' ? 0 : 1);
  });
}

test('replicas are warned of, because a fail-over may forget', () => {
  const { warnings } = redisGuarantees('redis', { ...SETTINGS, connected_slaves: '2' });
  expect(warnings.join(' ')).toMatch(/fail-over/);
});
