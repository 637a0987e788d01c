import { assertFunction, assertIterable } from './arguments.js';
import type { Cache } from './cache.js';

/**
 * A text for a key made of plain data: the same for equal data, whatever the order of its properties.
 *
 * ```ts
 * stableKey({ sku: 42, country: 'eu' }); // '{"country":"eu","sku":42}'
 * ```
 */
export function stableKey(key: unknown): string {
  return JSON.stringify(key, (_, value: unknown) => {
    if (typeof value === 'bigint') return { $bigint: String(value) };
    const isPlain = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isPlain) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

/** A cache by keys of another type than text. */
export function keyedCache<Value, Key>(
  cache: Cache<Value>,
  keyOf: (key: Key) => string,
): Cache<Value, Key> {
  assertFunction('keyOf', keyOf);
  /** Several keys by their texts; of equal ones the first. */
  const textsOf = (keys: Iterable<Key>): Map<string, Key> => {
    assertIterable('keys', keys);
    const byText = new Map<string, Key>();
    for (const key of keys) {
      const text = keyOf(key);
      if (!byText.has(text)) byText.set(text, key);
    }
    return byText;
  };
  const named = <Found>(byText: ReadonlyMap<string, Key>, found: ReadonlyMap<string, Found>) =>
    new Map(Array.from(found, ([text, value]) => [byText.get(text) as Key, value]));

  return {
    ...cache,
    get: async (key, options) => cache.get(keyOf(key), options),
    peek: (key) => cache.peek(keyOf(key)),
    has: async (key, options) => cache.has(keyOf(key), options),
    getOrLoad: async (key, loader, options) => cache.getOrLoad(keyOf(key), loader, options),
    async getMany(keys, options) {
      const byText = textsOf(keys);
      return named(byText, await cache.getMany(byText.keys(), options));
    },
    async getOrLoadMany(keys, loadMany, options) {
      const byText = textsOf(keys);
      assertFunction('loadMany', loadMany);
      const load: Parameters<typeof cache.getOrLoadMany>[1] = async (texts, { signal, of }) => {
        const missing = texts.map((text) => byText.get(text) as Key);
        const found = await loadMany(missing, { signal, of: (key) => of(keyOf(key)) });
        return Array.from(found, ([key, value]) => [keyOf(key), value] as const);
      };
      return named(byText, await cache.getOrLoadMany(byText.keys(), load, options));
    },
    set: async (key, value, options) => cache.set(keyOf(key), value, options),
    async setMany(entries, options) {
      assertIterable('entries', entries);
      const pairs = Array.from(entries, ([key, value]) => [keyOf(key), value] as const);
      return cache.setMany(pairs, options);
    },
    delete: async (key, options) => cache.delete(keyOf(key), options),
    deleteMany: async (keys, options) => cache.deleteMany(textsOf(keys).keys(), options),
    touch: async (key, options) => cache.touch(keyOf(key), options),
    update: async (key, commit, options) => cache.update(keyOf(key), commit, options),
  };
}
