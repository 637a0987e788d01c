// A process that takes a lock, and writes through a fence when it is told to, lease or no lease:
// node fence-holder.ts ‹config as JSON›

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createLock, isCoordinationError } from '../../src/index.js';
import { postgresFence } from '../../src/postgres.js';
import { redisFence, redisLock } from '../../src/redis.js';

export interface HolderConfig {
  readonly redisUrl: string;
  /** With it the write goes to PostgreSQL, else to Redis. */
  readonly postgresUrl?: string;
  readonly resource: string;
  readonly ttlMs: number;
}

export interface Holder extends AsyncDisposable {
  readonly child: ChildProcess;
  /** The next line that it writes. */
  line(): Promise<string>;
  /** Tells it to write; answers `written` or the error's code and both tokens. */
  write(): Promise<string>;
}

/** Starts a holder; its first line is the token that it was granted. */
export function startFenceHolder(config: HolderConfig): Holder {
  const file = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, ['--import', 'tsx', file, JSON.stringify(config)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const line = async () => String((await lines.next()).value);
  return {
    child,
    line,
    async write() {
      child.stdin.write('write\n');
      return line();
    },
    async [Symbol.asyncDispose]() {
      const exited = once(child, 'exit');
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGKILL');
      await exited;
    },
  };
}

async function writeToPostgres(url: string, resource: string, token: bigint): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query('begin');
    await postgresFence().advance(client, resource, token);
    await client.query('update report set body = $1', ['of the paused holder']);
    await client.query('commit');
  } finally {
    await client.end();
  }
}

async function main(config: HolderConfig): Promise<void> {
  const { redisUrl, postgresUrl, resource, ttlMs } = config;
  const client = new Redis(redisUrl);
  const lock = createLock({ driver: redisLock({ client }) });
  const { fencingToken } = await lock.acquire(resource, { ttlMs });
  if (fencingToken === undefined) throw new Error('a lease of one master has a token');
  process.stdout.write(`${fencingToken}\n`);
  for await (const _ of createInterface({ input: process.stdin })) {
    try {
      if (postgresUrl === undefined) {
        await redisFence({ client }).write(resource, fencingToken, 'of the paused holder');
      } else {
        await writeToPostgres(postgresUrl, resource, fencingToken);
      }
      process.stdout.write('written\n');
    } catch (error) {
      if (!isCoordinationError(error, 'FENCE_STALE')) throw error;
      const { token, newest } = error.details;
      process.stdout.write(`${error.code} ${token} < ${newest}\n`);
    }
  }
}

const [, script, text] = process.argv;
if (text !== undefined && script === fileURLToPath(import.meta.url)) await main(JSON.parse(text));
