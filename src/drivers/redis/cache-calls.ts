import type { CallBounds } from '../../cache/driver.js';
import type { Clock } from '../../core/clock.js';
import type { RedisCacheClient } from './cache-client.js';
import { redisCalls } from './calls.js';
import type { RedisArgument } from './client.js';
import { unavailable } from './errors.js';
import { type RedisScript, runScript } from './script.js';

/** The calls of a cache, bounded in time and in how many may be left without an answer. */
export interface CacheCalls {
  get(key: string, bounds: CallBounds): Promise<string | null>;
  script(
    script: RedisScript,
    keys: readonly string[],
    values: readonly RedisArgument[],
    bounds: CallBounds,
  ): Promise<unknown>;
  send<Reply>(operation: string, call: () => Promise<Reply>, bounds: CallBounds): Promise<Reply>;
  dispose(): void;
}

/**
 * While a server is frozen, what was written to it waits in the client for an answer that does not
 * come. With so many unanswered, further calls fail at once.
 */
const ABANDONED_MAX = 1_000;

/** Calls of a client that was passed in. */
export function cacheCalls(client: RedisCacheClient, clock: Clock): CacheCalls {
  const calls = redisCalls({ client, clock });
  let abandonedCount = 0;
  let isDisposed = false;

  const send = async <Reply>(
    operation: string,
    call: () => Promise<Reply>,
    { timeoutMs }: CallBounds,
  ): Promise<Reply> => {
    if (isDisposed) throw unavailable(operation, 'the cache is closed');
    if (abandonedCount >= ABANDONED_MAX) {
      throw unavailable(operation, `${abandonedCount} earlier calls were never answered`);
    }
    let running: Promise<Reply> | undefined;
    const start = (): Promise<Reply> => {
      running = call();
      return running;
    };
    try {
      return await calls.send(operation, start, { timeoutMs });
    } catch (error) {
      abandonedCount += 1;
      const settled = (): void => {
        abandonedCount -= 1;
      };
      (running ?? Promise.resolve()).then(settled, settled);
      throw error;
    }
  };
  return {
    send,
    get: (key, bounds) => send('GET', () => client.get(key), bounds),
    script: (script, keys, values, bounds) =>
      send(script.name, () => runScript(client, script, keys, values), bounds),
    dispose() {
      // A renewal or release may still come, and must not listen to the client again.
      isDisposed = true;
      calls.dispose();
    },
  };
}
