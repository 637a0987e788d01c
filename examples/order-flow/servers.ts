import { createDatabase, dropDatabase } from '../../test/servers/postgresql.js';
import {
  fromEnvironment,
  type ServerKind,
  type SharedServer,
  startPostgres,
  startRedis,
  startZookeeper,
  variableOf,
} from '../../test/servers/provider.js';
import type { Cleanup } from './cleanup.js';
import type { Coordination } from './cords.js';
import type { Options } from './options.js';
import type { Databases } from './postgres-stores.js';

/** What a sale over real servers works with. */
export interface Servers {
  readonly coordination: Coordination;
  readonly databases: Databases;
  /** A line each: which server, which version, where from. */
  readonly surroundings: readonly string[];
}

/** A transaction keeps a prepared branch in each store while it is decided. */
const PREPARED_MAX = 200;
const CONNECTIONS_MAX = '300';

/** Takes the servers of the flags, else of the environment, else starts some; makes three databases. */
export async function openServers(options: Options, cleanup: Cleanup): Promise<Servers> {
  const opening = [openCoordination(options, cleanup), openPostgres(options, cleanup)] as const;
  // Where one of them fails, the other is waited for all the same, so that it is ended, too.
  await Promise.allSettled(opening);
  const [coordination, postgres] = await Promise.all(opening);
  return {
    coordination:
      coordination.kind === 'redis'
        ? { drivers: 'redis', url: coordination.url }
        : { drivers: 'zookeeper', servers: coordination.url },
    databases: await openDatabases(postgres.url, cleanup),
    surroundings: [coordination, postgres].map(describe),
  };
}

function openCoordination(options: Options, cleanup: Cleanup): Promise<SharedServer> {
  if (options.drivers === 'zookeeper') {
    return find('zookeeper', 'zookeeper', options.zookeeper, cleanup, () => startZookeeper());
  }
  // A decision is durable before it is told: it must survive a loss of power.
  const start = () => startRedis({ appendonly: 'always' });
  return find('redis', 'redis-url', options.redisUrl, cleanup, start);
}

function openPostgres(options: Options, cleanup: Cleanup): Promise<SharedServer> {
  const config = { max_connections: CONNECTIONS_MAX };
  const start = () => startPostgres({ maxPreparedTransactions: PREPARED_MAX, config });
  return find('postgresql', 'postgres-url', options.postgresUrl, cleanup, start);
}

async function find(
  kind: ServerKind,
  flag: string,
  url: string | undefined,
  cleanup: Cleanup,
  start: () => Promise<SharedServer & AsyncDisposable>,
): Promise<SharedServer> {
  const variable = variableOf(kind);
  if (url !== undefined) process.env[variable] = url;
  const given = await fromEnvironment(kind).catch((error: unknown) => {
    const from = url === undefined ? variable : `--${flag}`;
    throw new Error(`no ${kind} server answers at the address in ${from}`, { cause: error });
  });
  if (given !== undefined) return given;
  const server = await start();
  cleanup.add(() => server[Symbol.asyncDispose]());
  return server;
}

/** Databases of this sale alone; each participant is a database of its own. */
async function openDatabases(url: string, cleanup: Cleanup): Promise<Databases> {
  const open = async (name: string): Promise<string> => {
    const database = await createDatabase(url, `tricord_${name}`);
    cleanup.add(() => dropDatabase(database));
    return database;
  };
  return {
    stock: await open('stock'),
    payments: await open('payments'),
    orders: await open('orders'),
  };
}

function describe({ kind, version, source, address }: SharedServer): string {
  const origin = source === 'environment' ? 'as given' : `started for this sale (${source})`;
  return `${kind} ${version} at ${address}, ${origin}`;
}
