import { throwIfAborted } from '../core/abort.js';
import { parseFencingToken } from '../core/fencing-token.js';
import { assertNumber, assertResourceId, assertTtlMs, invalidArgument } from '../core/validate.js';
import type { CacheFencedOptions, CacheWriteOptions } from './cache.js';
import { type Isolated, isolate } from './isolation.js';
import type { CacheSettings } from './tiers.js';

/** The options of a call, complete. */
export interface CallOptions {
  readonly ttlMs: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** The fencing token of a write. */
  readonly fence: bigint | undefined;
}

/** Checks the options of a call, fills in the cache's, and throws if the signal is aborted. */
export function callOptions(
  settings: CacheSettings,
  options: (CacheWriteOptions & CacheFencedOptions) | undefined,
): CallOptions {
  if (options === undefined) {
    const { ttlMs, timeoutMs } = settings;
    return { ttlMs, timeoutMs, signal: undefined, fence: undefined };
  }
  const { ttlMs = settings.ttlMs, timeoutMs = settings.timeoutMs, signal } = options;
  const { fencingToken } = options;
  assertTtlMs(ttlMs);
  assertNumber('timeoutMs', timeoutMs, { min: 1 });
  const fence =
    fencingToken === undefined ? undefined : parseFencingToken(fencingToken, 'fencingToken');
  throwIfAborted(signal);
  return { ttlMs, timeoutMs, signal, fence };
}

/** Checks a cache's key. */
export function assertKey(key: unknown): asserts key is string {
  assertResourceId(key, 'key');
}

/** Checks what is iterated over; a text is none, although its characters could be. */
export function assertIterable(argument: string, value: unknown): void {
  const isIterable = typeof value === 'object' && value !== null && Symbol.iterator in value;
  if (!isIterable) throw invalidArgument(argument, value, 'an array, a Set or another iterable');
}

export function assertFunction(argument: string, value: unknown): void {
  if (typeof value !== 'function') throw invalidArgument(argument, value, 'a function');
}

/** Checks what is to be stored, and copies it. */
export function newEntry(key: unknown, value: unknown): Isolated {
  assertKey(key);
  if (value === undefined) {
    throw invalidArgument('value', value, 'a value other than undefined, or call delete(key)');
  }
  return isolate(key, value);
}
