import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { redisCalls } from '../../../src/drivers/redis/calls.js';
import { redisError } from '../../../src/drivers/redis/errors.js';
import { redisScript } from '../../../src/drivers/redis/script.js';
import { FakeClient, replyError } from './fake-client.js';

const SCRIPT = redisScript('lock.acquire', 'return 1');

function stage() {
  const client = new FakeClient();
  const clock = virtualClock();
  const calls = redisCalls({ client, clock, timeoutMs: 1_000 });
  return { client, clock, calls };
}

test('a script is sent by its hash, and whole when the server does not know it', async () => {
  const { client, calls } = stage();
  client.answer = (text) =>
    text === SCRIPT.sha1 ? Promise.reject(replyError('NOSCRIPT No matching')) : Promise.resolve(7);
  expect(await calls.script(SCRIPT, ['key'], [1])).toBe(7);
  expect(client.sent).toEqual([
    { text: SCRIPT.sha1, values: ['key', 1] },
    { text: SCRIPT.lua, values: ['key', 1] },
  ]);
});

test('no answer in time is RESULT_UNKNOWN, whatever the client does', async () => {
  const { clock, calls } = stage();
  const asked = calls.script(SCRIPT, ['key'], []);
  const refused = expect(asked).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
  await clock.advance(1_000);
  await refused;
});

test('no connection in time is BACKEND_UNAVAILABLE, and nothing is sent when it comes', async () => {
  const { client, clock, calls } = stage();
  client.status = 'reconnecting';
  const refused = expect(calls.script(SCRIPT, ['key'], [])).rejects.toMatchObject({
    code: 'BACKEND_UNAVAILABLE',
  });
  await clock.advance(1_000);
  await refused;
  client.become('ready');
  await clock.settle();
  expect(client.sent).toEqual([]);
});

test('a command waits for the connection, within its time', async () => {
  const { client, clock, calls } = stage();
  client.status = 'wait';
  client.answer = () => Promise.resolve('done');
  const asked = calls.script(SCRIPT, ['key'], []);
  expect(client.status).toBe('connecting');
  await clock.advance(500);
  client.become('ready');
  expect(await asked).toBe('done');
});

test('an aborted signal ends the wait with its reason', async () => {
  const { calls } = stage();
  const controller = new AbortController();
  const reason = new Error('enough');
  const asked = calls.script(SCRIPT, ['key'], [], { signal: controller.signal });
  controller.abort(reason);
  await expect(asked).rejects.toBe(reason);
});

test('a refusal after a possible second send tells nothing about the first', async () => {
  const { client, calls } = stage();
  let refuse = (_error: Error): void => {};
  client.answer = () =>
    new Promise((_, reject) => {
      refuse = reject;
    });
  const asked = calls.script(SCRIPT, ['key'], []);
  client.emit('close');
  refuse(replyError('READONLY You can’t write against a read only replica.'));
  await expect(asked).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
});

test('a client that never sends again tells at once that its connection closed', async () => {
  const client = new FakeClient();
  client.options = { autoResendUnfulfilledCommands: false };
  const calls = redisCalls({ client, clock: virtualClock() });
  const asked = calls.script(SCRIPT, ['key'], []);
  client.emit('close');
  await expect(asked).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
});

test('many users of one client leave no listener and no changed limit behind', async () => {
  const client = new FakeClient();
  client.answer = () => Promise.resolve(1);
  const before = client.getMaxListeners();
  const all = Array.from({ length: 30 }, () => redisCalls({ client, clock: virtualClock() }));
  for (const calls of all) await calls.script(SCRIPT, ['key'], []);
  expect(client.listenerCount('close')).toBe(30);
  expect(client.getMaxListeners()).toBe(before + 30);
  for (const calls of all) calls.dispose();
  expect(client.eventNames()).toEqual([]);
  expect(client.getMaxListeners()).toBe(before);
});

