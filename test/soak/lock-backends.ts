// The backends of the lock's nemesis: real servers, a proxy a process, and what can be done to them.

import type { ServerHandle } from '../servers/handle.js';
import { startRedis } from '../servers/provider.js';
import type { CuttingProxy } from '../servers/proxy.js';
import { startZookeeperEnsemble, type ZookeeperMember } from '../servers/zookeeper-ensemble.js';
import { type NemesisDriver, QUORUM_TTL_MS, SESSION_TIMEOUT_MS } from './lock-drivers.js';

export interface NemesisBackend extends AsyncDisposable {
  readonly driver: NemesisDriver;
  /** What it runs on, for the report. */
  readonly description: string;
  readonly ttlMs: number;
  readonly hasModes: boolean;
  /** The servers; a fault meets one at a time, or all of them where there is one. */
  readonly servers: readonly ServerHandle[];
  /** Whether a server that is frozen or gone leaves nobody to answer. */
  readonly isSilentWithoutOne: boolean;
  /** How long it takes to serve as before when a server is back, in milliseconds. */
  readonly recoveryMs: number;
  /** Proxies of one process, one a server; their addresses are what it connects to. */
  connect(): Promise<readonly CuttingProxy[]>;
  /** Cuts one server off from the others, and answers how to join it again. */
  isolate?(pick: (count: number) => number): () => Promise<void>;
  /** Ends one session, where there are sessions. Tells what it did. */
  killSession?(pick: (count: number) => number): Promise<string>;
}

const REDIS_TTL_MS = 1_500;

export async function startBackend(driver: NemesisDriver): Promise<NemesisBackend> {
  switch (driver) {
    case 'redis':
      return redisBackend();
    case 'zookeeper':
      return zookeeperBackend();
    case 'quorum':
      return quorumBackend();
  }
}

async function redisBackend(): Promise<NemesisBackend> {
  // Whatever it acknowledged survives its kill, so that exclusion has no excuse.
  const server = await startRedis({ appendonly: 'always' });
  return {
    driver: 'redis',
    description: `redis ${server.version}, appendfsync always`,
    ttlMs: REDIS_TTL_MS,
    hasModes: true,
    servers: [server],
    isSilentWithoutOne: true,
    recoveryMs: 1_000,
    connect: async () => [await server.proxy()],
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function quorumBackend(): Promise<NemesisBackend> {
  const servers = await Promise.all([1, 2, 3].map(() => startRedis({ appendonly: 'always' })));
  return {
    driver: 'quorum',
    description: `3 independent redis ${servers[0]?.version}, appendfsync always`,
    ttlMs: QUORUM_TTL_MS,
    hasModes: false,
    servers,
    isSilentWithoutOne: false,
    // A node that was restarted stays out for the longest TTL.
    recoveryMs: QUORUM_TTL_MS + 1_000,
    connect: () => Promise.all(servers.map((server) => server.proxy())),
    async [Symbol.asyncDispose]() {
      for (const server of servers) await server[Symbol.asyncDispose]();
    },
  };
}

/** An election after the leader's end, on two busy processors. */
const ELECTION_MS = 6_000;

async function zookeeperBackend(): Promise<NemesisBackend> {
  const ensemble = await startZookeeperEnsemble({ tickTimeMs: 200 });
  const { members } = ensemble;
  return {
    driver: 'zookeeper',
    description: `an ensemble of 3 zookeeper ${ensemble.version}`,
    // A lease lasts for the smaller of its TTL and the session's time-out.
    ttlMs: SESSION_TIMEOUT_MS,
    hasModes: true,
    servers: members,
    isSilentWithoutOne: false,
    recoveryMs: ELECTION_MS,
    connect: () => Promise.all(members.map((member) => member.proxy())),
    isolate(pick) {
      ensemble.isolate(members[pick(members.length)] as ZookeeperMember);
      return () => ensemble.heal();
    },
    async killSession(pick) {
      const sessions = await ensemble.sessions();
      const id = sessions[pick(sessions.length)];
      if (id === undefined) return 'no session';
      await ensemble.expireSession(id);
      return `session 0x${id.toString(16)}`;
    },
    [Symbol.asyncDispose]: () => ensemble[Symbol.asyncDispose](),
  };
}
