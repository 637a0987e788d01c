import type { Participant, Transaction } from 'tricord';
import type { ProductPage } from './take-order.js';

/** An order as it is written: one unit of one product for one buyer. */
export interface Order {
  readonly orderId: string;
  readonly buyer: string;
  readonly sku: string;
  readonly cents: number;
}

/** The three stores that an order changes, each as a branch of one transaction. */
export interface Branches {
  /** Notes the order; refuses with `already ordered` one that exists. */
  writeOrder(order: Order, transactionId: string): Promise<void>;
  /** Takes one unit; refuses with `sold out`, and a token older than one that the product has seen. */
  reserveUnit(order: Order, fencingToken: bigint): Promise<void>;
  /** Takes the money; refuses with `payment declined`. */
  takePayment(order: Order): Promise<void>;
}

/** Where a shop keeps its stock, its payments and its orders. */
export interface Stores {
  /** What the coordinator must know, because recovery looks into all of them. */
  readonly participants: readonly Participant[];
  enlist(tx: Transaction): Promise<Branches>;
  readPage(sku: string): Promise<ProductPage>;
  /** As the stock has it now; only what is committed counts. */
  readUnitsLeft(sku: string): Promise<number>;
  close(): Promise<void>;
}

export type RefusalReason = 'sold out' | 'payment declined' | 'already ordered';

/** A store's answer that ends the order, and is nobody's fault. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly reason: RefusalReason;

  constructor(reason: RefusalReason) {
    super(reason);
    this.reason = reason;
  }
}
