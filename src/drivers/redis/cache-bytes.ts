import type { TextEncoding } from '../../cache/driver.js';
import type { RedisCacheClient } from './cache-client.js';
import type { RedisArgument, RedisClient } from './client.js';

/** The commands that read and write entries, in texts of one encoding. */
export interface EntryCommands extends Pick<RedisClient, 'eval' | 'evalsha'> {
  mget(keys: string[]): Promise<(string | null)[]>;
  /** What stands for the text of an entry among the arguments of a script. */
  argument(text: string): RedisArgument;
}

/** The commands of a client as they are, or with bytes for characters of Latin-1. */
export function entryCommands(client: RedisCacheClient, encoding: TextEncoding): EntryCommands {
  if (encoding === 'utf8') {
    return {
      mget: (keys) => client.mget(keys),
      eval: (...given) => client.eval(...given),
      evalsha: (...given) => client.evalsha(...given),
      argument: (text) => text,
    };
  }
  const call = async (command: string, args: RedisArgument[]): Promise<unknown> =>
    textOf(await client.callBuffer(command, args));
  return {
    mget: async (keys) => (await call('mget', keys)) as (string | null)[],
    eval: (...given) => call('eval', given),
    evalsha: (...given) => call('evalsha', given),
    argument: (text) => Buffer.from(text, 'latin1'),
  };
}

function textOf(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(textOf);
  if (!(reply instanceof Uint8Array)) return reply;
  return Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength).toString('latin1');
}
