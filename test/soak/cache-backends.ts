// The backends of the cache's nemesis: real servers, a proxy a process, and what can be done to them.

import { Redis } from 'ioredis';
import type { ServerHandle } from '../servers/handle.js';
import { startRedis, startServer } from '../servers/provider.js';
import { ask } from '../servers/wire.js';
import { startZookeeperEnsemble, type ZookeeperMember } from '../servers/zookeeper-ensemble.js';
import { CACHE_NAME, type CacheNemesisDriver, SESSION_TIMEOUT_MS } from './cache-drivers.js';
import type { NemesisBackend } from './lock-backends.js';

export interface CacheBackend extends Omit<NemesisBackend, 'driver' | 'hasModes'> {
  /** Forgets everything, or a part of it, as a full server does. */
  evict?(fraction: () => number): Promise<void>;
  /** Ends connections at the server: of those that listen, or of all. Tells how many. */
  killConnections?(which: 'pubsub' | 'normal'): Promise<number>;
}

/** How long a stop or freeze lasts at most: twice that. */
const PATIENCE_MS = 1_500;

export async function startCacheBackend(driver: CacheNemesisDriver): Promise<CacheBackend> {
  switch (driver) {
    case 'redis':
      return redisBackend();
    case 'redis-strict': {
      // A strict cache needs a server that keeps what it acknowledged.
      const { evict: _, ...backend } = await redisBackend();
      return backend;
    }
    case 'memcached':
      return memcachedBackend();
    case 'zookeeper':
      return zookeeperBackend();
  }
}

/** What one server alone is. */
function alone(server: ServerHandle) {
  return {
    ttlMs: PATIENCE_MS,
    servers: [server],
    isSilentWithoutOne: true,
    recoveryMs: 1_000,
    connect: async () => [await server.proxy()],
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function redisBackend(): Promise<CacheBackend> {
  // Whatever it acknowledged survives its kill: old values too, if one was left behind.
  const server = await startRedis({ appendonly: 'always' });
  const through = async <Reply>(call: (client: Redis) => Promise<Reply>): Promise<Reply> => {
    const client = new Redis(server.url, { lazyConnect: true, retryStrategy: () => null });
    client.on('error', () => {});
    try {
      await client.connect();
      return await call(client);
    } finally {
      client.disconnect();
    }
  };
  return {
    ...alone(server),
    description: `redis ${server.version}, appendfsync always`,
    evict: (fraction) =>
      through(async (client) => {
        const keys = await client.keys(`*:${CACHE_NAME}:*`);
        const gone = fraction() < 0.3 ? keys : keys.filter(() => fraction() < 0.4);
        if (gone.length > 0) await client.unlink(...gone);
      }),
    killConnections: (which) =>
      through(async (client) => Number(await client.call('CLIENT', 'KILL', 'TYPE', which))),
  };
}

async function memcachedBackend(): Promise<CacheBackend> {
  const server = await startServer('memcached');
  return {
    ...alone(server),
    description: `memcached ${server.version}`,
    async evict() {
      await ask(server, 'flush_all\r\n', (text) => text.includes('\r\n'));
    },
  };
}

async function zookeeperBackend(): Promise<CacheBackend> {
  const ensemble = await startZookeeperEnsemble({ tickTimeMs: 200 });
  const { members } = ensemble;
  return {
    description: `an ensemble of 3 zookeeper ${ensemble.version}`,
    ttlMs: SESSION_TIMEOUT_MS,
    servers: members,
    isSilentWithoutOne: false,
    recoveryMs: 6_000,
    connect: () => Promise.all(members.map((member) => member.proxy())),
    isolate(pick) {
      ensemble.isolate(members[pick(members.length)] as ZookeeperMember);
      return () => ensemble.heal();
    },
    async killSession(pick) {
      // Not all of its members need be back from the fault before.
      const sessions = await ensemble.sessions().catch(() => []);
      const id = sessions[pick(sessions.length)];
      if (id === undefined) return 'no session';
      await ensemble.expireSession(id).catch(() => {});
      return `session 0x${id.toString(16)}`;
    },
    [Symbol.asyncDispose]: () => ensemble[Symbol.asyncDispose](),
  };
}
