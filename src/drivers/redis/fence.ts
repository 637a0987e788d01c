import { type Clock, systemClock } from '../../core/clock.js';
import {
  fenceStaleError,
  paddedFencingToken,
  parseFencingToken,
} from '../../core/fencing-token.js';
import {
  assertNumber,
  assertOptions,
  assertResourceId,
  assertTtlMs,
  invalidArgument,
} from '../../core/validate.js';
import { REPLY_TIMEOUT_MS_DEFAULT, redisCalls } from './calls.js';
import { assertClient, type RedisArgument, type RedisClient } from './client.js';
import { fenceKeys } from './fence-keys.js';
import { FENCED, newestOf } from './fence-script.js';

/** Options of {@link redisFence}. */
export interface RedisFenceOptions {
  /** The service's own ioredis client (`Redis` or `Cluster`, 5 or 6). It is never closed. */
  readonly client: RedisClient;
  /** Keeps deployments on one Redis apart: 1 to 64 of `[A-Za-z0-9_.-]`. Default `default`. */
  readonly namespace?: string | undefined;
  /**
   * The newest token of a resource is forgotten so many milliseconds after it was last used; a
   * holder that was paused for longer is no longer refused. By default it is kept for ever, about
   * 150 bytes a resource.
   */
  readonly retainMs?: number | undefined;
  /** How long one reply is awaited, in milliseconds. Default 2,000. */
  readonly replyTimeoutMs?: number | undefined;
  /** Source of time for that wait. Default the machine's. */
  readonly clock?: Clock | undefined;
}

/** Options of a call to a {@link RedisFence}. */
export interface RedisFenceCallOptions {
  /** Gives up the call; what was sent may still take effect. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link RedisFence.write}. */
export interface RedisFenceWriteOptions extends RedisFenceCallOptions {
  /** The value expires after so many milliseconds. By default it does not. */
  readonly ttlMs?: number | undefined;
}

/**
 * Keeps late writes of former lock holders out of Redis. Made by {@link redisFence}.
 *
 * Keys are non-empty texts of at most 1,024 bytes. A token is `lease.fencingToken`: a bigint, or its
 * decimal text. Every method rejects with FENCE_STALE, naming both tokens, when a newer token was
 * seen for the key, and then changed nothing. An equal token is the same holder and is welcome.
 *
 * Without an answer a method rejects with RESULT_UNKNOWN; calling it again with the same token and
 * value is safe. BACKEND_UNAVAILABLE says that nothing was changed.
 */
export interface RedisFence {
  /** Sets the key to the value and remembers the token, in one step. Others read it with GET. */
  write(
    key: string,
    token: bigint | string,
    value: string | Uint8Array,
    options?: RedisFenceWriteOptions,
  ): Promise<void>;
  /** Removes the key and remembers the token, in one step. */
  delete(key: string, token: bigint | string, options?: RedisFenceCallOptions): Promise<void>;
  /**
   * Remembers the token, so that older ones are refused from now on: for work that Redis cannot see,
   * where the key is only a name. Call it first thing under a new lease.
   */
  advance(key: string, token: bigint | string, options?: RedisFenceCallOptions): Promise<void>;
  /**
   * Changes nothing: whether the token would be refused now. It guards only what happens before a
   * newer token arrives; where the work itself is a write to Redis, `write` guards all of it.
   */
  check(key: string, token: bigint | string, options?: RedisFenceCallOptions): Promise<void>;
  /** Lets go of the client. It stays open. */
  close(): Promise<void>;
}

type Verb = 'write' | 'delete' | 'advance' | 'check';

interface FenceCall {
  readonly verb: Verb;
  readonly key: string;
  readonly token: bigint | string;
  readonly value?: RedisArgument;
  readonly ttlMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The resource's side of a lock: a holder that was paused past its lease writes too late, and is
 * refused by the newest token that the resource has seen (Kleppmann, "How to do distributed
 * locking", 2016; Burrows, "The Chubby lock service", 2006, sequencers).
 *
 * ```ts
 * const fence = redisFence({ client });
 * await using lease = await lock.acquire('report', { ttlMs: 10_000 });
 * await fence.write('report', lease.fencingToken, JSON.stringify(report));
 * ```
 *
 * The token is kept beside the value, in the same slot of a cluster, and checked in one script. It
 * holds against every client that writes through a fence of the same namespace, as long as the
 * Redis keeps its data: set `maxmemory-policy noeviction` and `appendonly yes`.
 *
 * @throws TypeError (INVALID_ARGUMENT) for an ill-formed client, namespace or number.
 */
export function redisFence(options: RedisFenceOptions): RedisFence {
  assertOptions(options, '{ client }');
  const { client, retainMs, clock = systemClock } = options;
  const { replyTimeoutMs: timeoutMs = REPLY_TIMEOUT_MS_DEFAULT } = options;
  assertClient(client);
  if (retainMs !== undefined) assertTtlMs(retainMs, 'retainMs');
  assertNumber('replyTimeoutMs', timeoutMs, { min: 1 });
  const keysOf = fenceKeys(client, options.namespace);
  const calls = redisCalls({ client, clock, timeoutMs });

  const run = async ({ verb, key, token, value = '', ttlMs, signal }: FenceCall): Promise<void> => {
    assertResourceId(key, 'key');
    const given = parseFencingToken(token);
    const keys = keysOf(key);
    const values = [verb, paddedFencingToken(given), value, wholeMs(ttlMs), wholeMs(retainMs)];
    const reply = (await calls.script(FENCED, keys, values, { signal })) as readonly unknown[];
    if (reply[0] === 'ok') return;
    const newest = newestOf(`${keys[0]}`, String(reply[1]));
    throw fenceStaleError(key, given, newest);
  };
  return {
    async write(key, token, value, { ttlMs, signal } = {}) {
      if (typeof value !== 'string' && !(value instanceof Uint8Array)) {
        throw invalidArgument('value', value, 'a string or bytes');
      }
      if (ttlMs !== undefined) assertTtlMs(ttlMs);
      await run({ verb: 'write', key, token, value, ttlMs, signal });
    },
    delete: (key, token, call) => run({ verb: 'delete', key, token, signal: call?.signal }),
    advance: (key, token, call) => run({ verb: 'advance', key, token, signal: call?.signal }),
    check: (key, token, call) => run({ verb: 'check', key, token, signal: call?.signal }),
    async close() {
      calls.dispose();
    },
  };
}

/** Redis takes whole milliseconds. Empty for none. */
function wholeMs(ms: number | undefined): string {
  return ms === undefined ? '' : String(Math.ceil(ms));
}
