import { assertFunction } from './arguments.js';
import type {
  Cache,
  CacheCallOptions,
  CacheFencedOptions,
  CacheReadOptions,
  CacheWriteOptions,
  LoadContext,
  LoadManyContext,
} from './cache.js';

/** What a read-through loads with. */
export interface ReadThroughOptions<Value, Key = string> {
  /** Finds the value of a key; `undefined` means that there is none. */
  readonly load: (key: Key, context: LoadContext) => Value | undefined | Promise<Value | undefined>;
  /** Finds the values of several keys by one question to the source. Default: `load` for each. */
  readonly loadMany?:
    | ((
        keys: readonly Key[],
        context: LoadManyContext<Key>,
      ) =>
        | Iterable<readonly [key: Key, value: Value]>
        | Promise<Iterable<readonly [key: Key, value: Value]>>)
    | undefined;
}

/** A cache that knows where its values come from. */
export interface ReadThrough<Value, Key = string> {
  /** The value of a key, loaded where it is not there; as `getOrLoad`. */
  get(key: Key, options?: CacheWriteOptions & CacheReadOptions): Promise<Value | undefined>;
  /** The values of several keys that have one; as `getOrLoadMany`. */
  getMany(keys: Iterable<Key>, options?: CacheWriteOptions): Promise<Map<Key, Value>>;
  /** Removes an entry, so that the next read loads; as `delete`. */
  invalidate(key: Key, options?: CacheCallOptions & CacheFencedOptions): Promise<void>;
}

/**
 * The read-through policy: readers ask for keys, and one function says how they are loaded.
 *
 * ```ts
 * const products = readThrough(catalog, { load: (sku) => findProduct(sku) });
 * await products.get('42');
 * ```
 *
 * @throws TypeError (INVALID_ARGUMENT) without functions.
 */
export function readThrough<Value, Key = string>(
  cache: Cache<Value, Key>,
  { load, loadMany }: ReadThroughOptions<Value, Key>,
): ReadThrough<Value, Key> {
  assertFunction('load', load);
  if (loadMany !== undefined) assertFunction('loadMany', loadMany);
  const loadEach: NonNullable<typeof loadMany> = async (keys, { of }) => {
    const found: (readonly [Key, Value])[] = [];
    const loadOne = async (key: Key): Promise<void> => {
      const value = await load(key, of(key));
      if (value !== undefined) found.push([key, value as Value]);
    };
    await Promise.all(keys.map(loadOne));
    return found;
  };
  return {
    get: async (key, options) =>
      cache.getOrLoad<Value | undefined>(key, (context) => load(key, context), options),
    getMany: async (keys, options) => cache.getOrLoadMany(keys, loadMany ?? loadEach, options),
    invalidate: async (key, options) => cache.delete(key, options),
  };
}

/** What a write-through writes with. */
export interface WriteThroughOptions<Value, Key = string> {
  /** Writes the value to the source, and resolves when it is committed. */
  readonly write: (key: Key, value: Value, context: WriteContext) => unknown;
  /** Removes a key from the source. Without it `delete` rejects. */
  readonly remove?: ((key: Key, context: WriteContext) => unknown) | undefined;
}

/** What a write to the source is given. */
export interface WriteContext {
  /** The caller's, or one that is aborted when the write takes too long. */
  readonly signal: AbortSignal | undefined;
}

/** A cache whose writes go to the source first. */
export interface WriteThrough<Value, Key = string> {
  /** Writes to the source, and then has the value; as `update` with `value`. */
  set(key: Key, value: Value, options?: CacheWriteOptions & CacheFencedOptions): Promise<void>;
  /** Removes from the source, and from the cache around it; as `update`. */
  delete(key: Key, options?: CacheCallOptions & CacheFencedOptions): Promise<void>;
}

/**
 * The write-through policy: a write goes to the source, and the cache has its value afterwards, in the
 * order that leaves no old value behind, whoever dies in between.
 *
 * ```ts
 * const stock = writeThrough(cache, { write: (sku, count) => saveStock(sku, count) });
 * await stock.set('42', 7);
 * ```
 *
 * @throws TypeError (INVALID_ARGUMENT) without functions.
 */
export function writeThrough<Value, Key = string>(
  cache: Cache<Value, Key>,
  { write, remove }: WriteThroughOptions<Value, Key>,
): WriteThrough<Value, Key> {
  assertFunction('write', write);
  if (remove !== undefined) assertFunction('remove', remove);
  return {
    async set(key, value, options) {
      await cache.update(key, (context) => write(key, value, context), { ...options, value });
    },
    async delete(key, options) {
      assertFunction('remove', remove);
      await cache.update(key, (context) => remove?.(key, context), options);
    },
  };
}
