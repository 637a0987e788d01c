import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Endpoint } from './handle.js';
import { exists, findProgram } from './programs.js';
import type { Recipe, Site } from './recipe.js';
import { ask } from './wire.js';

export interface ZookeeperOptions {
  /**
   * ZooKeeper's unit of time, in milliseconds. Default 500. A session's time-out is forced into
   * 2 to 20 of them, and a dead session is noticed up to one of them late.
   */
  readonly tickTimeMs?: number | undefined;
  /** Further lines of zoo.cfg. */
  readonly config?: Readonly<Record<string, string>> | undefined;
  /** Further options of the Java machine. */
  readonly java?: readonly string[] | undefined;
}

/** What runs a server. */
export interface ZookeeperPrograms {
  readonly java: string;
  readonly classPath: string;
}

const DEFAULT_TICK_TIME_MS = 500;

/** One ZooKeeper server, alone. */
export const zookeeperRecipe: Recipe<ZookeeperOptions, ZookeeperPrograms> = {
  kind: 'zookeeper',
  variable: 'TRICORD_ZOOKEEPER_SERVERS',
  packages: ['zookeeper', 'default-jre-headless'],

  async findPrograms() {
    const java = await findProgram('java', [join(process.env.JAVA_HOME ?? '/usr', 'bin')]);
    const classPath = await findClassPath();
    return java === undefined || classPath === undefined ? undefined : { java, classPath };
  },

  async planProcess(programs, site, options) {
    const configuration = join(site.folder, 'zoo.cfg');
    await mkdir(join(site.folder, 'data'));
    await writeFile(configuration, zooCfg(site, options));
    return { command: programs.java, args: machineArguments(programs, options, configuration) };
  },

  planContainer({ tickTimeMs = DEFAULT_TICK_TIME_MS, config = {}, java = [] }) {
    const environment = {
      ZOO_TICK_TIME: String(tickTimeMs),
      ZOO_4LW_COMMANDS_WHITELIST: '*',
      ZOO_MAX_CLIENT_CNXNS: '0',
      ZOO_ADMINSERVER_ENABLED: 'false',
      ZOO_CFG_EXTRA: lines(config).join(' '),
      JVMFLAGS: java.join(' '),
    };
    return { image: 'zookeeper:3.9', port: 2181, environment };
  },

  url: ({ host, port }) => `${host}:${port}`,

  endpoint(servers): Endpoint {
    const first = servers.split('/')[0]?.split(',')[0] ?? '';
    const [host = '127.0.0.1', port = '2181'] = first.split(':');
    return { host, port: Number(port) };
  },

  async probe(servers) {
    const answer = await ask(this.endpoint(servers), 'srvr');
    const version = /Zookeeper version: ([\d.]+)/.exec(answer)?.[1];
    if (version === undefined || !answer.includes('Mode:')) {
      throw new Error(`ZooKeeper does not serve yet: ${answer.slice(0, 80)}`);
    }
    return version;
  },
};

/** The command line of one server. */
export function machineArguments(
  { classPath }: ZookeeperPrograms,
  { java = [] }: ZookeeperOptions,
  configuration: string,
): string[] {
  // Quick to start and small: the compiler that optimises would eat a core for nothing.
  const machine = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Xshare:auto'];
  const main = 'org.apache.zookeeper.server.quorum.QuorumPeerMain';
  return [...machine, ...java, '-cp', classPath, main, configuration];
}

/** The configuration file of one server. */
export function zooCfg(
  { host, port, folder }: Site,
  { tickTimeMs = DEFAULT_TICK_TIME_MS, config = {} }: ZookeeperOptions,
): string {
  const values = {
    tickTime: String(tickTimeMs),
    dataDir: join(folder, 'data'),
    clientPort: String(port),
    clientPortAddress: host,
    initLimit: '10',
    syncLimit: '5',
    maxClientCnxns: '0',
    'admin.enableServer': 'false',
    '4lw.commands.whitelist': '*',
    ...config,
  };
  return `${lines(values).join('\n')}\n`;
}

const lines = (values: Readonly<Record<string, string>>): string[] =>
  Object.entries(values).map(([name, value]) => `${name}=${value}`);

/** Debian's jar, which names the jars that it needs, or an unpacked release in ZOOKEEPER_HOME. */
async function findClassPath(): Promise<string | undefined> {
  const home = process.env.ZOOKEEPER_HOME;
  if (home !== undefined) return `${home}/lib/*:${home}/conf`;
  const folder = '/usr/share/java';
  if (!(await exists(join(folder, 'zookeeper.jar')))) return undefined;
  return [join(folder, 'zookeeper.jar'), join(folder, 'slf4j-simple.jar')].join(':');
}
