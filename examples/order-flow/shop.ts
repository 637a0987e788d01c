import type { Guarantees } from 'tricord';
import type { Books } from './books.js';
import type { Killing } from './kill.js';
import type { ShopNode } from './node.js';
import type { Tampering } from './options.js';
import type { Sale } from './sale.js';

/** A shop that is ready to sell: its nodes, and a way into its books that does not lead through them. */
export interface Shop extends AsyncDisposable {
  readonly nodes: readonly ShopNode[];
  /** What the shop runs on, a line each. */
  readonly surroundings: readonly string[];
  readonly guarantees: readonly Guarantees[];
  readRemains(): Promise<Remains>;
  readBooks(): Promise<Books>;
  /** Kills a node while it has prepared branches; undefined when the sale was over before. */
  killNode?(sale: Sale, note: (text: string) => void): Promise<Killing | undefined>;
  /** Changes something behind the library's back. */
  tamper(what: Tampering): Promise<void>;
}

export type Remains = Pick<Books, 'locks' | 'prepared' | 'inDoubt'>;
