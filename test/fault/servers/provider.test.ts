// Goal: what other suites build on holds. Servers can be stopped, killed, frozen and restarted in
// place, and none of them outlives the process that started it, however that ends.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { describe, expect, test } from 'vitest';
import {
  type Endpoint,
  startPostgres,
  startRedis,
  startZookeeper,
} from '../../servers/provider.js';
import { reapLater } from '../../servers/reaper.js';
import { ask } from '../../servers/wire.js';

const OWNER = fileURLToPath(new URL('./owner.ts', import.meta.url));

describe('a Redis of one’s own [redis]', () => {
  test('keeps what it answered over SIGKILL when its log is written always', async () => {
    await using redis = await startRedis({ appendonly: 'always' });
    const client = new Redis(redis.url, { retryStrategy: () => 20 });
    client.on('error', () => {});
    await client.set('key', 'value');
    await redis.kill();
    expect(redis.isRunning).toBe(false);
    await expect(ask(redis, 'PING\r\n')).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    });
    await redis.restart();
    expect(await client.get('key')).toBe('value');
    client.disconnect();
  });

  test('accepts while it is paused, answers nothing, and answers after resume', async () => {
    await using redis = await startRedis();
    await redis.pause();
    let isAnswered = false;
    const answer = ask(redis, 'PING\r\nQUIT\r\n').catch(String);
    void answer.then(() => {
      isAnswered = true;
    });
    await expect(ask(redis, 'PING\r\n')).rejects.toThrow('no answer');
    expect(isAnswered).toBe(true);
    await redis.resume();
    expect(await ask(redis, 'PING\r\nQUIT\r\n')).toContain('+PONG');
  });

  test('asks for its password', async () => {
    await using redis = await startRedis({ password: 'p@ss:word' });
    expect(await ask(redis, 'PING\r\nQUIT\r\n')).toContain('NOAUTH');
    expect(redis.url).toContain(encodeURIComponent('p@ss:word'));
  });
});

describe('a PostgreSQL of one’s own [postgresql]', () => {
  test('stops all its processes on pause and keeps prepared transactions over SIGKILL', async () => {
    await using postgres = await startPostgres({ maxPreparedTransactions: 3 });
    const url = await postgres.createDatabase('orders');
    await query(url, "begin; create table t (n int); prepare transaction 'p1'");
    await postgres.pause();
    await expect(query(url, 'select 1')).rejects.toThrow('timeout');
    await postgres.resume();
    expect(await query(url, 'select gid from pg_prepared_xacts')).toEqual([{ gid: 'p1' }]);
    await postgres.kill();
    await postgres.restart();
    expect(await query(url, 'select gid from pg_prepared_xacts')).toEqual([{ gid: 'p1' }]);
    await postgres.stop();
    await postgres.restart();
    expect(await query(url, 'show max_prepared_transactions')).toEqual([
      { max_prepared_transactions: '3' },
    ]);
  });
});

describe('a ZooKeeper of one’s own [zookeeper]', () => {
  test('ends a session by its id', async () => {
    await using zookeeper = await startZookeeper();
    const session = await openSession(zookeeper);
    expect(await zookeeper.sessions()).toEqual([session.id]);
    const startedAt = performance.now();
    await zookeeper.expireSession(session.id);
    expect(await zookeeper.sessions()).toEqual([]);
    await session.expired;
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  });

  test('serves again after SIGKILL at the same address', async () => {
    await using zookeeper = await startZookeeper();
    await zookeeper.kill();
    await zookeeper.restart();
    expect(await ask(zookeeper, 'ruok')).toBe('imok');
  });
});

describe('servers whose owner is gone [redis] [zookeeper] [postgresql]', () => {
  test.each(['SIGKILL', 'SIGINT', 'crash', 'exit'])('end with it: %s', async (ending) => {
    const folder = await mkdtemp(join(tmpdir(), 'tricord-owner-'));
    reapLater('folder', folder);
    // PostgreSQL runs under an account of its own.
    await chmod(folder, 0o755);
    const owner = spawn(process.execPath, ['--import', 'tsx', OWNER, ending], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { ...process.env, TMPDIR: folder },
    });
    const ended = once(owner, 'exit');
    const servers = JSON.parse(await firstLine(owner)) as Endpoint[];
    expect(servers).toHaveLength(3);
    if (ending.startsWith('SIG')) {
      for (const server of servers) expect(await accepts(server)).toBe(true);
      owner.kill(ending as NodeJS.Signals);
    }
    await ended;
    const left = () => Promise.all(servers.map(accepts));
    await expect.poll(left, { timeout: 5_000 }).toEqual([false, false, false]);
    await expect.poll(() => serverFoldersIn(folder), { timeout: 5_000 }).toEqual([]);
    await rm(folder, { recursive: true, force: true });
  });
});

const accepts = (server: Endpoint): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host: server.host, port: server.port });
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

/** What is there of servers; the loader of the owner has a cache beside them. */
const serverFoldersIn = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).filter((name) => name.startsWith('tricord-'));

/** A session of the client that tricord uses; answers its id. */
async function openSession(zookeeper: Endpoint): Promise<{ id: bigint; expired: Promise<void> }> {
  const { default: ZooKeeper } = await import('zookeeper');
  const client = new ZooKeeper({
    connect: `${zookeeper.host}:${zookeeper.port}`,
    // The client notices after two thirds of its time-out, at most once on each of two connections.
    timeout: 2_000,
  });
  const expired = new Promise<void>((resolve) => {
    client.on('close', () => resolve());
  });
  await new Promise((resolve) => client.connect({}, resolve));
  return { id: BigInt.asUintN(64, BigInt(`0x${client.client_id}`)), expired };
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stdout ?? []) {
    text += chunk;
    if (text.includes('\n')) return text;
  }
  throw new Error('the owner ended before it had started its servers');
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: 1_500,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
