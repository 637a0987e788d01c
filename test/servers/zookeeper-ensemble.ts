// A real ZooKeeper ensemble: three processes that elect a leader, each of which can be harmed.
//
//   await using ensemble = await startZookeeperEnsemble({ tickTimeMs: 200 });
//   const session = zookeeper({ servers: ensemble.url });
//   await (await ensemble.leader()).kill();
//   ensemble.isolate(member);  await ensemble.heal();                 // cut off from the other servers
//   ensemble.lag(member);      ensemble.catchUp(member);              // hears of nothing, for a while
//
// Its servers talk to each other through proxies of the process that started them, so that each can
// be cut off from the others while clients still reach it.

import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Engine, ServerHandle } from './handle.js';
import { freePort } from './ports.js';
import { processEngine } from './process-engine.js';
import { type CuttingProxy, createProxy } from './proxy.js';
import type { Site } from './recipe.js';
import { findPrograms } from './source.js';
import { noteVersion } from './versions.js';
import { ask, eventually } from './wire.js';
import { machineArguments, type ZookeeperOptions, zooCfg, zookeeperRecipe } from './zookeeper.js';
import { expireSession, sessionsOf } from './zookeeper-session.js';

const READY_TIMEOUT_MS = 60_000;

/** What a server says of itself: the leader decides; one without a majority serves nobody. */
export type MemberMode = 'leader' | 'follower' | 'none';

/** One server of an ensemble. `restart()` waits until it serves, which needs a majority. */
export interface ZookeeperMember extends ServerHandle {
  /** 1, 2, 3. */
  readonly id: number;
  mode(): Promise<MemberMode>;
}

export interface ZookeeperEnsemble extends AsyncDisposable {
  /** All servers, as a client takes them: `host:port,host:port,host:port`. */
  readonly url: string;
  readonly version: string;
  readonly members: readonly ZookeeperMember[];
  /** Whoever leads now; waits for an election. */
  leader(): Promise<ZookeeperMember>;
  followers(): Promise<readonly ZookeeperMember[]>;
  /** Cuts a server off from the others, and every connection that it had to them. */
  isolate(member: ZookeeperMember): void;
  /** Holds back all that a server and the others tell each other; it goes on serving as it is. */
  lag(member: ZookeeperMember): void;
  /** Ends that, before the others give the server up: what was held back arrives. */
  catchUp(member: ZookeeperMember): void;
  /** Ends every isolation. */
  heal(): Promise<void>;
  /** Ids of the sessions that the leader knows. */
  sessions(): Promise<bigint[]>;
  /** Ends a session by its id, as if its client had been silent for its time-out. */
  expireSession(sessionId: bigint): Promise<void>;
}

export interface EnsembleOptions extends ZookeeperOptions {
  /** How many servers. Default 3. */
  readonly size?: number | undefined;
}

/** Starts an ensemble of programs of this machine, and waits until it has a leader. */
export async function startZookeeperEnsemble(
  options: EnsembleOptions = {},
): Promise<ZookeeperEnsemble> {
  const { size = 3 } = options;
  const programs = await findPrograms(zookeeperRecipe);
  const peers = await Promise.all(Array.from({ length: size }, (_, index) => peerOf(index + 1)));
  const links = await linksBetween(peers);
  const plan = (peer: Peer) => async (site: Site) => {
    const configuration = join(site.folder, 'zoo.cfg');
    await mkdir(join(site.folder, 'data'));
    await writeFile(join(site.folder, 'data', 'myid'), String(peer.id));
    const servers = viewOf(peer, peers, links);
    await writeFile(
      configuration,
      zooCfg(site, { ...options, config: { ...options.config, ...servers } }),
    );
    return { command: programs.java, args: machineArguments(programs, options, configuration) };
  };
  const engines = await Promise.all(peers.map((peer) => processEngine('zookeeper', plan(peer))));
  const ensemble = ensembleOf(peers, engines, links);
  try {
    await Promise.all(engines.map((engine) => engine.start()));
    const versions = await Promise.all(ensemble.members.map((member) => ready(member)));
    noteVersion('zookeeper', versions[0] ?? '', 'binaries');
    return Object.assign(ensemble, { version: versions[0] ?? '' });
  } catch (error) {
    const logs = await Promise.all(engines.map((engine) => engine.log()));
    await ensemble[Symbol.asyncDispose]();
    throw new Error(`the ensemble did not start\n${logs.join('\n')}`, { cause: error });
  }
}

/** Where a server listens for the others. */
interface Peer {
  readonly id: number;
  readonly quorumPort: number;
  readonly electionPort: number;
}

