import { assertFunction, assertKey } from './arguments.js';
import type { Cache, CacheWriteOptions } from './cache.js';

/** How a function is wrapped; see {@link Cache.wrap}. */
export interface WrapOptions<Args extends readonly unknown[]>
  extends Omit<CacheWriteOptions, 'tags' | 'signal'> {
  /** The key under which the result for these arguments is kept. */
  readonly key: (...args: Args) => string;
  /** What the result is invalidated by, beside its key. Default nothing. */
  readonly tags?: readonly string[] | ((...args: Args) => readonly string[]) | undefined;
}

/** A function whose results are cached. */
export interface Wrapped<Args extends readonly unknown[], Result> {
  /** The cached result for these arguments, or that of a call of the function. */
  (...args: Args): Promise<Result>;
  /** Removes the result for these arguments, as `delete` does. */
  invalidate(...args: Args): Promise<void>;
}

export function wrapWith<Args extends readonly unknown[], Result>(
  cache: Pick<Cache<unknown>, 'getOrLoad' | 'delete'>,
  fn: (...args: Args) => unknown,
  { key: keyOf, tags, ...options }: WrapOptions<Args>,
): Wrapped<Args, Result> {
  assertFunction('fn', fn);
  assertFunction('key', keyOf);
  const tagsOf = typeof tags === 'function' ? tags : () => tags;
  const call = async (...args: Args): Promise<Result> => {
    const key = keyOf(...args);
    assertKey(key);
    const given = { ...options, tags: tagsOf(...args) };
    return (await cache.getOrLoad(key, () => fn(...args), given)) as Result;
  };
  return Object.assign(call, {
    invalidate: async (...args: Args): Promise<void> => cache.delete(keyOf(...args)),
  });
}
