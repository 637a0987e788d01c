import { assertResourceId } from '../core/validate.js';
import { type AnyOptions, acquireClaim, inGlobalOrder, tryClaim } from './claim.js';
import { lockTimeoutError } from './errors.js';
import type { HeldLease } from './lease.js';
import type { HeldSet } from './lease-set.js';
import type { LeaseOptions } from './options.js';
import { reenter } from './reentry.js';
import { type LockSelf, take } from './self.js';
import { takeSeveral } from './several.js';
import type { Claim } from './waiting-room.js';

/** One lease, or those of several resources. */
export type Taken = HeldLease | HeldSet;

/** `Lock.acquire`. Throws, or rejects. */
export function acquire(
  self: LockSelf,
  resource: string | readonly string[],
  options: AnyOptions,
): Promise<Taken> {
  if (typeof resource === 'string' || !Array.isArray(resource)) {
    assertResource(self, resource);
    const claim = acquireClaim(options, self.defaults);
    const nested = reenter(self, resource, claim, options);
    if (nested !== undefined) return Promise.resolve(nested);
    const taking = take(self, resource, claim);
    return claim.wait ? (taking as Promise<HeldLease>) : inTime(self, taking, [resource]);
  }
  const resources = inGlobalOrder(resource);
  const claim = acquireClaim(options, self.defaults);
  return inTime(
    self,
    takeSeveral(self, resources, claim, nestedOf(self, resources, claim, options)),
    resources,
  );
}

/** `Lock.tryAcquire`. Throws, or rejects. */
export function tryAcquire(
  self: LockSelf,
  resource: string | readonly string[],
  options: AnyOptions<LeaseOptions>,
): Promise<Taken | undefined> {
  if (typeof resource === 'string' || !Array.isArray(resource)) {
    assertResource(self, resource);
    return take(self, resource, tryClaim(options, self.defaults));
  }
  const resources = inGlobalOrder(resource);
  return takeSeveral(self, resources, tryClaim(options, self.defaults), new Map());
}

function assertResource({ office }: LockSelf, resource: unknown): asserts resource is string {
  if (typeof resource !== 'string' || !office.knows(resource)) {
    assertResourceId(resource, 'resource');
  }
}

/** What the task holds already of several resources. */
function nestedOf(
  self: LockSelf,
  resources: readonly string[],
  claim: Claim,
  options: AnyOptions,
): ReadonlyMap<string, HeldLease> {
  const nested = new Map<string, HeldLease>();
  try {
    for (const resource of resources) {
      const lease = reenter(self, resource, claim, options);
      if (lease !== undefined) nested.set(resource, lease);
    }
  } catch (error) {
    for (const lease of nested.values()) void lease.release();
    throw error;
  }
  return nested;
}

/** Only waitMs: 0 is answered undefined: it was taken, and there was no time to wait. */
async function inTime<T extends Taken>(
  { office }: LockSelf,
  taking: Promise<T | undefined>,
  [resource = '']: readonly string[],
): Promise<T> {
  const { clock } = office.context.node;
  const startedMs = clock.monotonicMs();
  const taken = await taking;
  if (taken !== undefined) return taken;
  throw lockTimeoutError(resource, clock.monotonicMs() - startedMs, undefined);
}
