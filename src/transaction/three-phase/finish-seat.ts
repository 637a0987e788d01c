import { sleep } from '../../core/abort.js';
import { backoffMs } from '../../core/backoff.js';
import { isCoordinationError } from '../../core/errors.js';
import type { DecidedBranch } from '../decision-log.js';
import { boundedCall } from '../host.js';
import { type SiteHost, siteFailed } from './site-host.js';
import type { SiteWork } from './site-work.js';

const BACKOFF = { baseMs: 50, maxMs: 10_000 };

/** How the branches of one site end. */
export interface SeatEnding {
  readonly transactionId: string;
  readonly outcome: 'committed' | 'aborted';
  readonly branches: readonly DecidedBranch[];
  /** Whoever did the work, in this life. */
  readonly works: readonly SiteWork[];
  /** Told of a branch that somebody ended the other way. */
  readonly onContradiction: (participant: string) => void;
}

/**
 * Carries a decision out in every branch: through the work, which still has its connections, else
 * through the participants, again and again until all have answered or the site is closed.
 */
export async function finishSeat(host: SiteHost, ending: SeatEnding): Promise<void> {
  const { works, outcome, branches, transactionId } = ending;
  if (works.length > 0) {
    const ends = await Promise.allSettled(works.map((work) => work.finish(outcome)));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed === undefined) return;
    siteFailed(host, 'finish', failed.reason, transactionId);
  }
  await Promise.all(branches.map((branch) => finishBranch(host, ending, branch)));
}

async function finishBranch(
  host: SiteHost,
  { transactionId, outcome, onContradiction }: SeatEnding,
  { participant: name, branchId, evidence }: DecidedBranch,
): Promise<void> {
  const { clock, random, stopped, participants } = host;
  for (let attempt = 0; ; attempt += 1) {
    try {
      const participant = participants.get(name);
      if (participant === undefined) throw new Error(`participant "${name}" is not registered`);
      const verb = outcome === 'committed' ? 'commit' : 'abort';
      return await boundedCall(clock, { signals: [stopped] }, (signal) =>
        participant[verb]({ branchId, evidence }, { signal }),
      );
    } catch (error) {
      // Somebody ended it by hand: it will not change by asking again.
      if (isCoordinationError(error, 'OUTCOME_CONTRADICTED')) return onContradiction(name);
      stopped.throwIfAborted();
      siteFailed(host, 'finish', error, transactionId);
    }
    const delayMs = backoffMs(attempt, BACKOFF, random);
    await sleep(clock, delayMs, { signal: stopped, keepAlive: false });
  }
}
