import { newTransactionId } from 'tricord';
import { redisFence, redisParticipant } from 'tricord/redis';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.js';
import { hashTagOf } from '../../../src/drivers/redis/keys.js';
import { FakeClient } from './fake-client.js';

const refusedAs = (argument: string) => ({ code: 'INVALID_ARGUMENT', argument });

describe('hashTagOf', () => {
  test.each([
    ['plain', 'plain'],
    ['{shop}:stock', 'shop'],
    ['a{b}c{d}', 'b'],
    ['{}x', '{}x'],
    ['a{b', 'a{b'],
    ['a}b{c}', 'c'],
    ['{{x}}', '{x'],
  ])('of %j is %j, as Redis Cluster specifies', (key, tag) => {
    expect(hashTagOf(key)).toBe(tag);
  });
});

describe('redisParticipant', () => {
  const begin = async (client: FakeClient, options: { hashTag?: string } = {}) => {
    const participant = redisParticipant({ name: 'shop', client, ...options });
    const transactionId = newTransactionId('order:1', 'node');
    const context = { transactionId, branchId: `${transactionId}.1`, timeoutMs: 1_000 };
    const { signal } = new AbortController();
    return participant.enlist({ ...context, signal, clock: systemClock });
  };

  test('a key of another slot is refused on a cluster before anything is sent', async () => {
    const client = new FakeClient();
    client.isCluster = true;
    const { handle } = await begin(client);
    await handle.set('{shop}:order', 'x');
    await expect(handle.set('order', 'x')).rejects.toMatchObject(refusedAs('key'));
    await expect(handle.reserve('{other}:sku', 1)).rejects.toMatchObject(refusedAs('key'));
    await expect(handle.expect('{other}:sku', '1')).rejects.toThrow(/\{shop\}/);
    expect(client.sent).toEqual([]);
  });

  test('the hash tag is the one of the options, or the one of a keyPrefix', async () => {
    const client = new FakeClient();
    client.isCluster = true;
    const tagged = await begin(client, { hashTag: 'eu-1' });
    await tagged.handle.set('{eu-1}:order', 'x');
    client.options = { redisOptions: { keyPrefix: '{app}:' } };
    const prefixed = await begin(client);
    await prefixed.handle.set('{any}:order', 'x');
    await prefixed.handle.set('order', 'x');
  });

  test('a standalone Redis is one space: every key fits', async () => {
    const { handle } = await begin(new FakeClient());
    for (const key of ['order', '{a}:1', '{b}:2']) await handle.set(key, 'x');
  });

  test('a branch that did nothing, or was given up before its prepare, sends nothing', async () => {
    const client = new FakeClient();
    const idle = await begin(client);
    expect(await idle.prepare()).toEqual({ vote: 'read-only' });
    const givenUp = await begin(client);
    await givenUp.handle.set('order', 'x');
    await givenUp.abort();
    expect((await givenUp.prepare()).vote).toBe('no');
    expect(client.sent).toEqual([]);
  });

  test('a branch has at most 1,000 keys', async () => {
    const { handle } = await begin(new FakeClient());
    for (let index = 0; index < 1_000; index += 1) await handle.set(`key:${index}`, 'x');
    await handle.set('key:0', 'again');
    await expect(handle.set('one more', 'x')).rejects.toMatchObject(refusedAs('key'));
  });

  test.each([
    [{ name: 'with space' }, 'name'],
    [{ client: {} }, 'client'],
    [{ hashTag: '{x}' }, 'hashTag'],
    [{ namespace: '' }, 'namespace'],
    [{ preparedMax: 0 }, 'preparedMax'],
    [{ evidenceMax: 0 }, 'evidenceMax'],
    [{ evidenceRetainMs: -1 }, 'evidenceRetainMs'],
    [{ replyTimeoutMs: Number.NaN }, 'replyTimeoutMs'],
  ])('ill-formed options are refused at once: %j', (options, argument) => {
    const all = { name: 'shop', client: new FakeClient(), ...options };
    expect(() => redisParticipant(all as never)).toThrow(
      expect.objectContaining(refusedAs(argument)),
    );
  });
});

describe('redisFence', () => {
  test.each([
    [{ client: {} }, 'client'],
    [{ namespace: 'a b' }, 'namespace'],
    [{ retainMs: 0 }, 'retainMs'],
    [{ replyTimeoutMs: 0 }, 'replyTimeoutMs'],
  ])('ill-formed options are refused at once: %j', (options, argument) => {
    const all = { client: new FakeClient(), ...options };
    expect(() => redisFence(all as never)).toThrow(expect.objectContaining(refusedAs(argument)));
  });
});
