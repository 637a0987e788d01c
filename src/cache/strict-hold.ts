import type { CancelTimer } from '../core/clock.js';
import type { Deadlines } from '../core/deadlines.js';

/** What prolongs a reservation. */
export interface HoldKeeper {
  readonly holdMs: number;
  readonly renewals: Deadlines;
  renew(timeoutMs: number): Promise<'held' | 'lost' | 'failed'>;
  /** Prolonged; `sentMs` was before the request. */
  onRenewed(sentMs: number): void;
  nowMs(): number;
}

/**
 * Prolongs a reservation at each third of its time, until it is lost or the returned function is
 * called. An answer that does not come changes nothing.
 */
export function keepHold({ holdMs, renewals, ...keeper }: HoldKeeper): CancelTimer {
  let isStopped = false;
  const renew = async (): Promise<void> => {
    const sentMs = keeper.nowMs();
    const answer = await keeper.renew(holdMs / 3);
    if (isStopped) return;
    if (answer === 'held') keeper.onRenewed(sentMs);
    if (answer !== 'lost') cancel = schedule();
  };
  const schedule = (): CancelTimer => renewals.after(holdMs / 3, () => renew().catch(() => {}));
  let cancel = schedule();
  return () => {
    isStopped = true;
    cancel();
  };
}
