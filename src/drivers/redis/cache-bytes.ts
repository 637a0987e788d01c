import type { TextEncoding } from '../../cache/driver.js';
import type { RedisCacheClient } from './cache-client.js';
import type { RedisArgument, RedisClient } from './client.js';

/** The commands that read and write entries, in texts of one encoding. */
export interface EntryCommands extends Pick<RedisClient, 'eval' | 'evalsha'> {
  mget(keys: string[]): Promise<(string | null)[]>;
  /** What stands for the text of an entry among the arguments of a script. */
  argument(text: string): RedisArgument;
}

/**
 * Of every command ioredis has a form that answers bytes; its types do not tell of these. `callBuffer`
 * will not do: with `enableAutoPipelining` it throws where nobody can catch it.
 */
interface BytesClient extends RedisCacheClient {
  evalBuffer: RedisClient['eval'];
  evalshaBuffer: RedisClient['evalsha'];
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
  const bytes = client as BytesClient;
  const text = async (reply: Promise<unknown>): Promise<unknown> => textOf(await reply);
  return {
    mget: async (keys) => (await text(bytes.mgetBuffer(keys))) as (string | null)[],
    eval: (...given) => text(bytes.evalBuffer(...given)),
    evalsha: (...given) => text(bytes.evalshaBuffer(...given)),
    argument: (from) => Buffer.from(from, 'latin1'),
  };
}

function textOf(reply: unknown): unknown {
  if (Array.isArray(reply)) return reply.map(textOf);
  if (!(reply instanceof Uint8Array)) return reply;
  return Buffer.from(reply.buffer, reply.byteOffset, reply.byteLength).toString('latin1');
}
