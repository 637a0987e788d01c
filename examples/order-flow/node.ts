import type { CacheStats, CacheTierStats } from 'tricord';
import type { Buyer } from './offer.js';
import type { Service } from './serve-buyer.js';
import { serveBuyer } from './serve-buyer.js';
import type { ShopCaches, Till } from './take-order.js';

/** How often a cache was asked, and how often a tier had the answer. */
export interface CacheCount extends Pick<CacheStats, 'requestCount' | 'hitCount'> {
  /** The same by tier, nearest first: what one has is not asked of the next. */
  readonly tiers?: readonly Pick<CacheTierStats, 'backend' | 'requestCount' | 'hitCount'>[];
}

/** By what is cached. */
export type CacheCounts = Readonly<Record<string, CacheCount>>;

/** What of the caches' statistics is shown at the end. */
export function cacheCountsOf({ pages, stock, settings }: ShopCaches): CacheCounts {
  return {
    'product pages': countOf(pages.stats()),
    'stock display': countOf(stock.stats()),
    ...(settings === undefined ? {} : { settings: countOf(settings.stats()) }),
  };
}

function countOf({ requestCount, hitCount, tiers }: CacheStats): CacheCount {
  return {
    requestCount,
    hitCount,
    tiers: tiers.map((tier) => ({
      backend: tier.backend,
      requestCount: tier.requestCount,
      hitCount: tier.hitCount,
    })),
  };
}

/** One node of the shop, in this process or in one of its own. */
export interface ShopNode {
  readonly name: string;
  /** How many buyers it serves at once. */
  readonly tills: number;
  /** Rejects with NodeDied when the node's process ended; nobody knows then what became of the order. */
  serve(buyer: Buyer): Promise<Service>;
  cacheCounts(): CacheCounts;
  close(): Promise<void>;
}

export class NodeDied extends Error {
  override readonly name = 'NodeDied';
}

/** A node met something that ends the sale; the message is all that its process told. */
export class NodeFault extends Error {
  override readonly name = 'NodeFault';
}

/** A node in this process. */
export function localNode(name: string, tills: number, till: Till): ShopNode {
  return {
    name,
    tills,
    serve: (buyer) => serveBuyer(till, buyer),
    cacheCounts: () => cacheCountsOf(till.caches),
    close: () => till.close(),
  };
}
