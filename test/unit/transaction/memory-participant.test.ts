import { expect, test } from 'vitest';
import type { TransactionId } from '../../../src/core/ids.js';
import { memoryParticipant } from '../../../src/drivers/memory/participant.js';
import type { MemoryBranch } from '../../../src/drivers/memory/participant-branch.js';
import { virtualClock } from '../../../src/testing/virtual-clock.js';
import type { Branch } from '../../../src/transaction/participant.js';

function shop() {
  const clock = virtualClock();
  const participant = memoryParticipant({ name: 'shop', clock, preparedMax: 3 });
  participant.load({ stock: 10, name: 'cup' });
  let count = 0;
  const begin = (): Promise<Branch<MemoryBranch>> => {
    count += 1;
    return participant.enlist({
      transactionId: `t${count}` as TransactionId,
      branchId: `t${count}.1`,
      timeoutMs: 1_000,
      signal: new AbortController().signal,
      clock,
    });
  };
  return { participant, begin };
}

test('a branch sees what it wrote, others see it after the commit', async () => {
  const { participant, begin } = shop();
  const { handle, prepare, commit } = await begin();
  await handle.set('name', 'mug');
  expect(await handle.get('name')).toBe('mug');
  expect(await handle.delete('name')).toBe(true);
  expect(await handle.get('name')).toBeUndefined();
  await handle.insert('name', 'glass');
  await expect(handle.insert('name', 'vase')).rejects.toMatchObject({ code: 'CONDITION_FAILED' });
  expect(await handle.increment('stock', 5)).toBe(15);
  expect(await handle.get('stock')).toBe(15);
  expect(participant.entries()).toEqual([
    ['stock', 10],
    ['name', 'cup'],
  ]);
  await prepare();
  await commit();
  expect(new Map(participant.entries())).toEqual(
    new Map<string, unknown>([
      ['stock', 15],
      ['name', 'glass'],
    ]),
  );
});

test('values are copied in and out', async () => {
  const { participant, begin } = shop();
  const { handle, prepare, commit } = await begin();
  const order = { lines: ['cup'] };
  await handle.set('order', order);
  order.lines.push('changed later');
  await prepare();
  await commit();
  const read = participant.read<{ lines: string[] }>('order');
  read?.lines.push('changed outside');
  expect(participant.read('order')).toEqual({ lines: ['cup'] });
});

test('increments of several prepared branches commute, and never take more than there is', async () => {
  const { participant, begin } = shop();
  const branches = [await begin(), await begin(), await begin()];
  for (const { handle } of branches.slice(0, 2)) await handle.reserve('stock', 4);
  await branches[2]?.handle.reserve('stock', 4);
  expect(await branches[0]?.prepare()).toMatchObject({ vote: 'yes' });
  expect(await branches[1]?.prepare()).toMatchObject({ vote: 'yes' });
  expect(await branches[2]?.prepare()).toMatchObject({ vote: 'no', reason: /"stock": 2 is/ });
  const late = await begin();
  const refused = late.handle.reserve('stock', 3);
  await expect(refused).rejects.toMatchObject({ code: 'CONDITION_FAILED' });
  await expect(refused).rejects.toThrow(/refused "stock": 2 is available, 3 would fall below 0/);
  await branches[0]?.abort();
  await branches[1]?.commit();
  expect(participant.read('stock')).toBe(6);
  expect(await late.handle.reserve('stock', 3)).toBe(3);
});

test('a branch whose reads or writes were changed or are held by another votes no', async () => {
  const { participant, begin } = shop();
  const [reader, writer, adder] = [await begin(), await begin(), await begin()];
  await reader.handle.get('name');
  await reader.handle.set('seen', true);
  await writer.handle.set('name', 'mug');
  await adder.handle.get('stock');
  await adder.handle.increment('stock', 1);
  expect(await reader.prepare()).toMatchObject({ vote: 'yes' });
  expect(await writer.prepare()).toMatchObject({ vote: 'no', reason: /"name" is held/ });
  participant.load({ stock: 20 });
  expect(await adder.prepare()).toMatchObject({ vote: 'no', reason: /"stock" was changed/ });
});

test('write skew is impossible: of two that read what the other writes, one votes no', async () => {
  const { begin } = shop();
  const [one, other] = [await begin(), await begin()];
  await one.handle.get('stock');
  await one.handle.set('name', 'a');
  await other.handle.get('name');
  await other.handle.set('stock', 1);
  const votes = [await one.prepare(), await other.prepare()].map(({ vote }) => vote);
  expect(votes).toEqual(['yes', 'no']);
});

test('no more branches than preparedMax wait, and the refusal says so', async () => {
  const { begin } = shop();
  for (let count = 0; count < 3; count += 1) {
    const { handle, prepare } = await begin();
    await handle.set(`key-${count}`, count);
    await prepare();
  }
  await expect(begin()).rejects.toMatchObject({ code: 'PARTICIPANT_FULL', retryable: true });
});

test('a number is not made of what is no number, and a key is a key', async () => {
  const { begin } = shop();
  const { handle } = await begin();
  await expect(handle.increment('name')).rejects.toMatchObject({ code: 'CONDITION_FAILED' });
  await expect(handle.get('')).rejects.toThrow(/^key is ''; pass/);
  await expect(handle.set('key', undefined)).rejects.toThrow(/^value is undefined; pass a value/);
  await expect(handle.reserve('stock', -1)).rejects.toThrow(/^quantity is -1/);
  await expect(handle.increment('stock', Number.NaN)).rejects.toThrow(/^by is NaN/);
});
