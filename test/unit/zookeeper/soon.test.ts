import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { alarms } from '../../../src/core/alarms.js';
import { deferred } from '../../../src/core/deferred.js';
import { soon } from '../../../src/drivers/zookeeper/lock-soon.js';
import { virtualClock } from '../../../src/testing/virtual-clock.js';

const short = (answer: number): string | undefined => (answer > 0 ? 'short' : undefined);

function stage() {
  const clock = virtualClock();
  const bounds = { clock, alarms: alarms(clock, { keepAlive: false }) };
  let longWays = 0;
  const atLength = async (): Promise<string> => {
    longWays += 1;
    return 'long';
  };
  return { clock, bounds, atLength, longWays: () => longWays };
}

test('an answer that decides is all, and nothing happens later', async () => {
  const { clock, bounds, atLength, longWays } = stage();
  assert.equal(await soon(bounds, Promise.resolve(1), short, atLength), 'short');
  await clock.advance(60_000);
  assert.equal(longWays(), 0);
});

test('an answer that does not decide is what the long way begins with', async () => {
  const { bounds, atLength, longWays } = stage();
  assert.equal(await soon(bounds, Promise.resolve(0), short, atLength), 'long');
  assert.equal(longWays(), 1);
});

test('an answer that does not come soon is waited for on the long way, once', async () => {
  const { clock, bounds, atLength, longWays } = stage();
  const answer = deferred<number>();
  let result: string | undefined;
  void soon(bounds, answer.promise, short, atLength).then((value) => {
    result = value;
  });
  await clock.advance(1_000);
  await expect.poll(() => result, { timeout: 5_000 }).toBe('long');
  answer.resolve(1);
  await clock.advance(1_000);
  assert.equal(longWays(), 1);
});
