// A shop whose prices stand in PostgreSQL and are cached in Redis, changed in one transaction.

import { Redis } from 'ioredis';
import pg from 'pg';
import {
  type Cache,
  cacheParticipant,
  createCache,
  createTransactionCoordinator,
} from '../../src/index.js';
import { postgresParticipant } from '../../src/postgres.js';
import { redisCache, redisTransactions } from '../../src/redis.js';
import type { Branch, Participant } from '../../src/transaction/participant.js';

export interface ShopConfig {
  readonly redisUrl: string;
  readonly postgresUrl: string;
  /** The step at which the process is killed. */
  readonly point?: string | undefined;
}

export interface PriceShop extends AsyncDisposable {
  readonly prices: Cache<number>;
  /** The price that a page shows: from the cache, else from the database. */
  show(sku: string): Promise<number>;
  change(sku: string, price: number): Promise<string>;
}

export function priceShop({ redisUrl, postgresUrl, point }: ShopConfig): PriceShop {
  const client = new Redis(redisUrl);
  client.on('error', () => {});
  const pool = new pg.Pool({ connectionString: postgresUrl });
  const prices = createCache<number>({
    name: 'prices',
    tiers: [redisCache({ client })],
    ttlMs: 600_000,
    leaseMs: 500,
  });
  const database = postgresParticipant({ name: 'database', pool });
  const pages = cacheParticipant({ name: 'pages', cache: prices });
  const [databaseHere, pagesHere] = [stepped(database, point), stepped(pages, point)];
  const log = redisTransactions({ client, livenessTimeoutMs: 600 });
  const coordinator = createTransactionCoordinator({
    log: {
      ...log,
      open(node) {
        const session = log.open(node);
        return {
          ...session,
          async decide(...args) {
            const answer = await session.decide(...args);
            reached('after decide', point);
            return answer;
          },
        };
      },
    },
    participants: [databaseHere, pagesHere],
    // One that is to be killed must not recover.
    sweepMs: point === undefined ? 50 : Number.POSITIVE_INFINITY,
  });
  return {
    prices,
    show: (sku) =>
      prices.getOrLoad(sku, async () => {
        const { rows } = await pool.query<{ price: number }>(
          'select price from prices where sku = $1',
          [sku],
        );
        return rows[0]?.price ?? 0;
      }),
    async change(sku, price) {
      const outcome = await coordinator.run({ resourceId: sku }, async (tx) => {
        const db = await tx.enlist(databaseHere);
        await db.query('update prices set price = $2 where sku = $1', [sku, price]);
        await (await tx.enlist(pagesHere)).delete(sku);
      });
      return outcome.state;
    },
    async [Symbol.asyncDispose]() {
      await coordinator.close();
      await Promise.all([database.close(), pages.close(), prices.close()]);
      await pool.end();
      client.disconnect();
    },
  };
}

function reached(step: string, point: string | undefined): void {
  if (step === point) process.kill(process.pid, 'SIGKILL');
}

function stepped<Handle>(
  participant: Participant<Handle>,
  point: string | undefined,
): Participant<Handle> {
  const { name } = participant;
  return {
    ...participant,
    async enlist(context) {
      const branch: Branch<Handle> = await participant.enlist(context);
      return {
        handle: branch.handle,
        async prepare(options) {
          const vote = await branch.prepare(options);
          reached(`after prepare of ${name}`, point);
          return vote;
        },
        async commit(options) {
          reached(`before commit of ${name}`, point);
          await branch.commit(options);
          reached(`after commit of ${name}`, point);
        },
        abort: (options) => branch.abort(options),
      };
    },
  };
}
