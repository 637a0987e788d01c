// Real servers for tests, benches, the soak runner and the examples.
//
//   await using redis = await startRedis({ appendonly: 'always' });   // a server of one's own
//   const client = new Redis(redis.url);
//   await redis.pause();  await redis.resume();  await redis.kill();  await redis.restart();
//   const proxy = await redis.proxy();                                 // see proxy.ts
//
// A server of one's own comes from Docker (by testcontainers) where that runs, else from programs of
// this machine, which are installed with apt-get where that needs no question. It listens on a free
// port of 127.0.0.1, lives in a private temporary folder, and is gone with the process that started
// it, however that ends. Suites that only use a server take the shared one: see shared.ts.
//
// To add a kind of server: a `Recipe` in a file of its own, a row in RECIPES and a start function.

import { containerEngine } from './container-engine.js';
import type { Engine, ServerHandle, ServerKind, ServerSource, SharedServer } from './handle.js';
import { createMariadbDatabase, type MariadbOptions, mariadbRecipe } from './mariadb.js';
import { memcachedRecipe } from './memcached.js';
import { createDatabase, type PostgresOptions, postgresRecipe } from './postgresql.js';
import { processEngine } from './process-engine.js';
import { createProxy } from './proxy.js';
import type { Recipe, Site } from './recipe.js';
import { type RedisOptions, redisRecipe } from './redis.js';
import { findPrograms, findSource } from './source.js';
import { noteVersion } from './versions.js';
import { eventually } from './wire.js';
import { type ZookeeperOptions, zookeeperRecipe } from './zookeeper.js';
import { expireSession, sessionsOf } from './zookeeper-session.js';

export type {
  Endpoint,
  ServerHandle,
  ServerKind,
  SharedServer,
} from './handle.js';

const RECIPES: Readonly<Partial<Record<ServerKind, Recipe<unknown, unknown>>>> = {
  redis: redisRecipe,
  zookeeper: zookeeperRecipe,
  postgresql: postgresRecipe,
  memcached: memcachedRecipe,
  mariadb: mariadbRecipe,
};

const READY_TIMEOUT_MS = 60_000;
const START_ATTEMPTS_MAX = 3;

/** A Redis server of one's own. */
export async function startRedis(options: RedisOptions = {}): Promise<ServerHandle> {
  return start(redisRecipe, options);
}

export interface ZookeeperHandle extends ServerHandle {
  /** Ids of the sessions that the server knows. */
  sessions(): Promise<bigint[]>;
  /** Ends a session by its id, as if its client had been silent for its time-out. */
  expireSession(sessionId: bigint): Promise<void>;
}

/** A ZooKeeper server of one's own. */
export async function startZookeeper(options: ZookeeperOptions = {}): Promise<ZookeeperHandle> {
  const server = await start(zookeeperRecipe, options);
  return Object.assign(server, {
    sessions: () => sessionsOf(server),
    expireSession: (sessionId: bigint) => expireSession(server, sessionId),
  });
}

export interface PostgresHandle extends ServerHandle {
  /** Makes a database of its own (the name gets a unique ending) and answers its address. */
  createDatabase(name?: string): Promise<string>;
}

/** A PostgreSQL server of one's own. */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresHandle> {
  const server = await start(postgresRecipe, options);
  return Object.assign(server, {
    createDatabase: (name?: string) => createDatabase(server.url, name),
  });
}

export interface MariadbHandle extends ServerHandle {
  /** Makes a database of its own (the name gets a unique ending) and answers its address. */
  createDatabase(name?: string): Promise<string>;
}

/** A MariaDB server of one's own. */
export async function startMariadb(options: MariadbOptions = {}): Promise<MariadbHandle> {
  const server = await start(mariadbRecipe, options);
  return Object.assign(server, {
    createDatabase: (name?: string) => createMariadbDatabase(server.url, name),
  });
}

