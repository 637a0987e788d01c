import { remainingMs, type Validity } from '../../../core/clock.js';
import { FewMap } from '../../../core/few-map.js';
import type { Grant, GrantRequest, LockNode } from '../../../lock/driver.js';

/** A grant of this process, with what only the driver knows of it. */
export interface HeldGrant {
  readonly grant: Grant;
  readonly ttlMs: number;
  /** As the latest answer told it. */
  validity: Validity;
  /** An acquire of it may still be under way somewhere, and could take the resource again. */
  readonly isAmbiguous: boolean;
}

/** The grants of one process. */
export interface HeldGrants<
  Held extends Pick<HeldGrant, 'grant' | 'ttlMs' | 'validity'> = HeldGrant,
> {
  add(held: Held): Grant;
  get(grantId: string): Held | undefined;
  delete(grantId: string): void;
  /** Those that may still be held. */
  all(): Iterable<Held>;
}

/** What is told of a new grant. */
export interface GrantFacts {
  readonly fence: bigint;
  readonly waiters: number;
  readonly validity: Validity;
}

/** What the engine gets to see of a grant. */
export function grantOf(
  grantId: string,
  { resource, mode, tokens }: Pick<GrantRequest, 'resource' | 'mode' | 'tokens'>,
  { fence, waiters, validity }: GrantFacts,
): Grant {
  return {
    grantId,
    resource,
    mode,
    fencingToken: mode === 'counting' ? undefined : fence,
    tokens: mode === 'exclusive' ? tokens : 1,
    validity,
    waiters,
    loss: undefined,
    onLost: undefined,
    onWaiters: undefined,
  };
}

const SWEEP_FROM = 128;

/** Remembers grants until they are released; those that nobody releases go once they have ended. */
export function heldGrants<
  Held extends Pick<HeldGrant, 'grant' | 'ttlMs' | 'validity'> = HeldGrant,
>({ clock }: LockNode): HeldGrants<Held> {
  const held = new FewMap<string, Held>();
  let sweepAt = SWEEP_FROM;
  return {
    add(one) {
      if (held.size >= sweepAt) {
        for (const { grant, validity, ttlMs } of Array.from(held.values())) {
          if (remainingMs(clock, validity) < -ttlMs) held.delete(grant.grantId);
        }
        sweepAt = Math.max(SWEEP_FROM, 2 * held.size);
      }
      held.set(one.grant.grantId, one);
      return one.grant;
    },
    get: (grantId) => held.get(grantId),
    delete: (grantId) => void held.delete(grantId),
    all: () => held.values(),
  };
}
