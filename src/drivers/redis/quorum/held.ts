import type { Validity } from '../../../core/clock.js';
import type { Grant, GrantRequest } from '../../../lock/driver.js';
import type { HeldGrants as GrantTable } from '../lock/held.js';
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
export type HeldGrants = GrantTable<HeldGrant>;

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
