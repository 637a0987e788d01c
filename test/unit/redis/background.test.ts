import { seededRandom } from 'tricord';
import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { unknown } from '../../../src/drivers/redis/errors.js';
import { background } from '../../../src/drivers/redis/lock/background.js';

test('many releases that nobody answers are repeated without a warning of a leak, and end with close', async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on('warning', note);
  const clock = virtualClock();
  const node = {
    ...{ nodeId: 'a', incarnation: 'abcdefghijk', nextGrantId: () => 'abcdefghijk.1' },
    ...{ clock, random: seededRandom(1) },
  };
  const work = background(node);
  let sent = 0;
  const fail = async (): Promise<void> => {
    sent += 1;
    throw unknown('lock.release', 'no answer');
  };
  for (let count = 0; count < 30; count += 1) work.insist(fail, 60_000);
  await clock.advance(1_000);
  expect(sent).toBeGreaterThan(60);
  expect(clock.keepAliveCount).toBe(0);
  work.close();
  await clock.advance(60_000);
  const sentBefore = sent;
  await clock.advance(60_000);
  expect(sent).toBe(sentBefore);
  // Node tells of warnings after the turn they belong to.
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', note);
  expect(warnings).toEqual([]);
});
