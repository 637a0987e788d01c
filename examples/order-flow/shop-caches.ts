import { type CacheDriver, createCache } from 'tricord';
import { memoryCache } from 'tricord/memory';
import { CATALOGUE, type ProductPage, type ShopCaches, type ShopSettings } from './take-order.js';

/** Where a node may keep what it has read, beside its own memory. */
export interface SharedTiers {
  /** Behind the memory of each node, for pages and stock. */
  readonly tiers: readonly CacheDriver[];
  /** For what changes seldom. */
  readonly settings: readonly CacheDriver[];
}

const PAGE_TTL_MS = 2_000;
const PAGE_STALE_MS = 10_000;
/** How old a display of the stock may be that its order could not take away. */
const STOCK_TTL_MS = 500;
const SETTINGS_TTL_MS = 24 * 60 * 60 * 1_000;

/** Opens the caches of one node. */
export function openCaches({ tiers, settings }: SharedTiers): ShopCaches {
  return {
    pages: createCache<ProductPage>({
      name: 'pages',
      tiers: [memoryCache({ entriesMax: 1_000 }), ...tiers],
      ttlMs: PAGE_TTL_MS,
      staleMs: PAGE_STALE_MS,
    }),
    stock: createCache<number>({
      name: 'stock',
      tiers: [memoryCache({ entriesMax: 1_000 }), ...tiers],
      ttlMs: STOCK_TTL_MS,
    }),
    settings:
      settings.length === 0
        ? undefined
        : createCache<ShopSettings>({
            name: 'settings',
            tiers: settings,
            ttlMs: SETTINGS_TTL_MS,
          }),
  };
}

/** A new catalogue: every page that was made from the old one goes, on every node. */
export async function showNewCatalogue({ pages }: ShopCaches): Promise<void> {
  await pages.invalidateTags([CATALOGUE]);
}

export async function closeCaches(
  { pages, stock, settings }: ShopCaches,
  options: { readonly drainMs: number },
): Promise<void> {
  await Promise.all([pages, stock, settings].map((cache) => cache?.close(options)));
}