/** The server that the environment names for a kind, if it does; it must answer. */
export async function fromEnvironment(kind: ServerKind): Promise<SharedServer | undefined> {
  const recipe = recipeOf(kind);
  const url = process.env[recipe.variable];
  if (url === undefined || url === '') return undefined;
  const endpoint = recipe.endpoint(url);
  const version = await eventually(() => recipe.probe(url), {
    timeoutMs: 5_000,
  }).catch((error) => {
    throw new Error(`${recipe.variable} is set, but no ${kind} server answers there`, {
      cause: error,
    });
  });
  noteVersion(kind, version, 'environment');
  const address = kind === 'zookeeper' ? url : `${endpoint.host}:${endpoint.port}`;
  const proxy = () => createProxy({ ...endpoint, url });
  return {
    ...endpoint,
    kind,
    address,
    url,
    version,
    source: 'environment',
    proxy,
  };
}

/** A server of one's own with default options, by its kind. */
export function startServer(kind: ServerKind): Promise<ServerHandle> {
  return start(recipeOf(kind), kind === 'postgresql' ? { maxPreparedTransactions: 200 } : {});
}

/** Makes sure that servers of these kinds can be started, which may install their programs. */
export async function prepareServers(kinds: readonly ServerKind[]): Promise<void> {
  for (const kind of kinds) await findSource(recipeOf(kind));
}

/** The environment variable that names a server of a kind. */
export const variableOf = (kind: ServerKind): string => recipeOf(kind).variable;

function recipeOf(kind: ServerKind): Recipe<unknown, unknown> {
  const recipe = RECIPES[kind];
  if (recipe === undefined) throw new Error(`the tests know no ${kind} server`);
  return recipe;
}

async function start<Options, Programs>(
  recipe: Recipe<Options, Programs>,
  options: Options,
): Promise<ServerHandle> {
  for (let attempt = 1; ; attempt += 1) {
    const { engine, source } = await openEngine(recipe, options);
    try {
      return await handle(recipe, options, engine, source);
    } catch (error) {
      const log = await engine.log();
      await engine.remove();
      // Somebody may have taken the port between the choice and the start.
      if (attempt >= START_ATTEMPTS_MAX || !/in use|bind/i.test(log)) {
        throw new Error(`the ${recipe.kind} server did not start\n${log}`, { cause: error });
      }
    }
  }
}

async function openEngine<Options, Programs>(
  recipe: Recipe<Options, Programs>,
  options: Options,
): Promise<{ engine: Engine; source: ServerSource }> {
  const found = await findSource(recipe);
  if (found.from === 'docker') {
    try {
      return { engine: await containerEngine(recipe.planContainer(options)), source: 'docker' };
    } catch (error) {
      if (process.env.TRICORD_SERVERS === 'docker') throw error;
      // An engine without its images and without a way to them is no reason to give up.
      process.stderr.write(`no ${recipe.kind} by Docker (${String(error)}); using a program\n`);
    }
  }
  const programs = found.from === 'binaries' ? found.programs : await findPrograms(recipe);
  const plan = (site: Site) => recipe.planProcess(programs, site, options);
  return { engine: await processEngine(recipe.kind, plan), source: 'binaries' };
}

async function handle<Options, Programs>(
  recipe: Recipe<Options, Programs>,
  options: Options,
  engine: Engine,
  source: ServerSource,
): Promise<ServerHandle> {
  const { host, port } = engine;
  const url = recipe.url(engine, options);
  const serve = async () => {
    await engine.start();
    const isHopeless = () => !engine.isRunning;
    return eventually(() => recipe.probe(url), {
      timeoutMs: READY_TIMEOUT_MS,
      isHopeless,
    });
  };
  const version = await serve();
  noteVersion(recipe.kind, version, source);
  return {
    kind: recipe.kind,
    host,
    port,
    address: `${host}:${port}`,
    url,
    version,
    source,
    get isRunning() {
      return engine.isRunning;
    },
    proxy: () => createProxy({ host, port, url }),
    stop: () => engine.stop(),
    kill: () => engine.kill(),
    pause: () => engine.pause(),
    resume: () => engine.resume(),
    log: () => engine.log(),
    async restart() {
      await engine.stop();
      await serve();
    },
    [Symbol.asyncDispose]: () => engine.remove(),
  };
}
