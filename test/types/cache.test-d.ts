import { Cluster, Redis } from 'ioredis';
import { expectTypeOf, test } from 'vitest';
import type { Cache, CacheDriver, CacheStats, Codec, StandardSchema } from '../../src/index.js';
import { createCache, readThrough, writeBehind, writeThrough } from '../../src/index.js';
import { memoryCache } from '../../src/memory.js';
import { redisCache } from '../../src/redis.js';

interface Product {
  readonly name: string;
}
declare const cache: Cache<Product>;
declare const product: Product;

test('clients of ioredis fit as they are, and drivers are tiers', () => {
  expectTypeOf(redisCache({ client: new Redis() })).toExtend<CacheDriver>();
  expectTypeOf(redisCache({ client: new Cluster([]) })).toExtend<CacheDriver>();
  const tiers = [memoryCache({ entriesMax: 10 }), redisCache({ client: new Redis() })];
  expectTypeOf(createCache<Product>({ name: 'c', tiers, ttlMs: 1 })).toEqualTypeOf<
    Cache<Product>
  >();
  // @ts-expect-error there is no default for ttlMs
  createCache({ name: 'c', tiers });
});

test('a loader that always finds gives the value; one that may not gives undefined too', () => {
  expectTypeOf(cache.getOrLoad('k', () => product)).resolves.toEqualTypeOf<Product>();
  expectTypeOf(cache.getOrLoad('k', async () => product)).resolves.toEqualTypeOf<Product>();
  const maybe = async (): Promise<Product | undefined> => undefined;
  expectTypeOf(cache.getOrLoad('k', maybe)).resolves.toEqualTypeOf<Product | undefined>();
  expectTypeOf(cache.get('k')).resolves.toEqualTypeOf<Product | undefined>();
  expectTypeOf(cache.peek('k')).toEqualTypeOf<Product | undefined>();
  expectTypeOf(cache.update('k', async () => 7)).resolves.toEqualTypeOf<number>();
  // @ts-expect-error not a Product
  cache.getOrLoad('k', () => 7);
  // @ts-expect-error not a Product
  cache.set('k', 7);
});

test('a schema gives the type of the values', () => {
  const validate = (): { value: Product } => ({ value: product });
  const schema: StandardSchema<Product> = { '~standard': { version: 1, validate } };
  const given = { name: 'c', tiers: [memoryCache()], ttlMs: 1, schema };
  expectTypeOf(createCache(given)).toEqualTypeOf<Cache<Product>>();
  const keyOf = (id: number): string => `${id}`;
  expectTypeOf(createCache({ ...given, keyOf })).toEqualTypeOf<Cache<Product, number>>();
  // @ts-expect-error a schema of something else
  createCache<number>({ name: 'c', tiers: [memoryCache()], ttlMs: 1, schema });
});

test('wrap of a cache with a schema has the type of the function, which must fit', () => {
  const validate = (): { value: Product } => ({ value: product });
  const schema: StandardSchema<Product> = { '~standard': { version: 1, validate } };
  const typed = createCache({ name: 'c', tiers: [memoryCache()], ttlMs: 1, schema });
  const find = typed.wrap(async (_: number) => product, { key: (id: number) => `${id}` });
  expectTypeOf(find).parameters.toEqualTypeOf<[number]>();
  expectTypeOf(find(7)).resolves.toEqualTypeOf<Product>();
  // @ts-expect-error not a Product
  typed.wrap(async () => 7, { key: () => 'k' });
});

test('policies have the types of their cache, and codecs are of one of two forms', () => {
  const read = readThrough(cache, { load: async (key) => (key === 'k' ? product : undefined) });
  expectTypeOf(read.get('k')).resolves.toEqualTypeOf<Product | undefined>();
  const byId = {} as Cache<Product, number>;
  const write = writeThrough(byId, {
    write(key, value) {
      expectTypeOf(key).toEqualTypeOf<number>();
      expectTypeOf(value).toEqualTypeOf<Product>();
    },
  });
  write.set(7, product);
  // @ts-expect-error not a Product
  write.set(7, 'product');
  const behind = writeBehind(byId, { write: (batch) => void batch });
  expectTypeOf(behind.getOrLoad(7, () => product)).resolves.toEqualTypeOf<Product | undefined>();
  cache.update('k', () => 1, { value: product });
  // @ts-expect-error not a Product
  cache.update('k', () => 1, { value: 1 });
  // @ts-expect-error a codec of texts gives texts
  const bad: Codec = { id: 'x', form: 'text', encode: () => new Uint8Array(), decode: () => 1 };
  expectTypeOf(bad).toExtend<Codec>();
});

test('loaders know their key and signal, and stats may have no rate yet', () => {
  cache.getOrLoad('k', (context) => {
    expectTypeOf(context.key).toEqualTypeOf<string>();
    expectTypeOf(context.signal).toEqualTypeOf<AbortSignal>();
    return product;
  });
  expectTypeOf<CacheStats['hitRate']>().toEqualTypeOf<number | undefined>();
});
