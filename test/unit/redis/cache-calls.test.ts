import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { cacheCalls } from '../../../src/drivers/redis/cache-calls.js';
import { FakeClient, replyError } from './fake-client.js';

class FakeCacheClient extends FakeClient {
  readonly gets: { resolve(value: (string | null)[]): void; reject(error: unknown): void }[] = [];

  mget(): Promise<(string | null)[]> {
    return new Promise((resolve, reject) => {
      this.gets.push({ resolve, reject });
    });
  }

  mgetBuffer(): Promise<(Uint8Array | null)[]> {
    return new Promise(() => {});
  }

  unlink(): Promise<number> {
    return new Promise(() => {});
  }

  publish(): Promise<number> {
    return new Promise(() => {});
  }
}

const BOUNDS = { timeoutMs: 1_000 };

async function open(client = new FakeCacheClient()) {
  const clock = virtualClock();
  const calls = cacheCalls(client, clock);
  const first = calls.mget(['first'], BOUNDS);
  client.gets[0]?.resolve(['1']);
  await first;
  return { client, clock, calls };
}

test('an answer, an error of the server and no answer at all come out as they do from other calls', async () => {
  const { client, clock, calls } = await open();
  const answered = calls.mget(['a'], BOUNDS);
  client.gets[1]?.resolve(['value']);
  expect(await answered).toEqual(['value']);
  const refused = calls.mget(['b'], BOUNDS);
  client.gets[2]?.reject(replyError('LOADING Redis is loading the dataset in memory'));
  await expect(refused).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  const late = calls.mget(['c'], BOUNDS);
  late.catch(() => {});
  await clock.advance(1_000);
  await expect(late).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  const cut = calls.mget(['d'], BOUNDS);
  client.emit('close');
  client.gets[4]?.reject(replyError('ERR whatever'));
  await expect(cut, 'it may have been sent twice').rejects.toMatchObject({
    code: 'RESULT_UNKNOWN',
  });
});

test('calls of one moment share a timer, and none is left behind', async () => {
  const { client, clock, calls } = await open();
  const reads = Array.from({ length: 64 }, (_, i) => calls.mget([`${i}`], BOUNDS));
  expect(clock.timerCount).toBe(1);
  for (const { resolve } of client.gets) resolve([null]);
  await Promise.all(reads);
  calls.dispose();
  expect(clock.timerCount).toBe(0);
});

test('disposing ends what is under way with CLOSED, at once', async () => {
  const { calls } = await open();
  const under = calls.mget(['a'], { timeoutMs: 60_000 });
  calls.dispose();
  await expect(under).rejects.toMatchObject({ code: 'CLOSED' });
  await expect(calls.mget(['b'], BOUNDS)).rejects.toMatchObject({ code: 'CLOSED' });
});

test('what a client forgot when its connection closed does not count as unanswered for ever', async () => {
  const client = new FakeCacheClient();
  client.options = { autoResendUnfulfilledCommands: false };
  const { clock, calls } = await open(client);
  const reads = Array.from({ length: 1_000 }, (_, i) => calls.mget([`${i}`], BOUNDS));
  const ended = Promise.allSettled(reads);
  await clock.advance(1_000);
  await ended;
  await expect(calls.mget(['more'], BOUNDS)).rejects.toMatchObject({ code: 'BACKEND_UNAVAILABLE' });
  client.emit('close');
  const next = calls.mget(['next'], BOUNDS);
  client.gets.at(-1)?.resolve(['value']);
  expect(await next).toEqual(['value']);
});
