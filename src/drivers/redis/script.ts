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
  client: Pick<RedisClient, 'eval' | 'evalsha'>,
  script: RedisScript,
  keys: readonly string[],
  values: readonly RedisArgument[],
): Promise<unknown> {
  try {
    return await sendHash(client, script, keys, values);
  } catch (error) {
    if (!isNoScript(error)) throw error;
    return sendWhole(client, script, keys, values);
  }
}

/** Sends the hash of a script. */
export function sendHash(
  client: Pick<RedisClient, 'evalsha'>,
  { sha1 }: RedisScript,
  keys: readonly string[],
  values: readonly RedisArgument[],
): Promise<unknown> {
  return client.evalsha(sha1, keys.length, ...keys, ...values);
}

/** Sends a script whole, which makes the server know it. */
export function sendWhole(
  client: Pick<RedisClient, 'eval'>,
  { lua }: RedisScript,
  keys: readonly string[],
  values: readonly RedisArgument[],
): Promise<unknown> {
  return client.eval(lua, keys.length, ...keys, ...values);
}

/** Whether the server does not know a script by its hash. */
export function isNoScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}
