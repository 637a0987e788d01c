import { serveParticipant } from 'tricord';
import { openCords } from '../cords.js';
import type { OpenService, ServiceSetup } from './service.js';

/** Tells prices. It writes nothing, so that its part of a transaction is over when it has answered. */
export async function openCatalog(setup: ServiceSetup): Promise<OpenService> {
  const cords = openCords(setup.coordination, setup.namespace);
  const priceOf = new Map(setup.products.map(({ sku, priceCents }) => [sku, priceCents]));
  const served = serveParticipant<{ readonly sku: string }, { readonly priceCents: number }>({
    store: cords.log,
    name: 'catalog',
    nodeId: setup.node,
    namespace: setup.namespace,
    handlers: {
      prepare({ sku }) {
        const priceCents = priceOf.get(sku);
        if (priceCents === undefined) throw new RangeError(`there is no ${sku}`);
        return { priceCents };
      },
    },
  });
  await served.ready;
  return {
    async close() {
      await served.close();
      await cords.close();
    },
  };
}
