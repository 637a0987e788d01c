import { abortable, abortScope } from '../core/abort.js';
import { type Clock, systemClock } from '../core/clock.js';
import { CoordinationError, closedError, isCoordinationError } from '../core/errors.js';
import { type Random, systemRandom } from '../core/random.js';
import { assertNumber, invalidArgument } from '../core/validate.js';
import { assertFunction, callOptions } from './arguments.js';
import type { Cache, CacheCallOptions, CacheWriteOptions, Loader } from './cache.js';
import { insideOf } from './deck-registry.js';
import { handOut, type Isolated } from './isolation.js';
import type { WriteContext } from './policy-through.js';
import { type PumpOptions, type WritePump, writePump } from './write-behind-pump.js';

/** Keys with what they are to have; `undefined`: they are to be removed. */
export type WriteBatch<Value, Key = string> = readonly (readonly [
  key: Key,
  value: Value | undefined,
])[];

/** Options of {@link writeBehind}. Times are in milliseconds. */
export interface WriteBehindOptions<Value, Key = string> {
  /**
   * Writes a batch to the source, each key once in it, and resolves when all of it is committed. After
   * an error, or a process that died, the same writes may come again: they must be repeatable. One call
   * at a time, so the writes of a key reach the source in order.
   */
  readonly write: (batch: WriteBatch<Value, Key>, context: WriteContext) => unknown;
  /** So many keys wait at most, 1 to 1,000,000; default 10,000. */
  readonly pendingMax?: number | undefined;
  /** So many keys go together at most, 1 to 10,000; default 100. */
  readonly batchMax?: number | undefined;
  /** A write waits so long at most for others to go with; at least 0, default 1,000. */
  readonly flushMs?: number | undefined;
  /** What a full queue does: its writers `wait` as long as their call may take (default), or are refused. */
  readonly onFull?: 'wait' | 'refuse' | undefined;
  /** After so long the signal of `write` is aborted; at least 1, default 30,000. It is waited for. */
  readonly writeTimeoutMs?: number | undefined;
  /**
   * After a failed batch: a pause of `baseMs` (default 100) that doubles up to `maxMs` (default
   * 10,000), and after `attemptsMax` failures in a row the batch is lost (default: it is tried until
   * `close`).
   */
  readonly retry?: WriteBehindRetry | undefined;
  /** Called with what is given up, and why; it was or will be removed from the cache. */
  readonly onLost?: ((lost: WriteBatch<Value, Key>, error: unknown) => void) | undefined;
  /** The source of time. Default: the machine's. */
  readonly clock?: Clock | undefined;
  /** The source of chance. Default: the machine's. */
  readonly random?: Random | undefined;
}

/** How a failed batch is tried again. */
export interface WriteBehindRetry {
  /** The first pause, in milliseconds; at least 1, default 100. */
  readonly baseMs?: number | undefined;
  /** The longest pause, in milliseconds; at least `baseMs`, default 10,000. */
  readonly maxMs?: number | undefined;
  /** After so many failures in a row a batch is given up; default: never. */
  readonly attemptsMax?: number | undefined;
}

/** How a write-behind ended. */
export interface WriteBehindEnding<Value, Key = string> {
  /** What the source may not have: all of it was written where this is empty. */
  readonly lost: WriteBatch<Value, Key>;
}

/** What a write-behind counted, and how it is now. */
export interface WriteBehindStats {
  /** Keys that wait, those that are being written included. */
  readonly pendingCount: number;
  /** For how long the oldest waits, in milliseconds: what would be lost now is not older. */
  readonly oldestPendingMs: number | undefined;
  /** Keys that the source has. */
  readonly writtenCount: number;
  /** Writes that a later one of the same key made superfluous. */
  readonly coalescedCount: number;
  /** Calls of `write`. */
  readonly batchCount: number;
  /** Those of them that failed. */
  readonly failureCount: number;
  /** Keys that were given up. */
  readonly lostCount: number;
}

