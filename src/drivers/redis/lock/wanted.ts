import type { Grant } from '../../../lock/driver.js';
import { slotGroups } from '../slots.js';
import { keyOf, type RedisLockContext } from './context.js';
import type { HeldGrants } from './held.js';
import { COUNT_WAITERS } from './look.js';

const BATCH = 250;

/**
 * Asks who waits for what is held here, after notices may have been lost: a lock that is retained
 * would be given up only at its next renewal.
 */
export function countWaiters(context: RedisLockContext, grants: HeldGrants): void {
  const { calls } = context;
  const held = [...grants.all()].map(({ grant }) => grant).filter((grant) => grant.onWaiters);
  const ofGrant = ({ resource }: Grant): string => keyOf(context, resource);
  for (const batch of slotGroups(calls.client, held, ofGrant, BATCH)) {
    calls.script(COUNT_WAITERS, batch.map(ofGrant), []).then(
      (counts) => {
        if (!Array.isArray(counts)) return;
        for (const [index, { onWaiters }] of batch.entries()) {
          const count = Number(counts[index]);
          if (count > 0) onWaiters?.(count);
        }
      },
      // The next renewal tells it.
      () => {},
    );
  }
}
