import { sleep } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { parseTransactionId, type TransactionId } from '../../core/ids.js';
import { boundedCall } from '../host.js';
import type { ServeHost } from './serve-host.js';

const BACKOFF = { baseMs: 50, maxMs: 2_000 };

/**
 * Finds out the decision of a transaction whose caller does not tell any more: its incarnation is
 * fenced first, and then the absence of a record means abort. Asks until it knows, or this node ends.
 */
export async function decisionFor(
  host: ServeHost,
  transactionId: TransactionId,
  branchIds: readonly string[],
): Promise<'committed' | 'aborted'> {
  const incarnation = parseTransactionId(transactionId)?.incarnation ?? '';
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await boundedCall(host.clock, { signals: [host.stopped] }, async (signal) => {
        await host.session.fence(incarnation, { signal });
        const record = await host.session.find(transactionId, { signal });
        // A branch that the decision does not name did not take part in it.
        const named = record?.branches.some(({ branchId }) => branchIds.includes(branchId));
        return named === true ? 'committed' : 'aborted';
      });
    } catch (error) {
      if (host.stopped.aborted) throw host.stopped.reason;
      host.channels.failed.publish(() => ({ operation: 'decision', transactionId, error }));
    }
    const delayMs = backoffMs(attempt, BACKOFF, host.random);
    await sleep(host.clock, delayMs, { signal: host.stopped, keepAlive: false });
  }
}
