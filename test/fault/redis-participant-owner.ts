// A process that moves stock and an order in two Redis participants, and dies at a chosen step:
// node redis-participant-owner.ts ‹config as JSON›

import { fileURLToPath } from 'node:url';
import { Redis } from 'ioredis';
import { createTransactionCoordinator, type TransactionCoordinator } from '../../src/index.js';
import { type RedisBranch, redisParticipant, redisTransactions } from '../../src/redis.js';
import type { Branch, Participant } from '../../src/transaction/participant.js';

export interface OwnerConfig {
  readonly redisUrl: string;
  readonly point: 'before prepare' | 'after prepare' | 'after decide' | 'after one commit';
}

const LIVENESS_TIMEOUT_MS = 600;

export interface Shop {
  readonly coordinator: TransactionCoordinator;
  /** Reserves one unit and writes one order, in one transaction. */
  readonly place: () => ReturnType<TransactionCoordinator['run']>;
  readonly close: () => Promise<void>;
}

/** A coordinator over the participants `stock` and `orders`. */
export function shopAt(
  redisUrl: string,
  through: (participant: Participant<RedisBranch>) => Participant<RedisBranch> = (each) => each,
  onDecided: () => void = () => {},
): Shop {
  const client = new Redis(redisUrl);
  client.on('error', () => {});
  const stock = redisParticipant({ name: 'stock', client });
  const orders = redisParticipant({ name: 'orders', client });
  const [stockHere, ordersHere] = [through(stock), through(orders)];
  const log = redisTransactions({ client, livenessTimeoutMs: LIVENESS_TIMEOUT_MS });
  const coordinator = createTransactionCoordinator({
    log: {
      ...log,
      open(node) {
        const session = log.open(node);
        return {
          ...session,
          async decide(...args) {
            const answer = await session.decide(...args);
            onDecided();
            return answer;
          },
        };
      },
    },
    participants: [stockHere, ordersHere],
    sweepMs: 50,
  });
  return {
    coordinator,
    place: () =>
      coordinator.run({ resourceId: 'order:1' }, async (tx) => {
        await (await tx.enlist(stockHere)).reserve('sku', 1);
        await (await tx.enlist(ordersHere)).increment('orders', 1);
      }),
    async close() {
      await coordinator.close();
      await Promise.all([stock.close(), orders.close()]);
      client.disconnect();
    },
  };
}

function die(): void {
  process.kill(process.pid, 'SIGKILL');
}

async function main({ redisUrl, point }: OwnerConfig): Promise<void> {
  let prepared = 0;
  const through = (participant: Participant<RedisBranch>): Participant<RedisBranch> => ({
    ...participant,
    async enlist(context) {
      const branch: Branch<RedisBranch> = await participant.enlist(context);
      return {
        ...branch,
        async prepare(options) {
          if (point === 'before prepare') die();
          const vote = await branch.prepare(options);
          prepared += 1;
          if (point === 'after prepare' && prepared === 2) die();
          return vote;
        },
        async commit(options) {
          await branch.commit(options);
          if (point === 'after one commit') die();
        },
      };
    },
  });
  const shop = shopAt(redisUrl, through, () => {
    if (point === 'after decide') die();
  });
  await shop.place();
}

const [, script, text] = process.argv;
if (text !== undefined && script === fileURLToPath(import.meta.url)) await main(JSON.parse(text));
