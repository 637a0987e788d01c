import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { createTransactionCoordinator, isCoordinationError, type Outcome } from 'tricord';
import { postgresParticipant } from 'tricord/postgres';
import type { Told } from '../books.js';
import { openCords } from '../cords.js';
import type { Buyer } from '../offer.js';
import { type OpenService, type ServiceSetup, SWEEP_MS } from './service.js';
import { openVotingSite } from './voting-site.js';

/** $1 order, $2 buyer, $3 sku, $4 cents, $5 transaction. */
const WRITE_ORDER = `
  insert into orders (order_id, buyer, sku, units, cents, transaction_id)
  values ($1, $2, $3, 1, $4, $5)`;

const PATIENCE_MS = 60_000;
const PAUSE_MS = 100;
const TIMEOUT_MS = 10_000;
const UNIQUE_VIOLATION = '23505';

/** Takes orders: its own row, a unit from the stock service and money from the payment service, or nothing. */
export async function openOrders(setup: ServiceSetup): Promise<OpenService> {
  const cords = openCords(setup.coordination, setup.namespace);
  const voting = await openVotingSite(setup, cords);
  const connection = { connectionString: setup.databases.orders, max: 20 };
  const pool = new Pool({ ...connection, application_name: setup.node });
  pool.on('error', () => {});
  const orders = postgresParticipant({ name: 'orders', pool });
  const coordinator = createTransactionCoordinator({
    log: cords.log,
    nodeId: setup.node,
    namespace: setup.namespace,
    participants: [orders],
    site: voting.site,
    sweepMs: SWEEP_MS,
  });
  const { protocol } = setup;
  const order = ({ orderId, name: buyer, sku }: Buyer) =>
    coordinator.run(
      {
        resourceId: orderId,
        protocol,
        // It makes it one order, however often the buyer has to ask, here or elsewhere. The decisions
        // of three-phase commit have no keys: there the primary key of the order does.
        key: protocol === 'two-phase' ? orderId : undefined,
        timeoutMs: TIMEOUT_MS,
        retry: { attempts: 3 },
      },
      async (tx) => {
        const { priceCents: cents } = await tx.call<{ priceCents: number }>('catalog', { sku });
        const db = await tx.enlist(orders);
        // First of all: it waits for an earlier try at this order that is not decided yet.
        await db.query(WRITE_ORDER, [orderId, buyer, sku, cents, tx.transactionId]);
        await Promise.all([
          tx.call('stock', { orderId, sku }),
          tx.call('payment', { orderId, buyer, cents }),
        ]);
      },
    );
  return {
    async serve(buyer) {
      const startedAt = performance.now();
      while (performance.now() - startedAt < PATIENCE_MS) {
        const answer = answerOf(await order(buyer).catch(notBegun));
        if (answer !== undefined) return answer;
        await sleep(PAUSE_MS);
      }
      return 'unknown';
    },
    async close() {
      await coordinator.close();
      await voting.close();
      await Promise.all([cords.close(), pool.end()]);
    },
  };
}

/** It could not begin, or one with the same key is under way: ask again. */
function notBegun(error: unknown): undefined {
  if (!isCoordinationError(error)) throw error;
}

function answerOf(outcome: Outcome<unknown> | undefined): Told['answer'] | undefined {
  if (outcome?.state === 'committed') return 'sold';
  if (outcome?.state === 'aborted' && isOrderThere(outcome.cause)) return 'sold';
  if (outcome?.state !== 'aborted' || !isCoordinationError(outcome.cause, 'CALL_REFUSED')) {
    return undefined;
  }
  const { code } = outcome.cause.details;
  if (code === 'SOLD_OUT') return 'sold out';
  return code === 'DECLINED' ? 'payment declined' : undefined;
}

/** An earlier try at this order was committed. */
function isOrderThere(cause: unknown): boolean {
  const { code, table } = (cause ?? {}) as { readonly code?: unknown; readonly table?: unknown };
  return code === UNIQUE_VIOLATION && table === 'orders';
}
