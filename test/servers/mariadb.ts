import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createConnection, type RowDataPacket } from 'mysql2/promise';
import type { Endpoint } from './handle.js';
import { giveTo } from './process-engine.js';
import { accountOf, findProgram, isRoot, run } from './programs.js';
import type { Recipe, Site } from './recipe.js';

export interface MariadbOptions {
  /** Further settings, e.g. `{ 'innodb-flush-log-at-trx-commit': '2' }`. */
  readonly config?: Readonly<Record<string, string>> | undefined;
}

interface MariadbPrograms {
  readonly installDb: string;
  readonly server: string;
}

const USER = 'tricord';
const PASSWORD = 'not-a-secret';
const SERVICE_ACCOUNT = 'mysql';
/** A user of any host; what `MARIADB_USER` of the image makes may not create databases. */
const INIT_SQL = [
  `create user if not exists '${USER}'@'%' identified by '${PASSWORD}';`,
  `grant all privileges on *.* to '${USER}'@'%' with grant option;`,
  '',
].join('\n');

/** One MariaDB server. It keeps its defaults of durability: what tests prove of it must be true. */
export const mariadbRecipe: Recipe<MariadbOptions, MariadbPrograms> = {
  kind: 'mariadb',
  variable: 'TRICORD_MARIADB_URL',
  packages: ['mariadb-server'],

  async findPrograms() {
    const folders = ['/opt/homebrew/bin', '/usr/local/bin'];
    const [installDb, server] = await Promise.all([
      findProgram('mariadb-install-db', folders),
      findProgram('mariadbd', folders),
    ]);
    return installDb === undefined || server === undefined ? undefined : { installDb, server };
  },

  async planProcess({ installDb, server }, { host, port, folder }: Site, options) {
    const data = join(folder, 'data');
    const initFile = join(folder, 'init.sql');
    await mkdir(data, { mode: 0o700 });
    await writeFile(initFile, INIT_SQL, { mode: 0o644 });
    await giveTo(SERVICE_ACCOUNT, folder);
    await giveTo(SERVICE_ACCOUNT, data);
    const account = isRoot() ? await accountOf(SERVICE_ACCOUNT) : {};
    const shape = ['--no-defaults', `--datadir=${data}`, '--skip-test-db', '--cross-bootstrap'];
    // Only its own folder for scratch files: the system's may be closed to the account.
    const small = [`--tmpdir=${folder}`, '--innodb-flush-log-at-trx-commit=0'];
    const login = ['--auth-root-authentication-method=normal'];
    await run(installDb, [...shape, ...login, ...small], { cwd: folder, ...account });
    const values = {
      datadir: data,
      tmpdir: folder,
      socket: join(folder, 'socket'),
      'pid-file': join(folder, 'pid'),
      'bind-address': host,
      port: String(port),
      'init-file': initFile,
      'innodb-buffer-pool-size': '32M',
    };
    const args = ['--no-defaults', ...switches(values), ...settings(options)];
    return { command: server, args, user: SERVICE_ACCOUNT };
  },

  planContainer(options) {
    return {
      image: 'mariadb:11',
      port: 3306,
      environment: {
        MARIADB_ROOT_PASSWORD: PASSWORD,
        MARIADB_ROOT_HOST: '%',
        // The entry point runs it as root, with this one addition.
        MARIADB_INITDB_SKIP_TZINFO: '1',
      },
      command: settings(options),
    };
  },

  url: ({ host, port }) => `mysql://${USER}:${PASSWORD}@${host}:${port}/mysql`,

  endpoint(url): Endpoint {
    const { hostname, port } = new URL(url);
    return { host: hostname, port: Number(port || 3306) };
  },

  async probe(url) {
    const [row] = await query(url, 'select version() as version').catch(async (error) => {
      await createUser(url);
      throw error;
    });
    return String(row?.version).split('-')[0] ?? '';
  },
};

/** Makes a database with a name of its own and answers its address. */
export async function createMariadbDatabase(url: string, name = 'database'): Promise<string> {
  const database = `${name}_${randomBytes(5).toString('hex')}`;
  await query(url, `create database \`${database}\``);
  const other = new URL(url);
  other.pathname = `/${encodeURIComponent(database)}`;
  return other.href;
}

/** Removes a database. What a test left prepared in it holds its tables: then it stays. */
export async function dropMariadbDatabase(url: string): Promise<void> {
  const database = decodeURIComponent(new URL(url).pathname.slice(1));
  const other = new URL(url);
  other.pathname = '/mysql';
  await query(other.href, `set statement lock_wait_timeout = 5 for drop database \`${database}\``);
}

/** The image knows root alone; a server that was started as a program has the user already. */
async function createUser(url: string): Promise<void> {
  const root = new URL(url);
  root.username = 'root';
  for (const sql of INIT_SQL.split('\n').filter(Boolean)) {
    await query(root.href, sql).catch(() => {});
  }
}

async function query(url: string, sql: string): Promise<RowDataPacket[]> {
  const connection = await createConnection({ uri: url, connectTimeout: 5_000 });
  // Without a listener a connection that breaks between two calls would end the process.
  connection.on('error', () => {});
  try {
    const [rows] = await connection.query<RowDataPacket[]>(sql);
    return rows;
  } finally {
    connection.destroy();
  }
}

/** Without a host cache: every test comes from the same address, under many names. */
function settings({ config = {} }: MariadbOptions): string[] {
  return ['--skip-name-resolve', ...switches(config)];
}

function switches(values: Readonly<Record<string, string>>): string[] {
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}
