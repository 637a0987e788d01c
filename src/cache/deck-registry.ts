import type { CacheWriteOptions } from './cache.js';
import type { Deck } from './deck.js';
import type { Isolated } from './isolation.js';

/** Caches a value that was taken already; as `set` of the cache, with its kind of key. */
export type PutTaken = (
  key: unknown,
  taken: Isolated,
  options: CacheWriteOptions | undefined,
) => Promise<void>;

/** What stands behind a cache. */
export interface CacheInside {
  readonly deck: Deck;
  readonly put: PutTaken;
}

/** What stands behind the caches of this process, for what works on a cache without being part of it. */
const insides = new WeakMap<object, CacheInside>();

/** Remembers what a cache is made of, and answers the cache. */
export function withInside<Subject extends object>(cache: Subject, inside: CacheInside): Subject {
  insides.set(cache, inside);
  return cache;
}

/** What a cache is made of; undefined for what `createCache` has not made. */
export function insideOf(cache: unknown): CacheInside | undefined {
  return typeof cache === 'object' && cache !== null ? insides.get(cache) : undefined;
}
