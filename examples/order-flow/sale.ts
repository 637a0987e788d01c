import { EventEmitter, once } from 'node:events';
import { NodeDied, type ShopNode } from './node.js';
import type { Buyer } from './offer.js';
import type { Progress } from './progress.js';
import { Tally } from './tally.js';

/** A sale while it is held: the queue of buyers, and the nodes that serve it. */
export class Sale {
  readonly tally = new Tally();
  readonly #queue: Buyer[];
  readonly #buyerCount: number;
  readonly #progress: Progress;
  /** Ends every wait when the sale is called off, by Ctrl-C or because a node failed. */
  readonly #calledOff = new AbortController();
  readonly signal: AbortSignal;
  readonly #atTill = new Map<string, Set<string>>();
  /** `queue` when somebody may be in the queue again, `end` when everybody is answered. */
  readonly #events = new EventEmitter<{ queue: []; end: [] }>();
  #openNodes = 0;
  #isPaused = false;

  constructor(buyers: readonly Buyer[], progress: Progress, signal: AbortSignal) {
    this.#queue = [...buyers];
    this.#buyerCount = buyers.length;
    this.#progress = progress;
    this.signal = AbortSignal.any([signal, this.#calledOff.signal]);
    // Every idle till waits for news.
    this.#events.setMaxListeners(0);
  }

  get soldCount(): number {
    return this.tally.answerCount('sold');
  }

  get isOver(): boolean {
    return this.tally.told.length === this.#buyerCount;
  }

  /** Orders that a node works on right now. */
  ordersAt(node: ShopNode): readonly string[] {
    return [...(this.#atTill.get(node.name) ?? [])];
  }

  /** Lets no further buyer in, until `resume`. */
  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#events.emit('queue');
  }

  /** Serves everybody at these nodes, and at those that join later. */
  async serveAll(nodes: readonly ShopNode[]): Promise<void> {
    for (const node of nodes) this.join(node);
    while (!this.isOver) await this.#news(['end']);
  }

  /** Lets a node serve: as many buyers at once as it has tills. */
  join(node: ShopNode): void {
    this.#openNodes += 1;
    this.#atTill.set(node.name, new Set());
    const tills = Array.from({ length: node.tills }, () => this.#serveAtTill(node));
    Promise.all(tills).then(
      () => this.#leave(),
      (error: unknown) => this.#calledOff.abort(error),
    );
  }

  #leave(): void {
    this.#openNodes -= 1;
    if (this.#openNodes > 0 || this.#isPaused || this.isOver) return;
    this.#calledOff.abort(new Error('no node of the shop is left to serve the buyers'));
  }

  async #serveAtTill(node: ShopNode): Promise<void> {
    while (!this.isOver) {
      const buyer = await this.#nextBuyer();
      if (buyer === undefined) continue;
      const atTill = this.#atTill.get(node.name);
      atTill?.add(buyer.orderId);
      try {
        const service = await node.serve(buyer);
        this.tally.add(node.name, service, node.cacheCounts());
      } catch (error) {
        if (!(error instanceof NodeDied)) throw error;
        // Nobody knows whether the order was written: the buyer asks again, at another node.
        this.#queue.unshift(buyer);
        this.#events.emit('queue');
        return;
      } finally {
        atTill?.delete(buyer.orderId);
      }
      this.#progress.advance(this.tally.told.length, this.soldCount);
      if (this.isOver) this.#events.emit('end');
    }
  }

  /** Undefined after a wait: whoever asked looks again whether the sale is over. */
  async #nextBuyer(): Promise<Buyer | undefined> {
    this.signal.throwIfAborted();
    if (!this.#isPaused && this.#queue.length > 0) return this.#queue.shift();
    await this.#news(['queue', 'end']);
    return undefined;
  }

  /** Waits for the first of some events. */
  async #news(names: readonly ('queue' | 'end')[]): Promise<void> {
    const waited = new AbortController();
    const signal = AbortSignal.any([this.signal, waited.signal]);
    try {
      await Promise.race(names.map((name) => once(this.#events, name, { signal })));
    } catch (error) {
      // `once` rejects with an AbortError of its own; the signal's reason tells more.
      this.signal.throwIfAborted();
      throw error;
    } finally {
      waited.abort();
    }
  }
}
