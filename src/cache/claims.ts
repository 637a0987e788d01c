import type { CancelTimer } from '../core/clock.js';
import type { Deadlines } from '../core/deadlines.js';
import type { Random } from '../core/random.js';
import type { Authority } from './authority.js';
import type { Claim } from './driver.js';

const TOKEN_LENGTH = 22;

/** A token for one attempt: 132 bits of chance, so that no two attempts ever share one. */
export const newToken = (random: Random): string => random.token(TOKEN_LENGTH);

/** What of a cache is needed for that. */
export interface ClaimKeeper {
  readonly tiers: { readonly authority: Pick<Authority, 'renew'> };
  readonly settings: { readonly leaseMs: number };
  readonly renewals: Deadlines;
}

/** Renews a claim until it is lost or the returned function is called; see {@link keepRenewed}. */
export function keepClaim(
  { tiers: { authority }, settings: { leaseMs }, renewals }: ClaimKeeper,
  key: string,
  claim: Claim,
): CancelTimer {
  const renew = (timeoutMs: number) => authority.renew(key, claim, timeoutMs);
  return keepRenewed({ forMs: leaseMs, renewals, renew });
}

/** What is renewed, and for how long each time. */
export interface Renewed {
  readonly forMs: number;
  readonly renewals: Deadlines;
  renew(timeoutMs: number): Promise<'held' | 'lost' | 'failed'>;
  /** Called before each request; what it answers is called when that was granted. */
  asking?(): () => void;
}

/**
 * Renews at each third of the time, until it is lost or the returned function is called. An answer
 * that does not come changes nothing: it lasts until its time, and the next try may save it.
 */
export function keepRenewed({ forMs, renewals, ...keeper }: Renewed): CancelTimer {
  let isStopped = false;
  const renew = async (): Promise<void> => {
    const granted = keeper.asking?.();
    const answer = await keeper.renew(forMs / 3);
    if (isStopped) return;
    if (answer === 'held') granted?.();
    if (answer !== 'lost') cancel = schedule();
  };
  const schedule = (): CancelTimer => renewals.after(forMs / 3, () => renew().catch(() => {}));
  let cancel = schedule();
  return () => {
    isStopped = true;
    cancel();
  };
}
