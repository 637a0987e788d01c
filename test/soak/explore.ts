import { parseArgs } from 'node:util';
import { systemRandom } from '../../src/core/random.js';
import {
  type CrashWorld,
  crashWorld,
  LOGS,
  type LogName,
  RESOURCES,
  type ResourceName,
} from '../integration/explore-crashes-world.js';
import { startMariadb, startPostgres, startRedis, startZookeeper } from '../servers/provider.js';
import type { Round, RoundResult, Soak } from './soak.js';

/**
 * Two deaths at every point; less with `--pairs N`. One log or set of resources alone:
 * `--log redis --resources postgres+mariadb`.
 */
const CONCURRENCY = 8;

/** The crash explorer over every pair and some triples of resources, on each log, all points. */
export const soak: Soak = {
  name: 'explore',
  command: ({ args, seed }) => `npm run soak -- explore ${[...args, '--seed', seed].join(' ')}`,

  async run({ args, seed }: Round): Promise<RoundResult> {
    const { values } = parseArgs({
      args: [...args],
      options: {
        pairs: { type: 'string', default: 'Infinity' },
        log: { type: 'string' },
        resources: { type: 'string' },
      },
    });
    const { log: onlyLog, resources: onlyResources } = values;
    await using servers = await startAll();
    let pointCount = 0;
    let violationCount = 0;
    for (const { log, resources } of matrix()) {
      if (onlyLog !== undefined && log !== onlyLog) continue;
      if (onlyResources !== undefined && resources.join('+') !== onlyResources) continue;
      const lines: string[] = [];
      const { violations, pointCount: count } = await servers.world.explore(log, resources, {
        pairsMax: Number(values.pairs),
        seed,
        concurrency: CONCURRENCY,
        print: (line) => lines.push(line),
      });
      const found = `${log} log over ${resources.join(' + ')}: ${count} points`;
      process.stdout.write(`${found}, ${violations.length} violations\n`);
      if (violations.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
      pointCount += count;
      violationCount += violations.length;
    }
    return {
      isClean: violationCount === 0,
      summary: `${pointCount} points, ${violationCount} violations`,
    };
  },
};

/** Every log with every pair, and with two triples. */
function matrix(): readonly { log: LogName; resources: readonly ResourceName[] }[] {
  const pairs = RESOURCES.flatMap((one, index) =>
    RESOURCES.slice(index + 1).map((other) => [one, other] as const),
  );
  const triples = [
    ['postgres', 'mariadb', 'redis'],
    ['postgres', 'otherPostgres', 'memory'],
    ['function', 'postgres', 'mariadb'],
  ] as const;
  return LOGS.flatMap((log) => [...pairs, ...triples].map((resources) => ({ log, resources })));
}

async function startAll(): Promise<AsyncDisposable & { readonly world: CrashWorld }> {
  const servers = await Promise.all([
    startRedis(),
    startPostgres({ maxPreparedTransactions: 200 }),
    startMariadb(),
    startZookeeper(),
  ]);
  const [redis, postgres, mariadb, zookeeper] = servers;
  const world = await crashWorld({
    redisUrl: redis.url,
    zookeeper: { servers: zookeeper.url, chroot: `/${systemRandom.token(8)}` },
    ordersUrl: await postgres.createDatabase('orders'),
    paymentsUrl: await postgres.createDatabase('payments'),
    logUrl: await postgres.createDatabase('log'),
    mariadbUrl: await mariadb.createDatabase('ledger'),
  });
  return {
    world,
    async [Symbol.asyncDispose]() {
      await world[Symbol.asyncDispose]();
      await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
    },
  };
}
