import { createLock, type DecisionLog, type LockDriver, systemClock, systemRandom } from 'tricord';
import type { Books } from './books.js';

/** Looks at locks and decisions from outside; takes part in nothing. */
export interface Auditor {
  /** Every product whose lock somebody holds or waits for. */
  locks(): Promise<Books['locks']>;
  /** Every decision that some store has not carried out yet, whichever node took it. */
  inDoubt(): Promise<Books['inDoubt']>;
  /** Takes the lock of a product and forgets to give it back. */
  holdLock(sku: string): Promise<void>;
  close(): Promise<void>;
}

export interface AuditorOptions {
  readonly lock: LockDriver;
  readonly log: DecisionLog;
  readonly namespace: string;
  readonly skus: readonly string[];
}

const RECORDS_MAX = 100;
const FORGOTTEN_MS = 60_000;

export function openAuditor({ lock: driver, log, namespace, skus }: AuditorOptions): Auditor {
  const nodeId = 'auditor';
  const lock = createLock({ driver, nodeId });
  // The log alone: a coordinator would join the recovery that the auditor is to judge.
  const session = log.open({ nodeId, namespace, clock: systemClock, random: systemRandom });
  return {
    async locks() {
      const found = await Promise.all(
        skus.map(async (sku) => {
          const { holders, waiters } = await lock.inspect(sku);
          return { sku, owners: [...holders, ...waiters].map(({ owner }) => owner) };
        }),
      );
      return found.filter(({ owners }) => owners.length > 0);
    },
    async inDoubt() {
      const incarnations = await session.incarnations();
      const records = await Promise.all(
        incarnations.map(({ incarnation }) => session.unacknowledged(incarnation, RECORDS_MAX)),
      );
      return records.flat().map(({ transactionId }) => transactionId);
    },
    async holdLock(sku) {
      await lock.acquire(sku, { ttlMs: FORGOTTEN_MS });
    },
    async close() {
      await Promise.all([lock.close({ drainMs: 0 }), session.close()]);
    },
  };
}
