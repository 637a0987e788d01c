import type { Cache, Guarantees, Lock, Outcome, TransactionCoordinator } from 'tricord';
import type { Buyer } from './offer.js';
import { Refusal, type RefusalReason, type Stores } from './stores.js';

/** The page that a buyer looks at before ordering. */
export interface ProductPage {
  readonly sku: string;
  readonly priceCents: number;
}

/** What the shop may change while it sells. */
export interface ShopSettings {
  readonly isOpen: boolean;
}

/** What a node keeps at hand, each kind as its nature wants it. */
export interface ShopCaches {
  /** Change with the catalogue alone: an old page may be shown while a new one is fetched. */
  readonly pages: Cache<ProductPage>;
  /** Changes with every order: short, and taken away by the order itself. */
  readonly stock: Cache<number>;
  /** Read by every order and hardly ever changed; only where there is a ZooKeeper to keep them. */
  readonly settings: Cache<ShopSettings> | undefined;
}

/** What a node of the shop works with: the three cords, and its stores. */
export interface Till {
  readonly lock: Lock;
  readonly coordinator: TransactionCoordinator;
  readonly caches: ShopCaches;
  readonly stores: Stores;
  readonly limits: Limits;
  /** What the drivers that it runs on promise. */
  guarantees(): Promise<readonly Guarantees[]>;
  close(): Promise<void>;
}

export interface Limits {
  /** How soon the lock of a dead node is free. */
  readonly lockTtlMs: number;
  readonly lockWaitMs: number;
  readonly transactionTimeoutMs: number;
}

/** When a node had a product to itself, in nanoseconds of the machine's monotonic clock. */
export interface Hold {
  readonly sku: string;
  readonly fromNs: bigint;
  readonly untilNs: bigint;
}

/** How one attempt to order ended; `lockWaitMs` where it came as far as the lock. */
export type Attempt = { readonly lockWaitMs?: number; readonly hold?: Hold | undefined } & (
  | { readonly state: 'sold' }
  | { readonly state: 'refused'; readonly reason: RefusalReason }
  /** Nothing was ordered, for no reason of trade: the buyer may try again. */
  | { readonly state: 'failed'; readonly reason: string }
  /** Nobody knows yet; trying again finds out. */
  | { readonly state: 'in-doubt' }
);

const OPEN: ShopSettings = { isOpen: true };

/** Pages with this tag are taken away when the catalogue changes. */
export const CATALOGUE = 'catalogue';

/** One order: look at the page, take the product's lock, change all three stores or none. */
export async function takeOrder(till: Till, buyer: Buyer): Promise<Attempt> {
  const { sku, orderId } = buyer;
  const { pages, stock, settings } = till.caches;
  const isOpen = (await settings?.getOrLoad('shop', () => OPEN))?.isOpen ?? true;
  if (!isOpen) return { state: 'failed', reason: 'the shop is closed' };
  const page = await pages.getOrLoad(sku, () => till.stores.readPage(sku), { tags: [CATALOGUE] });
  const unitsLeft = await stock.getOrLoad(sku, () => till.stores.readUnitsLeft(sku));
  if (unitsLeft === 0) return { state: 'refused', reason: 'sold out' };

  const { lockTtlMs: ttlMs, lockWaitMs: waitMs, transactionTimeoutMs: timeoutMs } = till.limits;
  const askedAt = performance.now();
  await using lease = await till.lock.acquire(sku, { ttlMs, waitMs });
  const lockWaitMs = performance.now() - askedAt;
  const fromNs = process.hrtime.bigint();

  const order = { orderId, buyer: buyer.name, sku, cents: page.priceCents };
  const run = { resourceId: orderId, timeoutMs, signal: lease.signal };
  const outcome = await till.coordinator.run(run, async (tx) => {
    const branches = await till.stores.enlist(tx);
    await branches.writeOrder(order, tx.transactionId);
    await branches.reserveUnit(order, lease.fencingToken);
    await branches.takePayment(order);
    // Should this node die in between, the display is right again after its short time to live.
    tx.afterCommit(() => stock.delete(sku));
  });
  // A lease that was lost on the way proves nothing; its fencing token is what protects the stock.
  const hold = lease.isHeld ? { sku, fromNs, untilNs: process.hrtime.bigint() } : undefined;
  return { ...attemptOf(outcome), lockWaitMs, hold };
}

function attemptOf(outcome: Outcome<void>): Attempt {
  switch (outcome.state) {
    case 'committed':
      return { state: 'sold' };
    case 'aborted':
      if (outcome.cause instanceof Refusal) {
        return { state: 'refused', reason: outcome.cause.reason };
      }
      return { state: 'failed', reason: `aborted by ${outcome.participant ?? outcome.by}` };
    case 'in-doubt':
      return { state: 'in-doubt' };
  }
}