/** A way from one server to a port of another. */
interface PeerLink {
  readonly from: number;
  readonly to: number;
  readonly quorum: CuttingProxy;
  readonly election: CuttingProxy;
}

const HOST = '127.0.0.1';

async function peerOf(id: number): Promise<Peer> {
  return { id, quorumPort: await freePort(), electionPort: await freePort() };
}

async function linksBetween(peers: readonly Peer[]): Promise<PeerLink[]> {
  const pairs = peers.flatMap((from) => peers.filter((to) => to !== from).map((to) => [from, to]));
  return Promise.all(
    (pairs as [Peer, Peer][]).map(async ([from, to]) => ({
      from: from.id,
      to: to.id,
      quorum: await createProxy({ host: HOST, port: to.quorumPort }),
      election: await createProxy({ host: HOST, port: to.electionPort }),
    })),
  );
}

/** The list of servers as one of them sees it: itself directly, the others through its proxies. */
function viewOf(
  own: Peer,
  peers: readonly Peer[],
  links: readonly PeerLink[],
): Record<string, string> {
  return Object.fromEntries(
    peers.map(({ id, quorumPort, electionPort }) => {
      const link = links.find(({ from, to }) => from === own.id && to === id);
      const ports =
        link === undefined ? [quorumPort, electionPort] : [link.quorum.port, link.election.port];
      return [`server.${id}`, [HOST, ...ports].join(':')];
    }),
  );
}

function ensembleOf(
  peers: readonly Peer[],
  engines: readonly Engine[],
  links: readonly PeerLink[],
): ZookeeperEnsemble {
  const members = engines.map((engine, index) => memberOf(peers[index]?.id ?? 0, engine));
  const proxies = links.flatMap(({ quorum, election }) => [quorum, election]);
  const withMode = async (wanted: MemberMode): Promise<ZookeeperMember[]> => {
    const modes = await Promise.all(members.map((member) => member.mode()));
    return members.filter((_, index) => modes[index] === wanted);
  };
  const leader = () =>
    eventually(
      async () => {
        const [first] = await withMode('leader');
        if (first === undefined) throw new Error('no server leads');
        return first;
      },
      { timeoutMs: READY_TIMEOUT_MS },
    );
  const around = ({ id }: ZookeeperMember): CuttingProxy[] =>
    links
      .filter(({ from, to }) => from === id || to === id)
      .flatMap(({ quorum, election }) => [quorum, election]);
  return {
    url: members.map(({ address }) => address).join(','),
    version: '',
    members,
    leader,
    followers: () => withMode('follower'),
    isolate(member) {
      for (const proxy of around(member)) {
        proxy.refuse();
        proxy.cut();
      }
    },
    lag(member) {
      for (const proxy of around(member)) proxy.freeze();
    },
    catchUp(member) {
      for (const proxy of around(member)) proxy.thaw();
    },
    heal: async () => void (await Promise.all(proxies.map((proxy) => proxy.pass()))),
    sessions: async () => sessionsOf(await leader()),
    expireSession: async (sessionId) => expireSession(await leader(), sessionId),
    async [Symbol.asyncDispose]() {
      await Promise.all(engines.map((engine) => engine.remove()));
      await Promise.all(proxies.map((proxy) => proxy.close()));
    },
  };
}

function memberOf(id: number, engine: Engine): ZookeeperMember {
  const { host, port } = engine;
  const address = `${host}:${port}`;
  const member: ZookeeperMember = {
    kind: 'zookeeper',
    ...{ id, host, port, address, url: address, version: '', source: 'binaries' },
    get isRunning() {
      return engine.isRunning;
    },
    async mode() {
      const answer = await ask(engine, 'srvr').catch(() => '');
      return (/Mode: (leader|follower)/.exec(answer)?.[1] ?? 'none') as MemberMode;
    },
    proxy: () => createProxy({ host, port, url: address }),
    stop: () => engine.stop(),
    kill: () => engine.kill(),
    pause: () => engine.pause(),
    resume: () => engine.resume(),
    log: () => engine.log(),
    async restart() {
      await engine.stop();
      await engine.start();
      await ready(member);
    },
    [Symbol.asyncDispose]: () => engine.remove(),
  };
  return member;
}

/** Waits until a server serves, and answers its version. */
function ready(member: ZookeeperMember): Promise<string> {
  return eventually(() => zookeeperRecipe.probe(member.url), {
    timeoutMs: READY_TIMEOUT_MS,
    isHopeless: () => !member.isRunning,
  });
}
