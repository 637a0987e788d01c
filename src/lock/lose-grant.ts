import type { Grant } from './driver.js';

/**
 * For drivers: notes that a grant is gone, and tells the engine at once. Only the first call counts.
 * `reason` is the error that the holder of the lease is shown, a LOCK_LOST as a rule.
 */
export function loseGrant(grant: Grant, reason: unknown): void {
  if (grant.loss !== undefined) return;
  grant.loss = { reason };
  grant.onLost?.(reason);
}
