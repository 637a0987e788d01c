import { seededRandom } from '../../../../src/core/random.js';
import { memoryParticipant } from '../../../../src/drivers/memory/participant.js';
import { memoryTransactions } from '../../../../src/drivers/memory/transactions.js';
import { type VirtualClock, virtualClock } from '../../../../src/testing/virtual-clock.js';
import { createTransactionCoordinator } from '../../../../src/transaction/create-coordinator.js';
import {
  type ServeParticipantOptions,
  serveParticipant,
} from '../../../../src/transaction/remote/serve-participant.js';

export interface Reservation {
  readonly sku: string;
  readonly quantity: number;
}

/** A store of calls, a coordinator with orders, and a service with a stock of its own. */
export function remoteStage() {
  const clock: VirtualClock = virtualClock();
  const store = memoryTransactions({ clock });
  const orders = memoryParticipant({ name: 'orders', clock });
  const stock = memoryParticipant({ name: 'stock', clock });
  stock.load({ 'sku:42': 10 });
  let seed = 1;
  const parts = () => {
    seed += 1;
    return { clock, random: seededRandom(seed) };
  };
  return {
    clock,
    store,
    orders,
    stock,
    coordinator: (options: object = {}) =>
      createTransactionCoordinator({
        log: store,
        participants: [orders],
        sweepMs: Number.POSITIVE_INFINITY,
        ...parts(),
        ...options,
      }),
    /** A node that takes stock away. */
    serve: (options: Partial<ServeParticipantOptions<Reservation, unknown>> = {}) =>
      serveParticipant<Reservation, unknown>({
        store,
        name: 'inventory',
        participants: [stock],
        handlers: {
          async prepare({ sku, quantity }, { enlist }) {
            const branch = await enlist(stock);
            await branch.increment(sku, -quantity, { min: 0 });
            return { taken: quantity };
          },
        },
        ...parts(),
        ...options,
      }),
  };
}
