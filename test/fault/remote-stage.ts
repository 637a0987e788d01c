// The stage of the fault tests of remote participants: a store, a database for the callers and one
// for the servers, processes that end at a chosen step, and the audit.

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { systemClock } from '../../src/core/clock.js';
import { systemRandom } from '../../src/core/random.js';
import { eventually } from '../integration/postgres-stage.js';
import { startPostgres, startRedis, startZookeeper } from '../servers/provider.js';
import { bundledProcess } from './bundled-process.js';
import {
  callerOf,
  type NodeOptions,
  openStore,
  type StoreAddress,
  serverOf,
} from './remote-node.js';
import type { RemoteProcessConfig } from './remote-process.js';

const PROCESS = fileURLToPath(new URL('./remote-process.ts', import.meta.url));
const QUIET_MS = 25_000;
const STOPPED_MS = 20_000;

/** A process that meets a signal at a step, on the store or on a proxy of it. */
type ProcessOptions = Pick<RemoteProcessConfig, 'role' | 'id' | 'point' | 'signal' | 'service'> & {
  readonly through?: StoreAddress | undefined;
};

export type RemoteStage = Awaited<ReturnType<typeof remoteStage>>;

/** Whether a process is stopped by a signal, as /proc tells. */
async function isStopped({ pid }: ChildProcess): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).startsWith('T');
}

export async function remoteStage(kind: StoreAddress['kind']) {
  const [program, postgres, server] = await Promise.all([
    bundledProcess(PROCESS),
    startPostgres(),
    kind === 'redis' ? startRedis({ appendonly: 'always' }) : startZookeeper(),
  ]);
  const store: StoreAddress = { kind, url: server.url };
  const [ordersUrl, stockUrl] = [
    await postgres.createDatabase('orders'),
    await postgres.createDatabase('stock'),
  ];
  const pools = [ordersUrl, stockUrl].map((url) => new pg.Pool({ connectionString: url, max: 4 }));
  for (const pool of pools) {
    pool.on('error', () => {});
    await pool.query('create table placed (id int primary key)');
  }
  const looking = await openStore(store);
  const node = {
    nodeId: 'watch',
    namespace: 'default',
    clock: systemClock,
    random: systemRandom,
  };
  const log = looking.log.open(node);
  const calls = looking.log.openCalls?.(node);
  const children = new Set<ChildProcess>();
  const optionsOf = (databaseUrl: string, service: string, through = store): NodeOptions => ({
    store: through,
    databaseUrl,
    service,
  });
  const prepared = async (): Promise<number> => {
    const [pool] = pools;
    const { rows } = await (pool as pg.Pool).query('select gid from pg_prepared_xacts');
    return rows.length;
  };
  return {
    store,
    server,
    postgres,
    ordersUrl,
    stockUrl,
    prepared,
    caller: (service: string, through?: StoreAddress) =>
      callerOf(optionsOf(ordersUrl, service, through)),
    serve: (service: string, through?: StoreAddress) =>
      serverOf(optionsOf(stockUrl, service, through)),
    /** A process of its own that meets a signal at `point`. */
    process({ through, ...config }: ProcessOptions) {
      const databaseUrl = config.role === 'caller' ? ordersUrl : stockUrl;
      const text = JSON.stringify({ ...config, store: through ?? store, databaseUrl });
      const child = spawn(process.execPath, [program.path, text], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      children.add(child);
      const exited = once(child, 'exit').then(([code, signal]) => signal ?? code);
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const line = async (): Promise<string> => {
        const { value, done } = await lines.next();
        assert.ok(done !== true, 'the process ended before it wrote what was awaited');
        return value;
      };
      /** Resolves when SIGSTOP has met it. */
      const stopped = (): Promise<void> => eventually(async () => isStopped(child), STOPPED_MS);
      return { child, exited, line, stopped };
    },
    /** In how many of the two databases an order is. */
    async where(id: number): Promise<readonly boolean[]> {
      return Promise.all(
        pools.map(async (pool) => {
          const { rowCount } = await pool.query('select 1 from placed where id = $1', [id]);
          return rowCount === 1;
        }),
      );
    },
    /** Waits until nothing is prepared, every decision is acknowledged and no call stands. */
    async quiet(services: readonly string[]): Promise<void> {
      await eventually(async () => (await prepared()) === 0, QUIET_MS);
      await eventually(async () => {
        const statuses = await log.incarnations();
        return statuses.every(({ unacknowledgedCount }) => unacknowledgedCount === 0);
      }, QUIET_MS);
      await eventually(async () => {
        const lists = await Promise.all(services.map((service) => calls?.list(service, 100)));
        return lists.every((list) => list?.length === 0);
      }, QUIET_MS);
    },
    async [Symbol.asyncDispose]() {
      for (const child of children) child.kill('SIGKILL');
      await Promise.allSettled([log.close(), calls?.close()]);
      await looking.close();
      await Promise.all(pools.map((pool) => pool.end()));
      const started = [program, postgres, server];
      await Promise.all(started.map((each) => each[Symbol.asyncDispose]()));
    },
  };
}
