// npm run examples: every example runs to its end, on real servers where it needs some.
//
// examples/*.ts each show one thing; the order flow is run as its readers run it. Exits with 1 if
// one of them does not end with exit code 0 within its time.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startPostgres, startRedis, startZookeeper } from '../servers/provider.js';

const TIMEOUT_MS = 180_000;
const root = fileURLToPath(new URL('../..', import.meta.url));
const tsx = join(root, 'node_modules', 'tsx', 'dist', 'cli.mjs');

const servers = await Promise.all([
  startRedis({ appendonly: 'always' }),
  startZookeeper(),
  startPostgres({ maxPreparedTransactions: 200, config: { max_connections: '300' } }),
]);
const [redis, zookeeper, postgres] = servers;
const environment = {
  ...process.env,
  TRICORD_REDIS_URL: redis.url,
  TRICORD_ZOOKEEPER_SERVERS: zookeeper.url,
  TRICORD_POSTGRES_URL: postgres.url,
};

const small = readdirSync(join(root, 'examples')).filter((name) => name.endsWith('.ts'));
const demo = join('examples', 'order-flow', 'start.mjs');
const examples: readonly Example[] = [
  ...small.map((name) => ({
    title: join('examples', name),
    args: [tsx, '--tsconfig', 'examples/tsconfig.json', join('examples', name)],
  })),
  ...[[], ['--drivers', 'redis'], ['--drivers', 'zookeeper']].map((flags) => ({
    title: ['npm run demo --', ...flags].join(' '),
    args: [demo, ...flags],
  })),
];
const failed = examples.filter((example) => !succeeds(example));
for (const server of servers) await server[Symbol.asyncDispose]();
process.stdout.write(
  `\n${examples.length - failed.length} examples ran, ${failed.length} did not\n`,
);
if (failed.length > 0) process.exitCode = 1;

interface Example {
  readonly title: string;
  readonly args: readonly string[];
}

function succeeds({ title, args }: Example): boolean {
  process.stdout.write(`\n=== ${title}\n`);
  const { status, signal } = spawnSync(process.execPath, args, {
    cwd: root,
    env: environment,
    stdio: ['ignore', 'inherit', 'inherit'],
    timeout: TIMEOUT_MS,
  });
  if (status !== 0) process.stdout.write(`=== ${title}: ${signal ?? `exit code ${status}`}\n`);
  return status === 0;
}
