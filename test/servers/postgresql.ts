import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from 'pg';
import type { Endpoint } from './handle.js';
import { giveTo } from './process-engine.js';
import { accountOf, findProgram, isRoot, run, versionedFolders } from './programs.js';
import type { Recipe, Site } from './recipe.js';

export interface PostgresOptions {
  /** 0 as PostgreSQL itself has it makes PREPARE TRANSACTION fail. Default 64. */
  readonly maxPreparedTransactions?: number | undefined;
  /** Further settings, e.g. `{ log_min_duration_statement: '0' }`. */
  readonly config?: Readonly<Record<string, string>> | undefined;
}

interface PostgresPrograms {
  readonly initdb: string;
  readonly postgres: string;
}

const USER = 'tricord';
const PASSWORD = 'not-a-secret';
const SERVICE_ACCOUNT = 'postgres';

/** One PostgreSQL server. It keeps fsync on: what tests prove of durability must be true. */
export const postgresRecipe: Recipe<PostgresOptions, PostgresPrograms> = {
  kind: 'postgresql',
  variable: 'TRICORD_POSTGRES_URL',
  packages: ['postgresql'],

  async findPrograms() {
    const folders = await versionedFolders('/usr/lib/postgresql', 'bin');
    const [initdb, postgres] = await Promise.all([
      findProgram('initdb', folders),
      findProgram('postgres', folders),
    ]);
    return initdb === undefined || postgres === undefined ? undefined : { initdb, postgres };
  },

  async planProcess({ initdb, postgres }, { port, folder }: Site, options) {
    const data = join(folder, 'data');
    await mkdir(data, { mode: 0o700 });
    await writeFile(join(folder, 'password'), PASSWORD, { mode: 0o644 });
    await giveTo(SERVICE_ACCOUNT, folder);
    await giveTo(SERVICE_ACCOUNT, data);
    const login = ['-U', USER, '-A', 'scram-sha-256', `--pwfile=${join(folder, 'password')}`];
    const account = isRoot() ? await accountOf(SERVICE_ACCOUNT) : {};
    const shape = ['-D', data, '--no-sync', '-E', 'UTF8', '--locale=C'];
    await run(initdb, [...shape, ...login], { cwd: folder, ...account });
    const place = ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', ''];
    return {
      command: postgres,
      args: [...place, ...settings(options)],
      user: SERVICE_ACCOUNT,
      // "Fast" shutdown; on SIGTERM it would wait for its clients.
      stopSignal: 'SIGINT',
    };
  },

  planContainer(options) {
    return {
      image: 'postgres:16',
      port: 5432,
      environment: {
        POSTGRES_USER: USER,
        POSTGRES_PASSWORD: PASSWORD,
        POSTGRES_DB: 'postgres',
      },
      command: settings(options),
    };
  },

  url: ({ host, port }) => `postgresql://${USER}:${PASSWORD}@${host}:${port}/postgres`,

  endpoint(url): Endpoint {
    const { hostname, port } = new URL(url);
    return { host: hostname, port: Number(port || 5432) };
  },

  async probe(url) {
    const version = await query(url, 'show server_version');
    return String(version[0]?.server_version).split(' ')[0] ?? '';
  },
};

/** The same server's address of another database. */
export function databaseUrl(url: string, database: string): string {
  const other = new URL(url);
  other.pathname = `/${encodeURIComponent(database)}`;
  return other.href;
}

/** Makes a database with a name of its own and answers its address. */
export async function createDatabase(url: string, name = 'database'): Promise<string> {
  const database = `${name}_${randomBytes(5).toString('hex')}`;
  await query(url, `create database "${database}"`);
  return databaseUrl(url, database);
}

/** Removes a database with everything in it, prepared transactions and connections included. */
export async function dropDatabase(url: string): Promise<void> {
  const database = decodeURIComponent(new URL(url).pathname.slice(1));
  const prepared = await query(url, 'select gid from pg_prepared_xacts where database = $1', [
    database,
  ]);
  for (const { gid } of prepared) {
    await query(url, `rollback prepared '${String(gid).replaceAll("'", "''")}'`);
  }
  await query(databaseUrl(url, 'postgres'), `drop database "${database}" with (force)`);
}

async function query(url: string, sql: string, values?: unknown[]) {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
  });
  // Without a listener a connection that breaks between two calls would end the process.
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query<Record<string, unknown>>(sql, values);
    return rows;
  } finally {
    await client.end().catch(() => {});
  }
}

function settings({ maxPreparedTransactions = 64, config = {} }: PostgresOptions): string[] {
  const values = {
    max_prepared_transactions: String(maxPreparedTransactions),
    ...config,
  };
  return Object.entries(values).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}
