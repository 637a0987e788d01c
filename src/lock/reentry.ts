import type { AnyOptions } from './claim.js';
import { lockReentryError } from './errors.js';
import { HeldLease } from './lease.js';
import { HeldSet } from './lease-set.js';
import type { LeaseSet } from './leases.js';
import type { AcquireOptions } from './options.js';
import type { LockSelf } from './self.js';
import type { Claim } from './waiting-room.js';

/**
 * What a task gets that holds the resource already: one more lease of what it holds, or LOCK_REENTRY;
 * undefined when it does not hold it, or asks to wait all the same.
 *
 * A plain `acquire` leaves no trace in the task, so only `withLock` and `within` tell what it holds.
 */
export function reenter(
  self: LockSelf,
  resource: string,
  claim: Claim,
  options: AnyOptions<AcquireOptions>,
): HeldLease | undefined {
  const around = self.around.getStore();
  const { within, reentry, reentrant = false } = options;
  if ((around === undefined && within === undefined) || reentry === 'wait') return undefined;
  const inner = within === undefined ? [] : leasesOf(within);
  const held = [...(around ?? []), ...inner].findLast(
    (lease) => lease.resource === resource && lease.isHeld,
  );
  // What is used in another way altogether is for the backend to refuse.
  if (held === undefined || (held.mode === 'counting') !== (claim.mode === 'counting')) {
    return undefined;
  }
  if (!reentrant) throw lockReentryError(resource);
  if (!covers(held, claim)) {
    const more = claim.mode === 'counting' ? 'with fewer permits' : 'as a reader';
    throw lockReentryError(resource, `${more} and would wait for itself; release that first`);
  }
  self.office.context.recorder.reentered();
  return held.again(claim.mode);
}

function covers(held: HeldLease, { mode, permits, capacity }: Claim): boolean {
  if (mode === 'counting') return held.capacity === capacity && (held.permits ?? 0) >= permits;
  return held.mode === 'exclusive' || mode === 'shared';
}

function leasesOf(within: NonNullable<AcquireOptions['within']>): readonly HeldLease[] {
  if (within instanceof HeldSet) return within.leases;
  return within instanceof HeldLease ? [within] : leasesOfCopy(within);
}

/** A lease of another installed copy of tricord tells what is held, and no more. */
function leasesOfCopy(within: unknown): readonly HeldLease[] {
  const { resources, get } = within as Partial<LeaseSet>;
  if (resources === undefined || get === undefined) return [within as HeldLease];
  return resources.map((resource) => (within as LeaseSet).get(resource) as unknown as HeldLease);
}
