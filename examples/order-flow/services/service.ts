import type { Told } from '../books.js';
import type { Coordination } from '../cords.js';
import type { Buyer, Product } from '../offer.js';
import type { Databases } from '../postgres-stores.js';

export const PROTOCOLS = ['two-phase', 'three-phase'] as const;
type Role = 'catalog' | 'stock' | 'payment' | 'order';

/** All that the process of a service must know. */
export interface ServiceSetup {
  readonly role: Role;
  readonly node: string;
  /** Of the sale: at most 10 characters. */
  readonly namespace: string;
  readonly coordination: Coordination;
  readonly databases: Databases;
  readonly protocol: (typeof PROTOCOLS)[number];
  /** Three-phase: the database in which a service keeps its votes, its own. */
  readonly votes: Readonly<Record<Role, string>>;
  /** What the catalog lists. */
  readonly products: readonly Product[];
}

/** A service at work in its process. */
export interface OpenService {
  /** Of the order service: takes a buyer's order. */
  serve?(buyer: Buyer): Promise<Told['answer']>;
  close(): Promise<void>;
}

/** What the parent tells a process. */
export type ToService =
  | { readonly kind: 'open'; readonly setup: ServiceSetup }
  | { readonly kind: 'serve'; readonly buyer: Buyer }
  | { readonly kind: 'close' };

/** What a process answers. */
export type FromService =
  | { readonly kind: 'open' }
  | { readonly kind: 'served'; readonly orderId: string; readonly answer: Told['answer'] }
  | { readonly kind: 'fault'; readonly text: string };

/** A no of the business: the code travels to the caller. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly code: 'SOLD_OUT' | 'DECLINED';

  constructor(code: Refusal['code']) {
    super(code === 'SOLD_OUT' ? 'sold out' : 'payment declined');
    this.code = code;
  }
}

/** Silent coordinators are noticed by this, and lost hints. */
export const SWEEP_MS = 500;
