// What the fault tests of three-phase commit share: three nodes as processes, each with a database of
// its own, and the audit.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { setupSql } from '../../src/postgres.js';
import { eventually } from '../integration/postgres-stage.js';
import { freePort } from '../servers/ports.js';
import {
  type PostgresHandle,
  type ServerHandle,
  startPostgres,
  startRedis,
} from '../servers/provider.js';
import type { ThreePhaseConfig } from './three-phase-process.js';

export const SITES = ['orders', 'stock', 'payment'] as const;
export type SiteName = (typeof SITES)[number];

export interface NodeProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<NodeJS.Signals | number | null>;
  /** Sends a command and answers the next line. */
  ask(command: string): Promise<string>;
  tell(command: string): void;
  line(): Promise<string>;
  /** Resolves when SIGSTOP has met it. */
  stopped(): Promise<void>;
}

export interface ThreePhaseNodes extends AsyncDisposable {
  readonly postgres: PostgresHandle;
  readonly redis: ServerHandle;
  /** Where each site's server listens. */
  readonly addresses: Readonly<Record<string, string>>;
  /** Starts a node, which is ready then. */
  start(name: SiteName, options?: Partial<ThreePhaseConfig>): Promise<NodeProcess>;
  /** In which databases the order is. */
  where(id: number): Promise<readonly SiteName[]>;
  /** Databases that still hold something prepared. */
  prepared(): Promise<readonly SiteName[]>;
  /** Records that sites keep. */
  recordCount(): Promise<number>;
  /** Waits until these sites agree about an order and hold nothing prepared. */
  agreed(id: number, names: readonly SiteName[]): Promise<readonly SiteName[]>;
}

const PROCESS = fileURLToPath(new URL('./three-phase-process.ts', import.meta.url));
const AGREE_MS = 20_000;

export async function threePhaseNodes(
  transport: ThreePhaseConfig['transport'],
  zookeeperUrl?: string,
): Promise<ThreePhaseNodes> {
  const [postgres, redis] = await Promise.all([
    startPostgres(),
    startRedis({ appendonly: 'always' }),
  ]);
  const urls = new Map<SiteName, string>();
  const pools = new Map<SiteName, pg.Pool>();
  const addresses: Record<string, string> = {};
  for (const name of SITES) {
    const url = await postgres.createDatabase(`three_${name}`);
    const pool = new pg.Pool({ connectionString: url, max: 2 });
    pool.on('error', () => {});
    await pool.query(`${setupSql()};create table placed (id int primary key)`);
    urls.set(name, url);
    pools.set(name, pool);
    addresses[name] = `http://127.0.0.1:${await freePort()}/`;
  }
  const children = new Set<ChildProcess>();
  const poolOf = (name: SiteName): pg.Pool => pools.get(name) as pg.Pool;
  const some = async (text: string, values: unknown[] = []): Promise<readonly SiteName[]> => {
    const found = await Promise.all(
      SITES.map(async (name) => {
        const { rowCount } = await poolOf(name).query(text, values);
        return (rowCount ?? 0) > 0 ? [name] : [];
      }),
    );
    return found.flat();
  };
  const where = (id: number) => some('select 1 from placed where id = $1', [id]);
  const prepared = () =>
    some('select 1 from pg_prepared_xacts where database = current_database()');
  return {
    postgres,
    redis,
    addresses,
    where,
    prepared,
    async start(name, options = {}) {
      const node = startNode({
        name,
        databaseUrl: urls.get(name) ?? '',
        redisUrl: redis.url,
        transport,
        zookeeperUrl,
        addresses,
        ...options,
      });
      children.add(node.child);
      assert.equal(await node.line(), 'ready');
      return node;
    },
    async recordCount() {
      const counts = SITES.map(async (name) => {
        const { rows } = await poolOf(name).query('select count(*)::int as n from tricord.sites');
        return rows[0]?.n as number;
      });
      return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
    },
    async agreed(id, names) {
      let found: readonly SiteName[] = [];
      await eventually(async () => {
        const open = await prepared();
        found = (await where(id)).filter((name) => names.includes(name));
        const isClean = names.every((name) => !open.includes(name));
        return isClean && (found.length === 0 || found.length === names.length);
      }, AGREE_MS);
      return found;
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill('SIGKILL');
      await Promise.all(Array.from(pools.values(), (pool) => pool.end()));
      await Promise.all([postgres[Symbol.asyncDispose](), redis[Symbol.asyncDispose]()]);
    },
  };
}

function startNode(config: ThreePhaseConfig): NodeProcess {
  const child = spawn(process.execPath, ['--import', 'tsx', PROCESS, JSON.stringify(config)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child.stdin.on('error', () => {});
  const exited = once(child, 'exit').then(([code, signal]) => signal ?? code);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async (): Promise<string> => {
    const { value, done } = await lines.next();
    assert.ok(done !== true, `${config.name} ended before it wrote what was awaited`);
    return value;
  };
  const tell = (command: string): void => void child.stdin.write(`${command}\n`);
  return {
    child,
    exited,
    line,
    tell,
    stopped: () =>
      eventually(async () => {
        const stat = await readFile(`/proc/${child.pid}/stat`, 'utf8');
        return stat.includes(') T ');
      }, AGREE_MS),
    ask(command) {
      tell(command);
      return line();
    },
  };
}
