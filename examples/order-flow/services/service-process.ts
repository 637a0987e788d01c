import { inspect } from 'node:util';
import type { Buyer } from '../offer.js';
import { openCatalog } from './catalog-service.js';
import { openOrders } from './order-service.js';
import { openPayments } from './payment-service.js';
import type { FromService, OpenService, ServiceSetup, ToService } from './service.js';
import { openStock } from './stock-service.js';

// One process of one service: it is told what to do by its parent, and ends with it.

const OPEN = { catalog: openCatalog, stock: openStock, payment: openPayments, order: openOrders };
let open: OpenService | undefined;

// Ctrl-C reaches every process of the terminal; the parent decides what happens to its services.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
process.on('message', (message) => {
  handle(message as ToService).catch((error: unknown) => {
    tell({ kind: 'fault', text: inspect(error) });
  });
});

async function handle(message: ToService): Promise<void> {
  switch (message.kind) {
    case 'open':
      return begin(message.setup);
    case 'serve':
      return serve(message.buyer);
    case 'close':
      await open?.close();
      process.disconnect();
  }
}

async function begin(setup: ServiceSetup): Promise<void> {
  open = await OPEN[setup.role](setup);
  tell({ kind: 'open' });
}

async function serve(buyer: Buyer): Promise<void> {
  const answer = (await open?.serve?.(buyer)) ?? 'unknown';
  tell({ kind: 'served', orderId: buyer.orderId, answer });
}

function tell(message: FromService): void {
  process.send?.(message);
}
