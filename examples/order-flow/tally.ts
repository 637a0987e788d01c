import type { Told } from './books.js';
import { groupBy } from './group-by.js';
import type { PageCount } from './node.js';
import type { Service } from './serve-buyer.js';
import type { Attempt, Hold } from './take-order.js';

/** What the flow itself saw, for the table. The audit does not believe it. */
export class Tally {
  readonly told: Told[] = [];
  readonly #answers = new Map<Told['answer'], number>();
  readonly #attempts: Attempt[] = [];
  readonly #pageCounts = new Map<string, PageCount>();

  add(node: string, { orderId, answer, attempts }: Service, pages: PageCount): void {
    this.told.push({ orderId, answer });
    this.#answers.set(answer, this.answerCount(answer) + 1);
    this.#attempts.push(...attempts);
    this.#pageCounts.set(node, pages);
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

  /** Over all nodes, also those that died; undefined before the first page. */
  get hitRate(): number | undefined {
    return rateOf([...this.#pageCounts.values()]);
  }

  /** The same of each tier that a page was asked of, nearest first. */
  get hitRates(): readonly (readonly [backend: string, hitRate: number | undefined])[] {
    const tiers = [...this.#pageCounts.values()].flatMap((count) => count.tiers ?? []);
    return [...groupBy(tiers, ({ backend }) => backend)].map(
      ([backend, counts]) => [backend, rateOf(counts)] as const,
    );
  }
}

function rateOf(
  counts: readonly Pick<PageCount, 'requestCount' | 'hitCount'>[],
): number | undefined {
  const requests = counts.reduce((sum, { requestCount }) => sum + requestCount, 0);
  const hits = counts.reduce((sum, { hitCount }) => sum + hitCount, 0);
  return requests === 0 ? undefined : hits / requests;
}
