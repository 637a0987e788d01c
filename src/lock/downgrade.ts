import { isCoordinationError } from '../core/errors.js';
import type { Grant } from './driver.js';
import { lockLostError, lockReentryError } from './errors.js';
import type { SharedLease } from './leases.js';
import { Tenure } from './tenure.js';

/**
 * Makes a writer's tenure a reader's, of which `open` opens the lease. From the beginning on nobody may
 * rely on being alone: a reply that is lost leaves the tenure `yielding`, to be asked again or released.
 */
export async function downgrade(
  tenure: Tenure,
  open: (reader: Tenure) => SharedLease,
): Promise<SharedLease> {
  const { context, hold, claim, owner, task, fencingToken } = tenure.parts;
  const { resource } = hold.grant;
  if (tenure.leaseCount > 1)
    throw lockReentryError(resource, 'once more, further in; release that first');
  if (tenure.state === 'ended' || !hold.isLasting) {
    const { ended } = tenure.loss;
    throw ended?.reason ?? lockLostError(resource, fencingToken, 'it was released before');
  }
  tenure.state = 'yielding';
  let grant: Grant | undefined;
  try {
    grant = await context.backend.downgrade(hold.grant);
  } catch (error) {
    const isAsBefore = isCoordinationError(error, 'BACKEND_UNAVAILABLE');
    if (isAsBefore && stateOf(tenure) === 'yielding') tenure.state = 'held';
    throw error;
  }
  if (grant === undefined && stateOf(tenure) !== 'ended') hold.onLost(true);
  const { ended } = tenure.loss;
  if (grant === undefined || stateOf(tenure) === 'ended') {
    throw ended?.reason ?? lockLostError(resource, fencingToken, 'it ended meanwhile');
  }
  const reader = new Tenure(
    {
      ...{ context, hold, owner, task },
      claim: { ...claim, mode: 'shared', capacity: Number.POSITIVE_INFINITY },
      fencingToken: grant.fencingToken,
    },
    context.node.clock.monotonicMs(),
    tenure,
  );
  tenure.state = 'ended';
  hold.replace(tenure, reader, grant);
  context.recorder.downgraded();
  const epoch = grant.fencingToken;
  context.channels.downgraded.publish(() => ({ resource, owner, fencingToken, epoch }));
  return open(reader);
}

/** What an await may have changed. */
const stateOf = (tenure: Tenure): Tenure['state'] => tenure.state;