const MAPPED: readonly (readonly [message: string, code: string])[] = [
  ['LOADING Redis is loading the dataset in memory', 'BACKEND_UNAVAILABLE'],
  ['READONLY You can’t write against a read only replica.', 'BACKEND_UNAVAILABLE'],
  ['MISCONF Errors writing to the AOF file', 'BACKEND_UNAVAILABLE'],
  ['ERR Error running script (call to f_1): @user_script:3: -READONLY You', 'BACKEND_UNAVAILABLE'],
  ['NOPERM this user has no permissions', 'BACKEND_UNSUPPORTED'],
  ['NOAUTH Authentication required.', 'BACKEND_UNSUPPORTED'],
  ['OOM command not allowed when used memory > maxmemory', 'BACKEND_UNSUPPORTED'],
  ['WRONGTYPE Operation against a key', 'DATA_CORRUPT'],
];

for (const [message, code] of MAPPED) {
  test(`the server's "${message.slice(0, 40)}" is ${code}`, () => {
    const request = { operation: 'lock.acquire', sent: true, maybeResent: false };
    expect(redisError(replyError(message), request)).toMatchObject({ code });
  });
}

for (const message of ['Connection is closed.', 'Command timed out', 'connect ECONNRESET']) {
  test(`the client's "${message}" is RESULT_UNKNOWN once sent and BACKEND_UNAVAILABLE before`, () => {
    const request = { operation: 'lock.acquire', maybeResent: false };
    const error = new Error(message);
    const mapped = (sent: boolean) => redisError(error, { ...request, sent });
    expect(mapped(true)).toMatchObject({ code: 'RESULT_UNKNOWN', cause: error });
    expect(mapped(false)).toMatchObject({ code: 'BACKEND_UNAVAILABLE', cause: error });
  });
}

test('a second send that the client refuses proves nothing of a first one that it sent twice', async () => {
  const { client, clock, calls } = stage();
  let first = (_error: unknown): void => {};
  client.answer = (text) =>
    text === SCRIPT.sha1
      ? new Promise((_, reject) => {
          first = reject;
        })
      : Promise.reject(new Error("Stream isn't writeable and enableOfflineQueue options is false"));
  const refused = expect(calls.script(SCRIPT, ['key'], [])).rejects.toMatchObject({
    code: 'RESULT_UNKNOWN',
  });
  await clock.settle();
  // The server ran the script and restarted, and has forgotten scripts when the copy comes.
  client.emit('close');
  first(replyError('NOSCRIPT No matching script'));
  await refused;
});

/** A client that has answered before: calls go to it without a detour. */
async function warmStage() {
  const parts = stage();
  parts.client.answer = () => Promise.resolve('warm');
  await parts.calls.script(SCRIPT, ['key'], []);
  return parts;
}

test('a ready client that does not answer in time is RESULT_UNKNOWN at every later call, too', async () => {
  const { client, clock, calls } = await warmStage();
  client.answer = () => new Promise(() => {});
  const refused = expect(calls.script(SCRIPT, ['key'], [])).rejects.toMatchObject({
    code: 'RESULT_UNKNOWN',
  });
  await clock.advance(1_000);
  await refused;
});

test('calls of one moment share a timer, which goes when all of them are answered', async () => {
  const { client, clock, calls } = await warmStage();
  client.answer = () => Promise.resolve(1);
  const before = clock.timerCount;
  const all = Array.from({ length: 50 }, () => calls.script(SCRIPT, ['key'], []));
  expect(clock.timerCount - before).toBeLessThanOrEqual(1);
  await Promise.all(all);
});

test('a refusal by a ready client whose connection closed meanwhile is RESULT_UNKNOWN', async () => {
  const { client, calls } = await warmStage();
  client.answer = async () => {
    client.emit('close');
    throw replyError('LOADING Redis is loading the dataset in memory');
  };
  await expect(calls.script(SCRIPT, ['key'], [])).rejects.toMatchObject({
    code: 'RESULT_UNKNOWN',
  });
});

test('a ready client whose server has forgotten the script sends it whole', async () => {
  const { client, calls } = await warmStage();
  client.answer = (text) =>
    text === SCRIPT.sha1 ? Promise.reject(replyError('NOSCRIPT No matching')) : Promise.resolve(7);
  expect(await calls.script(SCRIPT, ['key'], [])).toBe(7);
});