/** A cache whose writes reach the source later. */
export interface WriteBehind<Value, Key = string> extends AsyncDisposable {
  /**
   * Caches a value and queues it for the source. When it resolves, the value waits in this process: if
   * that dies within the next `flushMs` and the time of the write, it is lost.
   *
   * @throws CoordinationError CACHE_QUEUE_FULL, CACHE_VALUE_UNSUPPORTED, CLOSED.
   */
  set(key: Key, value: Value, options?: CacheWriteOptions): Promise<void>;
  /** Removes a key from the cache, and later from the source; as `set`. */
  delete(key: Key, options?: CacheCallOptions): Promise<void>;
  /**
   * As `getOrLoad` of the cache, but for what waits here: that is answered, whatever the source has.
   */
  getOrLoad(
    key: Key,
    loader: Loader<Value | undefined>,
    options?: CacheWriteOptions,
  ): Promise<Value | undefined>;
  /**
   * Resolves when the source has everything that waited when it was called, or it was given up after
   * `attemptsMax`; rejects with CLOSED when `close` gave it up.
   */
  flush(options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** What happened so far. A plain object. */
  stats(): WriteBehindStats;
  /**
   * Takes nothing more, writes what waits for up to `drainMs` (default 5,000), and answers what the
   * source may not have: that is told to `onLost` and `tricord:cache.write-behind` too, and removed
   * from the cache. Call it before the cache's `close`. Never rejects; a second call waits for the first.
   */
  close(options?: {
    readonly drainMs?: number | undefined;
  }): Promise<WriteBehindEnding<Value, Key>>;
}

const DRAIN_MS_DEFAULT = 5_000;

/**
 * The write-behind policy: a write is cached at once and reaches the source later, in batches, joined
 * by key and in order. What is not written yet lives in this process alone.
 *
 * ```ts
 * const views = writeBehind(cache, { write: (batch) => saveViews(batch), flushMs: 500 });
 * await views.set('page:1', 17);
 * await views.close();
 * ```
 *
 * Keys have one process that writes them, or writes that may overtake each other. Other processes may
 * load the old value while the new one waits, if the cache has lost it; it is cached again when it was
 * written.
 *
 * @throws TypeError (INVALID_ARGUMENT) for another object than a cache of `createCache`, and options
 * out of their bounds.
 */
export function writeBehind<Value, Key = string>(
  cache: Cache<Value, Key>,
  options: WriteBehindOptions<Value, Key>,
): WriteBehind<Value, Key> {
  const inside = insideOf(cache);
  if (inside === undefined) throw invalidArgument('cache', cache, 'a cache of createCache');
  const { deck } = inside;
  const given = checked(options, cache.name);
  const pump = writePump(cache, given);
  const { queue } = pump;
  const put = async (
    key: Key,
    local: Isolated | undefined,
    options: CacheWriteOptions | undefined,
    send: () => Promise<void>,
  ): Promise<void> => {
    await roomFor(pump, given, key, callOptions(deck, options));
    const { undo } = pump.put(key, local && { local, options });
    try {
      await send();
    } catch (error) {
      // The source gets it all the same, and then the cache again.
      if (isCoordinationError(error, 'CACHE_TIER_UNREACHABLE')) return;
      undo();
      throw error;
    }
  };
  const close: WriteBehind<Value, Key>['close'] = async ({ drainMs = DRAIN_MS_DEFAULT } = {}) => {
    assertNumber('drainMs', drainMs, { min: 0 });
    return { lost: await pump.close(drainMs) };
  };
  return {
    async set(key, value, options) {
      if (value === undefined)
        throw invalidArgument('value', value, 'a value, or call delete(key)');
      const local = deck.settings.values.take(String(key), value);
      const { signal: _, ...rest } = options ?? {};
      await put(key, local, options, () => inside.put(key, local, rest));
    },
    async delete(key, options) {
      const { signal: _, ...rest } = options ?? {};
      await put(key, undefined, options, () => cache.delete(key, rest));
    },
    async getOrLoad(key, loader, options) {
      const pending = queue.get(key);
      if (pending === undefined) return cache.getOrLoad<Value | undefined>(key, loader, options);
      const { value } = pending;
      return value && (handOut(String(key), value.local) as Value);
    },
    flush: ({ signal } = {}) => pump.flush(signal),
    stats: pump.stats,
    close,
    async [Symbol.asyncDispose]() {
      await close();
    },
  };
}

/** Waits until a key finds room, as long as its call may take. */
async function roomFor<Key, Value>(
  pump: WritePump<Key, Value>,
  { pendingMax, onFull, clock, cacheName }: PumpOptions<Key, Value>,
  key: Key,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal | undefined },
): Promise<void> {
  const sinceMs = clock.monotonicMs();
  const full = (): CoordinationError => {
    const waitedMs = Math.round(clock.monotonicMs() - sinceMs);
    const message = `${pendingMax} keys of cache ${cacheName} wait for their source already`;
    const details = { cache: cacheName, pendingMax, waitedMs };
    return new CoordinationError('CACHE_QUEUE_FULL', message, details);
  };
  if (pump.isClosed) throw closedError(`the write-behind of cache ${cacheName}`);
  if (pump.queue.hasRoom(key)) return;
  if (onFull === 'refuse') throw full();
  using scope = abortScope({ clock, parents: [signal], timeoutMs, timeoutReason: full });
  while (!pump.queue.hasRoom(key)) {
    await abortable(pump.changed(), scope.signal);
    if (pump.isClosed) throw closedError(`the write-behind of cache ${cacheName}`);
  }
}

function checked<Value, Key>(
  options: WriteBehindOptions<Value, Key>,
  cacheName: string,
): PumpOptions<Key, Value> {
  const { write, onLost, retry = {}, onFull = 'wait', clock = systemClock } = options;
  const { pendingMax = 10_000, batchMax = 100, flushMs = 1_000, writeTimeoutMs = 30_000 } = options;
  const { baseMs = 100, maxMs = 10_000, attemptsMax = Number.POSITIVE_INFINITY } = retry;
  assertFunction('write', write);
  if (onLost !== undefined) assertFunction('onLost', onLost);
  assertNumber('pendingMax', pendingMax, { min: 1, max: 1_000_000, integer: true });
  assertNumber('batchMax', batchMax, { min: 1, max: 10_000, integer: true });
  assertNumber('flushMs', flushMs, { min: 0 });
  assertNumber('writeTimeoutMs', writeTimeoutMs, { min: 1 });
  assertNumber('retry.baseMs', baseMs, { min: 1 });
  assertNumber('retry.maxMs', maxMs, { min: baseMs });
  if (attemptsMax !== Number.POSITIVE_INFINITY) {
    assertNumber('retry.attemptsMax', attemptsMax, { min: 1, integer: true });
  }
  if (onFull !== 'wait' && onFull !== 'refuse') {
    throw invalidArgument('onFull', onFull, "'wait' or 'refuse'");
  }
  const bounds = { pendingMax, batchMax, flushMs, writeTimeoutMs, onFull };
  const sources = { clock, random: options.random ?? systemRandom };
  return { cacheName, write, onLost, ...bounds, retry: { baseMs, maxMs, attemptsMax }, ...sources };
}
