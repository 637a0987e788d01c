import { remainingMs, type Validity } from '../../../core/clock.js';
import type { Grant, GrantRequest, LockNode } from '../../../lock/driver.js';
import type { Sends } from './sends.js';

/** A grant of this process, with what only the driver knows of it. */
export interface HeldGrant {
  readonly grant: Grant;
  readonly owner: string;
  readonly delayMs: number;
  /** What the newest renewal asked for. */
  ttlMs: number;
  /** As the latest answer told it. */
  validity: Validity;
  /** The newest token that was reserved, or may have been. */
  lastToken: bigint;
  readonly sends: Sends;
}

/** The grants of one process. */
export interface HeldGrants {
  add(held: HeldGrant): Grant;
  get(grantId: string): HeldGrant | undefined;
  delete(grantId: string): void;
}

const SWEEP_FROM = 128;

/** Remembers grants until they are released; those that nobody releases go once they have ended. */
export function heldGrants({ clock }: LockNode): HeldGrants {
  const held = new Map<string, HeldGrant>();
  let sweepAt = SWEEP_FROM;
  return {
    add(one) {
      if (held.size >= sweepAt) {
        for (const [id, { validity, ttlMs }] of held) {
          if (remainingMs(clock, validity) < -ttlMs) held.delete(id);
        }
        sweepAt = Math.max(SWEEP_FROM, 2 * held.size);
      }
      held.set(one.grant.grantId, one);
      return one.grant;
    },
    get: (grantId) => held.get(grantId),
    delete: (grantId) => held.delete(grantId),
  };
}

/** What the engine gets to see of a grant. */
export function grantOf(
  { resource, tokens }: GrantRequest,
  facts: {
    readonly grantId: string;
    readonly token: bigint;
    readonly validity: Validity;
    readonly waiters: number;
  },
): Grant {
  const { grantId, token: fencingToken, validity, waiters } = facts;
  return { grantId, resource, mode: 'exclusive', fencingToken, tokens, validity, waiters };
}
