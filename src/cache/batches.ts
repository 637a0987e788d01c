import { CoordinationError, isCoordinationError } from '../core/errors.js';
import { assertFunction, assertIterable, assertKey, callOptions } from './arguments.js';
import type { CacheCallOptions, CacheWriteOptions, ManyLoader } from './cache.js';
import type { Deck } from './deck.js';
import { loadBatch } from './load-batch.js';
import type { CacheReader } from './reading.js';

/**
 * What is there of several keys. The reads leave in one turn, so that a driver can send them together.
 */
export async function getMany(
  reader: CacheReader,
  keys: Iterable<string>,
  options: CacheCallOptions | undefined,
): Promise<Map<string, unknown>> {
  const unique = uniqueKeys(keys);
  return found(unique, await Promise.all(unique.map((key) => reader.get(key, options))));
}

/**
 * The same with a loader for those that no tier has: each key has its own flight and lease, as in
 * `getOrLoad`, and their loads meet in one call.
 */
export async function getOrLoadMany(
  deck: Deck,
  reader: CacheReader,
  keys: Iterable<string>,
  { loadMany, options }: ManyRequest,
): Promise<Map<string, unknown>> {
  assertFunction('loadMany', loadMany);
  callOptions(deck, options);
  const unique = uniqueKeys(keys);
  const batch = loadBatch(unique, loadMany);
  const read = async (key: string): Promise<unknown> => {
    try {
      return await reader.getOrLoad(key, batch.load, options, () => batch.pass(key));
    } finally {
      batch.pass(key);
    }
  };
  return found(unique, await Promise.all(unique.map(read)));
}

interface ManyRequest {
  readonly loadMany: ManyLoader<unknown>;
  readonly options: CacheWriteOptions | undefined;
}

/** Several keys, each once. */
export function uniqueKeys(keys: Iterable<string>): string[] {
  assertIterable('keys', keys);
  const unique = Array.from(new Set(keys));
  for (const key of unique) assertKey(key);
  return unique;
}

function found(keys: readonly string[], values: readonly unknown[]): Map<string, unknown> {
  const map = new Map<string, unknown>();
  for (const [index, key] of keys.entries()) {
    const value = values[index];
    if (value !== undefined) map.set(key, value);
  }
  return map;
}

/** Waits for all writes, then tells of those that were not acknowledged, in one error. */
export async function allOrTold(writes: readonly Promise<void>[]): Promise<void> {
  const results = await Promise.allSettled(writes);
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  const [first] = errors;
  if (!isCoordinationError(first, 'CACHE_TIER_UNREACHABLE')) {
    if (errors.length > 0) throw first;
    return;
  }
  const unreached = errors.filter((error) => isCoordinationError(error, 'CACHE_TIER_UNREACHABLE'));
  const keys = unreached.flatMap((error) => error.details.keys);
  const message = `${keys.length} of ${writes.length} keys: ${first.message}`;
  const details = { tier: first.details.tier, keys };
  throw new CoordinationError('CACHE_TIER_UNREACHABLE', message, details, { cause: first });
}
