import { createHash } from 'node:crypto';
import type { RedisArgument, RedisClient } from './client.js';

/** One Lua script. It touches only keys that reach it through KEYS. */
export interface RedisScript {
  /** For messages: `lock.acquire`. */
  readonly name: string;
  readonly lua: string;
  readonly sha1: string;
}

/** A script under a name. The text is hashed once. */
export function redisScript(name: string, lua: string): RedisScript {
  return { name, lua, sha1: createHash('sha1').update(lua).digest('hex') };
}

/**
 * Runs a script: by its hash, and whole where the server does not know it (a first use, a restart,
 * SCRIPT FLUSH, another node of a cluster). NOSCRIPT means that nothing was run, so the second send
 * is not a repetition. Use `RedisCalls.script`, which bounds it.
 *
 * `eval` and `evalsha` are methods of every client, so that auto-pipelining, keyPrefix and the
 * routing of a cluster apply; `defineCommand` would change a client that is not ours.
 */
export async function runScript(
  client: RedisClient,
  script: RedisScript,
  keys: readonly string[],
  values: readonly RedisArgument[],
): Promise<unknown> {
  try {
    return await client.evalsha(script.sha1, keys.length, ...keys, ...values);
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
    return client.eval(script.lua, keys.length, ...keys, ...values);
  }
}
