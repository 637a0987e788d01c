import type { CallBounds, TextEncoding } from '../../cache/driver.js';
import type { Clock } from '../../core/clock.js';
import { deadlines } from '../../core/deadlines.js';
import { closedError } from '../../core/errors.js';
import { entryCommands } from './cache-bytes.js';
import type { RedisCacheClient } from './cache-client.js';
import { type RedisCalls, redisCalls } from './calls.js';
import type { RedisArgument } from './client.js';
import { redisError, unavailable, unknown } from './errors.js';
import { type RedisScript, runScript } from './script.js';

/** The calls of a cache, bounded in time and in how many may be left without an answer. */
export interface CacheCalls {
  /** The text of an entry as an argument of a script. */
  argument(text: string): RedisArgument;
  mget(keys: string[], bounds: CallBounds): Promise<(string | null)[]>;
  script(
    script: RedisScript,
    keys: readonly string[],
    values: readonly RedisArgument[],
    bounds: CallBounds,
  ): Promise<unknown>;
  send<Reply>(operation: string, call: () => Promise<Reply>, bounds: CallBounds): Promise<Reply>;
  /** Ends what is under way, and refuses what comes, with CLOSED. */
  dispose(): void;
}

/**
 * While a server is frozen, what was written to it waits in the client for an answer that does not
 * come. With so many unanswered, further calls fail at once.
 */
const ABANDONED_MAX = 1_000;

/** Calls of a client that was passed in. */
export function cacheCalls(
  client: RedisCacheClient,
  clock: Clock,
  encoding: TextEncoding = 'utf8',
): CacheCalls {
  const entries = entryCommands(client, encoding);
  const calls = redisCalls({ client, clock });
  const direct = directCalls(calls, clock);
  // Such a client never settles what was under way when its connection closed; RedisCalls does.
  const forgets = client.options.autoResendUnfulfilledCommands === false;
  const abandoned = new Set<Promise<unknown>>();
  let closesSeen = 0;
  let isListening = false;
  let isDisposed = false;

  /** Counts a call that failed for as long as the client may still hold it. */
  const abandon = (running: Promise<unknown> | undefined): void => {
    if (running === undefined) return;
    const settled = (): void => void abandoned.delete(running);
    abandoned.add(running);
    running.then(settled, settled);
  };
  const refusal = (operation: string): unknown => {
    if (isDisposed) return closedError('the cache');
    if (forgets && calls.closeCount() !== closesSeen) {
      closesSeen = calls.closeCount();
      abandoned.clear();
    }
    if (abandoned.size < ABANDONED_MAX) return undefined;
    return unavailable(operation, `${abandoned.size} earlier calls were never answered`);
  };
  const send = <Reply>(
    operation: string,
    call: () => Promise<Reply>,
    { timeoutMs }: CallBounds,
  ): Promise<Reply> => {
    const refused = refusal(operation);
    if (refused !== undefined) return Promise.reject(refused);
    if (isListening && !forgets && client.status === 'ready') {
      return direct.send(operation, call, timeoutMs, abandon);
    }
    isListening = true;
    let running: Promise<Reply> | undefined;
    const start = (): Promise<Reply> => {
      running = call();
      return running;
    };
    return calls.send(operation, start, { timeoutMs }).catch((error) => {
      abandon(running);
      throw isDisposed ? closedError('the cache') : error;
    });
  };
  return {
    argument: entries.argument,
    send,
    mget: (keys, bounds) => send('MGET', () => entries.mget(keys), bounds),
    script: (script, keys, values, bounds) =>
      send(script.name, () => runScript(entries, script, keys, values), bounds),
    dispose() {
      // A renewal or release may still come, and must not listen to the client again.
      isDisposed = true;
      direct.end();
      calls.dispose();
    },
  };
}

/** The hot path: what `RedisCalls.send` does for a client that is ready, with one promise and no timer of its own. */
function directCalls({ client, closeCount }: RedisCalls, clock: Clock) {
  const times = deadlines(clock);
  let isEnded = false;
  return {
    send<Reply>(
      operation: string,
      call: () => Promise<Reply>,
      timeoutMs: number,
      onAbandoned: (running: Promise<Reply>) => void,
    ): Promise<Reply> {
      const closesBefore = closeCount();
      return new Promise((resolve, reject) => {
        const running = call();
        const letGo = times.after(timeoutMs, () => {
          onAbandoned(running);
          const late = unknown(operation, `no answer within ${timeoutMs} ms`);
          reject(isEnded ? closedError('the cache') : late);
        });
        const failed = (error: unknown): void => {
          letGo();
          // A cluster sends again by itself after a redirection or a lost node, without telling.
          const maybeResent = client.isCluster || closeCount() !== closesBefore;
          reject(redisError(error, { operation, sent: true, maybeResent }));
        };
        running.then((reply) => {
          letGo();
          resolve(reply);
        }, failed);
      });
    },
    end(): void {
      isEnded = true;
      times.expireAll();
    },
  };
}
