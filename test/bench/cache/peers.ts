// The caches that are compared, behind small interfaces. The packages are installed into a private
// temporary folder by the bench, because their peer dependencies exclude each other.

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const PEERS = [
  ...['bentocache@1.6.1', 'cacheable@2.5.0', 'cache-manager@7.2.9', 'keyv@5.6.0'],
  ...['@keyv/redis@5.1.6', 'async-cache-dedupe@3.4.0', 'memjs@1.3.2', 'ioredis@5.8.2'],
];

/** Where the npm packages are; `dispose` removes the folder. */
export interface InstalledPeers extends AsyncDisposable {
  readonly folder: string;
  readonly versions: string;
}

export async function installPeers(): Promise<InstalledPeers> {
  const folder = await mkdtemp(join(tmpdir(), 'tricord-peers-'));
  await writeFile(join(folder, 'package.json'), '{"private":true}');
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--legacy-peer-deps'];
  await promisify(execFile)('npm', ['install', ...quiet, ...PEERS], { cwd: folder });
  return {
    folder,
    versions: PEERS.map((peer) => peer.replace(/@(?=\d)/, ' ')).join(', '),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Loads a package of the folder, whichever module system it has. */
export async function load<Module>(folder: string, name: string): Promise<Module> {
  const path = createRequire(join(folder, 'package.json')).resolve(name);
  return import(pathToFileURL(path).href);
}

/** One library's memory. */
export interface MemoryPeer {
  readonly name: string;
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown): Promise<unknown>;
  close(): Promise<unknown>;
}

interface KeyValue {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown, ttl?: number): Promise<unknown>;
  disconnect(): Promise<unknown>;
}

interface Bento {
  get(options: { readonly key: string }): Promise<unknown>;
  set(options: { readonly key: string; readonly value: unknown }): Promise<unknown>;
  getOrSet(options: { readonly key: string; readonly factory: () => unknown }): Promise<unknown>;
  delete(options: { readonly key: string }): Promise<unknown>;
  disconnect(): Promise<unknown>;
}

export interface BentoModule {
  readonly BentoCache: new (options: object) => Bento;
  readonly bentostore: () => {
    useL1Layer(layer: unknown): ReturnType<BentoModule['bentostore']>;
    useL2Layer(layer: unknown): ReturnType<BentoModule['bentostore']>;
    useBus(bus: unknown): ReturnType<BentoModule['bentostore']>;
  };
}

export const TTL = '10m';

/** Each library with its memory alone, at its defaults. */
export async function memoryPeers(folder: string): Promise<MemoryPeer[]> {
  const { BentoCache, bentostore } = await load<BentoModule>(folder, 'bentocache');
  const { memoryDriver } = await load<{ memoryDriver(options: object): unknown }>(
    folder,
    'bentocache/drivers/memory',
  );
  const stores = { memory: bentostore().useL1Layer(memoryDriver({ maxItems: 10_000 })) };
  const bento = new BentoCache({ default: 'memory', stores, ttl: TTL });
  const { Cacheable } = await load<{ Cacheable: new (options: object) => KeyValue }>(
    folder,
    'cacheable',
  );
  const cacheable = new Cacheable({ ttl: TTL });
  const { createCache } = await load<{ createCache(options: object): KeyValue }>(
    folder,
    'cache-manager',
  );
  const manager = createCache({ ttl: 600_000 });
  const { default: Keyv } = await load<{ default: new (options?: object) => KeyValue }>(
    folder,
    'keyv',
  );
  const keyv = new Keyv();
  const plain = (name: string, cache: KeyValue, ttl?: number): MemoryPeer => ({
    name,
    get: (key) => cache.get(key),
    set: (key, value) => cache.set(key, value, ttl),
    close: async () => cache.disconnect?.(),
  });
  return [
    {
      name: 'bentocache get',
      get: (key) => bento.get({ key }),
      set: (key, value) => bento.set({ key, value }),
      close: () => bento.disconnect(),
    },
    plain('cacheable get', cacheable),
    plain('cache-manager get', manager),
    plain('keyv get', keyv, 600_000),
  ];
}

/** memjs, with promises and texts. */
export function openMemjs(folder: string, address: string) {
  const { Client } = createRequire(join(folder, 'package.json'))('memjs') as {
    Client: {
      create(servers: string): {
        get(key: string): Promise<{ readonly value: Buffer | null }>;
        set(key: string, value: string, options: { readonly expires: number }): Promise<boolean>;
        close(): void;
      };
    };
  };
  const client = Client.create(address);
  return {
    get: async (key: string): Promise<string | undefined> =>
      (await client.get(key)).value?.toString(),
    set: (key: string, value: string) => client.set(key, value, { expires: 600 }),
    close: () => client.close(),
  };
}
