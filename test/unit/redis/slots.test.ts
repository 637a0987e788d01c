import { expect, test } from 'vitest';
import { slotGroups, slotOf } from '../../../src/drivers/redis/slots.js';
import { FakeClient } from './fake-client.js';

test('slots are those of the specification of Redis Cluster', () => {
  expect(slotOf('123456789')).toBe(0x31c3);
  expect(slotOf('foo')).toBe(12_182);
  expect(slotOf('{user1000}.following')).toBe(slotOf('{user1000}.followers'));
  expect(slotOf('{user1000}.following')).toBe(slotOf('user1000'));
  expect(slotOf('tricord:ns:lock:{é 🦆}')).toBe(slotOf('é 🦆'));
});

test('outside a cluster one command carries what fits, in a cluster what shares a slot', () => {
  const client = new FakeClient();
  const keys = ['{a}:1', '{b}:1', '{a}:2', '{a}:3'];
  const groups = (): string[][] => slotGroups(client, keys, (key) => key, 2);
  expect(groups()).toEqual([
    ['{a}:1', '{b}:1'],
    ['{a}:2', '{a}:3'],
  ]);
  client.isCluster = true;
  expect(groups()).toEqual([['{a}:1', '{a}:2'], ['{a}:3'], ['{b}:1']]);
  // The first braces count: a keyPrefix with a tag puts everything into one slot.
  client.options = { redisOptions: { keyPrefix: '{app}:' } };
  expect(groups()).toEqual([
    ['{a}:1', '{b}:1'],
    ['{a}:2', '{a}:3'],
  ]);
});
