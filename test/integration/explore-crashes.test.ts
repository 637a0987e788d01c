// The crash explorer on real servers: pairs and triples of resources, each on some log. The whole
// matrix, with every point of two deaths, is `npm run soak -- explore`.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freshPrefix, measured, sharedDatabase, sharedServer } from '../servers/shared.js';
import {
  type CrashWorld,
  crashWorld,
  type LogName,
  type ResourceName,
} from './explore-crashes-world.js';

/** Two deaths are tried at so many points each, chosen by the seed; POINT plays one point alone. */
const PAIRS_MAX = 30;
const SEED = Number(process.env.TRICORD_SEED ?? 20_261);
const only = process.env.POINT;

const CASES: readonly { log: LogName; resources: ResourceName[] }[] = [
  { log: 'redis', resources: ['postgres', 'redis'] },
  { log: 'zookeeper', resources: ['postgres', 'otherPostgres'] },
  { log: 'postgres', resources: ['mariadb', 'redis'] },
  { log: 'redis', resources: ['postgres', 'mariadb', 'redis'] },
  { log: 'memory', resources: ['postgres', 'memory'] },
  { log: 'redis', resources: ['function', 'postgres'] },
];

describe('the crash explorer on servers [redis] [postgresql] [mariadb] [zookeeper]', () => {
  let world: CrashWorld;
  beforeAll(async () => {
    const [redis, zookeeper] = await Promise.all([
      sharedServer('redis'),
      sharedServer('zookeeper'),
    ]);
    const database = async (name: string) => sharedDatabase(name);
    world = await crashWorld({
      redisUrl: redis.url,
      zookeeper: { servers: zookeeper.url, chroot: `/${freshPrefix('explore')}` },
      ordersUrl: await database('orders'),
      paymentsUrl: await database('payments'),
      logUrl: await database('log'),
      mariadbUrl: await sharedDatabase('ledger', 'mariadb'),
    });
  });
  afterAll(() => world?.[Symbol.asyncDispose]());

  test.each(CASES)(
    'no point violates a rule: decided in $log, over $resources',
    async ({ log, resources }) => {
      const { pointCount, violations } = await world.explore(log, resources, {
        pairsMax: PAIRS_MAX,
        seed: SEED,
        concurrency: 8,
        only,
        print: (line) => {
          if (line.startsWith('VIOLATED')) console.log(`${line}\nrepeat with POINT='…'`);
        },
      });
      expect(violations, `seed ${SEED}`).toEqual([]);
      measured(`${log} log, ${resources.join(' + ')}: ${pointCount} crash points, 0 violations`);
    },
    120_000,
  );
});
