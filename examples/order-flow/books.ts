/** What the shop's stores hold, read from them directly: nothing here was counted by the flow. */
export interface Books {
  readonly stock: readonly { readonly sku: string; readonly units: number }[];
  readonly reservations: readonly Reservation[];
  readonly wallets: readonly { readonly buyer: string; readonly balanceCents: number }[];
  readonly payments: readonly Payment[];
  readonly orders: readonly OrderRow[];
  /** Locks of products that somebody still holds or waits for. */
  readonly locks: readonly { readonly sku: string; readonly owners: readonly string[] }[];
  /** Branches that are prepared in a store and neither committed nor rolled back. */
  readonly prepared: readonly { readonly store: string; readonly branchId: string }[];
  /** Transactions that the coordinator does not know to be finished. */
  readonly inDoubt: readonly string[];
}

export interface Reservation {
  readonly orderId: string;
  readonly sku: string;
  readonly units: number;
  readonly unitsLeft: number;
  readonly fencingToken: bigint;
}

export interface Payment {
  readonly orderId: string;
  readonly buyer: string;
  readonly cents: number;
}

export interface OrderRow {
  readonly orderId: string;
  readonly buyer: string;
  readonly sku: string;
  readonly units: number;
  readonly cents: number;
  readonly transactionId: string;
}

/** What a buyer was told in the end. */
export interface Told {
  readonly orderId: string;
  readonly answer: 'sold' | 'sold out' | 'payment declined' | 'unknown';
}
