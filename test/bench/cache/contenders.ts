// npm's caches as a user sets them up in front of Redis, behind one small interface: a node of an
// application that reads through its cache, and takes an entry away.

import { Redis } from 'ioredis';
import { createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';
import { redisCache } from 'tricord/redis';
import { type BentoModule, load, TTL } from './peers.js';
import { TTL_MS } from './workload.js';

export type Load = () => Promise<unknown>;

/** One node's cache. */
export interface ContenderNode {
  getOrLoad(key: string, load: Load): Promise<unknown>;
  delete(key: string): Promise<unknown>;
  close(): Promise<unknown>;
}

export interface Contender {
  readonly name: string;
  /** Opens a node; the nodes of one `name` share what is in Redis. */
  open(url: string, name: string): Promise<ContenderNode>;
}

interface Store {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown, ttl?: number): Promise<unknown>;
  delete(key: string): Promise<unknown>;
  disconnect(): Promise<unknown>;
}

type KeyvModule = { readonly default: new (options: object) => Store };
type KeyvRedisModule = { readonly default: new (url: string) => object };

const tricord: Contender = {
  name: 'tricord',
  async open(url, name) {
    const client = new Redis(url);
    client.on('error', () => {});
    const tiers = [memoryCache({ entriesMax: 10_000 }), redisCache({ client })];
    const cache = createCache<unknown>({ name, tiers, ttlMs: TTL_MS });
    return {
      getOrLoad: (key, loader) => cache.getOrLoad(key, loader),
      delete: (key) => cache.delete(key),
      async close() {
        await cache.close({ drainMs: 100 }).catch(() => {});
        client.disconnect();
      },
    };
  },
};

const bentocache = (folder: string): Contender => ({
  name: 'bentocache',
  async open(url, name) {
    const { BentoCache, bentostore } = await load<BentoModule>(folder, 'bentocache');
    const { memoryDriver } = await load<{ memoryDriver(options: object): unknown }>(
      folder,
      'bentocache/drivers/memory',
    );
    const { redisDriver, redisBusDriver } = await load<{
      redisDriver(options: object): unknown;
      redisBusDriver(options: object): unknown;
    }>(folder, 'bentocache/drivers/redis');
    const { hostname: host, port } = new URL(url);
    const connection = { host, port: Number(port) };
    const store = bentostore()
      .useL1Layer(memoryDriver({ maxItems: 10_000 }))
      .useL2Layer(redisDriver({ connection }))
      .useBus(redisBusDriver({ connection }));
    const cache = new BentoCache({ default: 'both', stores: { both: store }, ttl: TTL });
    return {
      getOrLoad: (key, factory) => cache.getOrSet({ key: `${name}:${key}`, factory }),
      delete: (key) => cache.delete({ key: `${name}:${key}` }),
      close: () => cache.disconnect(),
    };
  },
});

const cacheable = (folder: string): Contender => ({
  name: 'cacheable',
  async open(url, name) {
    const { Cacheable } = await load<{
      Cacheable: new (
        options: object,
      ) => Store & { getOrSet(key: string, load: Load, options: object): Promise<unknown> };
    }>(folder, 'cacheable');
    const { default: KeyvRedis } = await load<KeyvRedisModule>(folder, '@keyv/redis');
    const cache = new Cacheable({ secondary: new KeyvRedis(url), ttl: TTL });
    return {
      getOrLoad: (key, loader) => cache.getOrSet(`${name}:${key}`, loader, { ttl: TTL }),
      delete: (key) => cache.delete(`${name}:${key}`),
      close: () => cache.disconnect(),
    };
  },
});

const cacheManager = (folder: string): Contender => ({
  name: 'cache-manager',
  async open(url, name) {
    const { createCache: create } = await load<{
      createCache(options: object): Pick<Store, 'disconnect'> & {
        wrap(key: string, load: Load, ttl: number): Promise<unknown>;
        del(key: string): Promise<unknown>;
      };
    }>(folder, 'cache-manager');
    const { default: Keyv } = await load<KeyvModule>(folder, 'keyv');
    const { default: KeyvRedis } = await load<KeyvRedisModule>(folder, '@keyv/redis');
    const cache = create({ stores: [new Keyv({}), new Keyv({ store: new KeyvRedis(url) })] });
    return {
      getOrLoad: (key, loader) => cache.wrap(`${name}:${key}`, loader, TTL_MS),
      delete: (key) => cache.del(`${name}:${key}`),
      close: () => cache.disconnect(),
    };
  },
});

const keyv = (folder: string): Contender => ({
  name: 'keyv, by hand',
  async open(url, name) {
    const { default: Keyv } = await load<KeyvModule>(folder, 'keyv');
    const { default: KeyvRedis } = await load<KeyvRedisModule>(folder, '@keyv/redis');
    const cache = new Keyv({ store: new KeyvRedis(url), namespace: name });
    return {
      async getOrLoad(key, loader) {
        const found = await cache.get(key);
        if (found !== undefined) return found;
        const value = await loader();
        await cache.set(key, value, TTL_MS);
        return value;
      },
      delete: (key) => cache.delete(key),
      close: () => cache.disconnect(),
    };
  },
});

const asyncCacheDedupe = (folder: string): Contender => ({
  name: 'async-cache-dedupe',
  async open(url, name) {
    const { createCache: create } = await load<{
      createCache(options: object): {
        define(name: string, options: object, load: (key: string) => Promise<unknown>): void;
        clear(name: string, key: string): Promise<unknown>;
        load(key: string): Promise<unknown>;
      };
    }>(folder, 'async-cache-dedupe');
    const client = new Redis(url);
    client.on('error', () => {});
    const loaders = new Map<string, Load>();
    const storage = { type: 'redis', options: { client } };
    const cache = create({ ttl: TTL_MS / 1_000, storage });
    // It takes the references of its entries from the loader's key.
    cache.define('load', {}, (key) => loaders.get(key)?.() ?? Promise.resolve(undefined));
    return {
      getOrLoad(key, loader) {
        loaders.set(`${name}:${key}`, loader);
        return cache.load(`${name}:${key}`);
      },
      delete: (key) => cache.clear('load', `${name}:${key}`),
      close: async () => client.disconnect(),
    };
  },
});

/** tricord first. `folder`: where the packages are installed. */
export function contenders(folder: string): readonly Contender[] {
  const peers = [bentocache, cacheable, cacheManager, keyv, asyncCacheDedupe];
  return [tricord, ...peers.map((open) => open(folder))];
}
