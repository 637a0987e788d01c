import { type AbortSource, abortScope, sleep, throwIfAborted } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { isCoordinationError } from '../../core/errors.js';
import type { DecisionLogNode } from '../../transaction/decision-log.js';
import { keyDigest } from '../../transaction/log-keys.js';
import type { RedisCalls } from './calls.js';
import { LOG_FORMAT } from './decision-log-scripts.js';
import { formatError, unknown } from './errors.js';
import { redisKeys } from './keys.js';
import type { RedisScript } from './script.js';

/** The keys of a namespace's log and its bounded calls. */
export interface LogStore {
  /** Runs a script about an incarnation, once. Answers what comes after the status. */
  once(
    script: RedisScript,
    incarnation: string,
    values: readonly (string | number)[],
  ): Promise<LogReply>;
  /** The same, again while the reply is lost, until the signal or the time-out. */
  ask(
    script: RedisScript,
    incarnation: string,
    values: readonly (string | number)[],
    signal?: AbortSignal,
  ): Promise<LogReply>;
  /** Runs a script about the namespace's index, again while the reply is lost. */
  askIndex(
    script: RedisScript,
    values: readonly (string | number)[],
    signal?: AbortSignal,
  ): Promise<LogReply>;
  /** Runs a script about the key of a transaction, again while the reply is lost. */
  askKey(
    script: RedisScript,
    key: string,
    values: readonly (string | number)[],
    signal?: AbortSignal,
  ): Promise<LogReply>;
  /** Waits between two attempts. */
  pause(attempt: number, signal?: AbortSource): Promise<void>;
}

/** What a script answered: a status and texts. */
export interface LogReply {
  readonly status: string;
  readonly values: readonly string[];
}

const RETRY_BACKOFF = { baseMs: 20, maxMs: 500 };

/** The store of one namespace. `prefix` keeps the logs of several deployments apart. */
export function logStore(options: {
  readonly calls: RedisCalls;
  readonly node: DecisionLogNode;
  readonly prefix: string;
  readonly timeoutMs: number;
}): LogStore {
  const { calls, node, prefix, timeoutMs } = options;
  const { clock, random, namespace } = node;
  const keys = redisKeys('log', prefix);
  const keysOf = (incarnation: string): string[] => {
    // Neither part has a colon, so that no two pairs share a tag.
    const tag = `${namespace}:${incarnation}`;
    return ['', ':open', ':done', ':order'].map((suffix) => keys.key(tag, suffix));
  };
  const indexKeys = [keys.key(namespace, ':active'), keys.key(namespace, ':retired')];

  const run = async (
    script: RedisScript,
    scriptKeys: readonly string[],
    values: readonly (string | number)[],
    signal?: AbortSignal,
  ): Promise<LogReply> => {
    const reply = await calls.script(script, scriptKeys, values, { signal });
    const [status = '', ...rest] = (reply as readonly unknown[]).map(String);
    if (status === 'upgrade') throw formatError(`${scriptKeys[0]}`, rest[0] ?? '', LOG_FORMAT);
    return { status, values: rest };
  };
  const pause = (attempt: number, signal?: AbortSource): Promise<void> =>
    sleep(clock, backoffMs(attempt, RETRY_BACKOFF, random), { signal });
  const again = async (
    script: RedisScript,
    scriptKeys: readonly string[],
    values: readonly (string | number)[],
    signal?: AbortSignal,
  ): Promise<LogReply> => {
    throwIfAborted(signal);
    using scope = abortScope({ clock, parents: [signal], timeoutMs });
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await run(script, scriptKeys, values, scope.signal);
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (scope.signal.aborted) throw unknown(script.name, 'its time was up', error);
        if (!isCoordinationError(error, 'RESULT_UNKNOWN')) throw error;
        // When the time ends here, the next attempt says so.
        await pause(attempt, scope.signal).catch(() => {});
      }
    }
  };
  return {
    once: (script, incarnation, values) => run(script, keysOf(incarnation), values),
    ask: (script, incarnation, values, signal) =>
      again(script, keysOf(incarnation), values, signal),
    askKey: (script, key, values, signal) =>
      again(script, [keys.key(`${namespace}:${keyDigest(key)}`, ':key')], values, signal),
    askIndex: (script, values, signal) => again(script, indexKeys, values, signal),
    pause,
  };
}
