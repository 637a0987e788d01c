import { virtualClock } from 'tricord/testing';
import { expect, test } from 'vitest';
import { redisCalls } from '../../../src/drivers/redis/calls.js';
import { redisScript } from '../../../src/drivers/redis/script.js';
import { FakeClient, replyError } from './fake-client.js';

const SCRIPT = redisScript('lock.acquire', 'return 1');

interface Sent {
  readonly name: string;
  readonly args: readonly string[];
  toWritable(): string;
  resolve(reply: unknown): void;
  reject(error: unknown): void;
}

/** A client that takes commands as `Redis` of ioredis does. */
class FakeRedis extends FakeClient {
  readonly commandQueue = {};
  readonly commands: Sent[] = [];
  sendCommand(command: Sent): void {
    this.commands.push(command);
  }
}

async function stage(client = new FakeRedis()) {
  client.answer = () => Promise.resolve('whole');
  const calls = redisCalls({ client, clock: virtualClock(), timeoutMs: 1_000 });
  // The first call looks at the connection.
  await calls.script(SCRIPT, ['first'], []);
  client.sent.length = 0;
  return { client, calls };
}

test('a script is one command of the client’s protocol, with its prefix before the keys', async () => {
  const client = new FakeRedis();
  client.options = { keyPrefix: 'é:' };
  const { calls } = await stage(client);
  const asked = calls.script(SCRIPT, ['a'], [7, 'b']);
  const [command] = client.commands;
  expect(command).toMatchObject({ name: 'evalsha', args: [SCRIPT.sha1, '1', 'é:a', '7', 'b'] });
  expect(command?.toWritable()).toBe(
    `*6\r\n$7\r\nevalsha\r\n$40\r\n${SCRIPT.sha1}\r\n$1\r\n1\r\n$4\r\né:a\r\n$1\r\n7\r\n$1\r\nb\r\n`,
  );
  command?.resolve([Buffer.from('H|7'), 3, [Buffer.from('x')]]);
  expect(await asked).toEqual(['H|7', 3, ['x']]);
  expect(client.sent).toEqual([]);
});

test('a script that the server does not know is sent whole, and other errors are told', async () => {
  const { client, calls } = await stage();
  const asked = calls.script(SCRIPT, ['a'], []);
  client.commands[0]?.reject(replyError('NOSCRIPT No matching script'));
  expect(await asked).toBe('whole');
  const refused = calls.script(SCRIPT, ['a'], []);
  client.commands[1]?.reject(new Error('Connection is closed.'));
  await expect(refused).rejects.toMatchObject({ code: 'RESULT_UNKNOWN' });
});

test('a client that does not take it, or has more to do with commands, is asked by its methods', async () => {
  const other = new FakeRedis();
  other.sendCommand = () => {
    throw new TypeError('command.getKeys is not a function');
  };
  const { calls } = await stage(other);
  expect(await calls.script(SCRIPT, ['a'], [])).toBe('whole');
  const busy = new FakeRedis();
  busy.options = { commandTimeout: 100 } as object;
  const involved = await stage(busy);
  expect(await involved.calls.script(SCRIPT, ['a'], [])).toBe('whole');
  expect(await involved.calls.script(SCRIPT, ['a'], [new Uint8Array(1)])).toBe('whole');
  expect(busy.commands).toEqual([]);
});
