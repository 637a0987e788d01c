import { inspect } from 'node:util';
import { isCoordinationError } from 'tricord';
import { cacheCountsOf } from './node.js';
import type { FromNode, ToNode } from './remote-node.js';
import { serveBuyer } from './serve-buyer.js';
import { openTill } from './server-till.js';
import { showNewCatalogue } from './shop-caches.js';
import type { Till } from './take-order.js';

// One node of the shop, as a process of its own: it is told what to do by its parent, and ends with it.

let till: Till | undefined;

// Ctrl-C reaches every process of the terminal; the parent decides what happens to its nodes.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
process.on('message', (message) => {
  handle(message as ToNode).catch((error: unknown) => {
    // What a person can mend is a sentence; of everything else all that is known.
    const text = isCoordinationError(error) ? `${error.code}: ${error.message}` : inspect(error);
    tell({ kind: 'fault', text });
  });
});

async function handle(message: ToNode): Promise<void> {
  switch (message.kind) {
    case 'open': {
      till = openTill(message.setup);
      await showNewCatalogue(till.caches);
      return tell({ kind: 'open', guarantees: await till.guarantees() });
    }
    case 'serve': {
      if (till === undefined) throw new Error('a buyer came before the till was open');
      const service = await serveBuyer(till, message.buyer);
      return tell({ kind: 'served', service, caches: cacheCountsOf(till.caches) });
    }
    case 'close':
      await till?.close();
      process.disconnect();
  }
}

function tell(message: FromNode): void {
  process.send?.(message);
}
