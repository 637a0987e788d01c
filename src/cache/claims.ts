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

/**
 * Renews a claim at each third of its time until it is lost or the returned function is called.
 * An answer that does not come changes nothing: the claim lasts until its time, and the next try may
 * save it.
 */
export function keepClaim(
  { tiers: { authority }, settings: { leaseMs }, renewals }: ClaimKeeper,
  key: string,
  claim: Claim,
): () => void {
  let isStopped = false;
  const renew = async (): Promise<void> => {
    const answer = await authority.renew(key, claim, leaseMs / 3);
    if (answer !== 'lost' && !isStopped) cancel = schedule();
  };
  const schedule = () => renewals.after(leaseMs / 3, () => renew().catch(() => {}));
  let cancel = schedule();
  return () => {
    isStopped = true;
    cancel();
  };
}
