import { createLock } from 'tricord';
import { memoryLock } from 'tricord/memory';
import { chaos, virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';

test('a downgrade whose answer was lost leaves nothing that the node hands on to a writer', async () => {
  const clock = virtualClock();
  const driver = memoryLock({ clock });
  const weather = chaos({ clock, faults: {}, operations: { downgrade: { loseReply: 1 } } });
  const node = createLock({ driver: weather.lock(driver), nodeId: 'node', clock });
  const other = createLock({ driver, nodeId: 'other', clock });
  const writer = await node.acquire('a');
  const reads = other.acquire('a', { mode: 'shared' });
  const writes = node.acquire('a');
  await clock.settle();
  await expect(writer.downgrade()).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  expect(writer.isHeld).toBe(false);
  const reader = await reads;
  await writer.release();
  await clock.settle();
  expect((await other.inspect('a')).holders.map(({ mode }) => mode)).toEqual(['shared']);
  await reader.release();
  const next = await clock.runUntil(writes);
  expect(next.fencingToken).toBeGreaterThan(reader.fencingToken);
  await next.release();
});
