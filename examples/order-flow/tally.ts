import type { Told } from './books.js';
import { groupBy } from './group-by.js';
import type { CacheCount, CacheCounts } from './node.js';
import type { Service } from './serve-buyer.js';
import type { Attempt, Hold } from './take-order.js';

/** What the flow itself saw, for the table. The audit does not believe it. */
export class Tally {
  readonly told: Told[] = [];
  readonly #answers = new Map<Told['answer'], number>();
  readonly #attempts: Attempt[] = [];
  readonly #cacheCounts = new Map<string, CacheCounts>();

  add(node: string, { orderId, answer, attempts }: Service, caches: CacheCounts): void {
    this.told.push({ orderId, answer });
    this.#answers.set(answer, this.answerCount(answer) + 1);
    this.#attempts.push(...attempts);
    this.#cacheCounts.set(node, caches);
  }

  /** When which product was held, as the nodes saw it. */
  get holds(): readonly Hold[] {
    return this.#attempts.flatMap(({ hold }) => hold ?? []);
  }

  answerCount(answer: Told['answer']): number {
    return this.#answers.get(answer) ?? 0;
  }

  /** Attempts that came as far as a transaction, by how it ended. */
  get transactions(): Readonly<Record<'committed' | 'aborted' | 'inDoubt', number>> {
    const begun = this.#attempts.filter((attempt) => attempt.lockWaitMs !== undefined);
    const count = (states: readonly Attempt['state'][]) =>
      begun.filter((attempt) => states.includes(attempt.state)).length;
    return {
      committed: count(['sold']),
      aborted: count(['refused', 'failed']),
      inDoubt: count(['in-doubt']),
    };
  }

  /** Refusals at the till, and the reasons for which attempts were made again, most frequent first. */
  get reasons(): readonly (readonly [reason: string, count: number])[] {
    const counts = new Map<string, number>();
    for (const attempt of this.#attempts) {
      if (!('reason' in attempt)) continue;
      const isOnPage = attempt.state === 'refused' && attempt.lockWaitMs === undefined;
      const reason = isOnPage ? `${attempt.reason} (on the page)` : attempt.reason;
      counts.set(reason, (counts.get(reason) ?? 0) + 1);
    }
    return [...counts].sort(([, a], [, b]) => b - a);
  }

  /** Of those who got the lock, the wait that a fraction of them did not exceed; undefined without any. */
  lockWaitMs(fraction: number): number | undefined {
    const waits = this.#attempts.flatMap(({ lockWaitMs }) => lockWaitMs ?? []);
    waits.sort((a, b) => a - b);
    return waits[Math.min(waits.length - 1, Math.floor(waits.length * fraction))];
  }

  /** Of each cache, over all nodes, also those that died. */
  get hitRates(): readonly HitRates[] {
    const counts = [...this.#cacheCounts.values()].flatMap((each) => Object.entries(each));
    return [...groupBy(counts, ([what]) => what)].map(([what, ofNodes]) => {
      const tiers = ofNodes.flatMap(([, { tiers = [] }]) => tiers);
      const byTier = [...groupBy(tiers, ({ backend }) => backend)];
      return {
        what,
        hitRate: rateOf(ofNodes.map(([, count]) => count)),
        tiers: byTier.map(([backend, ofTier]) => [backend, rateOf(ofTier)] as const),
      };
    });
  }
}

/** How often a cache had what it was asked for; undefined where it was never asked. */
export interface HitRates {
  readonly what: string;
  readonly hitRate: number | undefined;
  /** The same of each tier, nearest first. */
  readonly tiers: readonly (readonly [backend: string, hitRate: number | undefined])[];
}

function rateOf(
  counts: readonly Pick<CacheCount, 'requestCount' | 'hitCount'>[],
): number | undefined {
  const requests = counts.reduce((sum, { requestCount }) => sum + requestCount, 0);
  const hits = counts.reduce((sum, { hitCount }) => sum + hitCount, 0);
  return requests === 0 ? undefined : hits / requests;
}
