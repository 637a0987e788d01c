import { serveParticipant } from 'tricord';
import { openCords } from '../cords.js';
import type { OpenService, ServiceSetup } from './service.js';
import { openVotingSite } from './voting-site.js';

/**
 * Tells prices. It writes nothing, so that its part of a transaction is over when it has answered; with
 * three-phase commit it is one more site to make a majority of.
 */
export async function openCatalog(setup: ServiceSetup): Promise<OpenService> {
  const cords = openCords(setup.coordination, setup.namespace);
  const voting = await openVotingSite(setup, cords);
  const priceOf = new Map(setup.products.map(({ sku, priceCents }) => [sku, priceCents]));
  const served = serveParticipant<{ readonly sku: string }, { readonly priceCents: number }>({
    store: cords.log,
    name: 'catalog',
    nodeId: setup.node,
    namespace: setup.namespace,
    site: voting.site,
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
      await voting.close();
      await cords.close();
    },
  };
}
