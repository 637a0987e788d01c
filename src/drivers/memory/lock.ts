import { onAbort, throwIfAborted } from '../../core/abort.js';
import { type Clock, instantOf, systemClock } from '../../core/clock.js';
import { deferred } from '../../core/deferred.js';
import { CoordinationError, closedError } from '../../core/errors.js';
import type { Guarantees } from '../../core/guarantees.js';
import type {
  Grant,
  GrantRequest,
  ListCallOptions,
  LockBackend,
  LockDriver,
  LockInspection,
  LockNode,
  RenewReply,
} from '../../lock/driver.js';
import { loseGrant } from '../../lock/lose-grant.js';
import type { SpaceGrant, SpaceRequest } from './lock-resource.js';
import { type LockSpace, lockSpace } from './lock-space.js';

/** Options of {@link memoryLock}. */
export interface MemoryLockOptions {
  /** Names the space in messages and guarantees. Default `memory`. */
  readonly name?: string | undefined;
  /** What TTLs are counted on. Default the machine's clock; pass the lock's own in tests. */
  readonly clock?: Clock | undefined;
}

/**
 * The embedded lock driver: first come, first served, TTLs and fencing tokens, inside one process.
 *
 * Every lock that is created with the same driver object shares one space of resources, so that
 * several nodes in one process contend as they would over a network; another driver object is another
 * space. Nothing survives the process, and nothing is seen by other processes: for tests, for demos,
 * and for programs that run once.
 */
export function memoryLock(options: MemoryLockOptions = {}): LockDriver {
  const { name = 'memory', clock = systemClock } = options;
  const space = lockSpace(clock);
  return { backend: 'memory', open: (node) => openBackend(space, node, name) };
}

function openBackend(space: LockSpace, node: LockNode, name: string): LockBackend {
  let closed = false;
  const assertOpen = (): void => {
    if (closed) throw closedError(`the lock of node "${node.nodeId}"`);
  };
  return {
    async acquire(request) {
      assertOpen();
      return contend(space, node, request);
    },
    async acquireAll(requests) {
      assertOpen();
      return takeAll(space, node, requests);
    },
    async renew(grants, ttlsMs) {
      return grants.map((grant, index): RenewReply => {
        const since = instantOf(node.clock);
        const renewed = space.renew(grant.resource, grant.grantId, ttlsMs[index] ?? 0);
        if (renewed === undefined) return { state: 'lost' };
        const validity = { since, forMs: renewed.remainingMs };
        return { state: 'held', validity, waiters: renewed.waiters };
      });
    },
    release: async (grant) => space.release(grant.resource, grant.grantId),
    downgrade: async (grant) => downgrade(space, node, grant),
    reserveTokens: async (grant, tokens) =>
      space.reserveTokens(grant.resource, grant.grantId, tokens),
    watchWaiters(grant) {
      const waiters = space.waiters(grant.resource);
      // Whoever comes later is told of anyway.
      if (waiters > 0) queueMicrotask(() => grant.onWaiters?.(waiters));
    },
    inspect: async (resource) => space.inspect(resource),
    list: (prefix, options) => list(space, prefix, options),
    forceRelease: async (resource, reason) => space.forceRelease(resource, reason),
    watch: (resource, changed, signal) => void onAbort(signal, space.watch(resource, changed)),
    guarantees: async () => guaranteesOf(name),
    async close() {
      closed = true;
    },
  };
}

function contend(
  space: LockSpace,
  node: LockNode,
  request: GrantRequest,
): Promise<Grant | undefined> {
  const { resource, ttlMs } = request;
  const grantId = node.nextGrantId();
  const outcome = deferred<Grant | undefined>();
  let stop = (): void => {};
  const attempt = openAttempt(node, request, grantId, (grant) => {
    // From here on the grant is the caller's: an abort no longer takes it back.
    stop();
    outcome.resolve(grant);
  });
  const reply = space.acquire(attempt);
  if (reply.state === 'granted') attempt.onGranted(reply.grant);
  else if (reply.state !== 'queued') outcome.resolve(undefined);
  if (reply.state !== 'queued') return outcome.promise;
  const { signal } = request;
  stop = onAbort(signal, () => {
    space.cancel(resource, grantId, ttlMs);
    outcome.reject(signal.reason);
  });
  return outcome.promise;
}

/** A request as the space takes it, and what becomes of its grant. */
function openAttempt(
  node: LockNode,
  { resource, owner, mode, permits, capacity, ttlMs, tokens, wait, lockDelayMs }: GrantRequest,
  grantId: string,
  onGrant: (grant: Grant) => void,
): SpaceRequest {
  let grant: Grant | undefined;
  return {
    resource,
    owner,
    mode,
    permits,
    capacity,
    ttlMs,
    tokens,
    wait,
    lockDelayMs,
    grantId,
    onGranted(granted) {
      grant = grantOf(node, { grantId, resource, mode }, granted);
      onGrant(grant);
    },
    onLost(why) {
      if (grant !== undefined) loseGrant(grant, endedError(resource, grant.fencingToken, why));
    },
    onWaiters: (waiters) => grant?.onWaiters?.(waiters),
  };
}

function takeAll(
  space: LockSpace,
  node: LockNode,
  requests: readonly GrantRequest[],
): readonly Grant[] | 'busy' {
  const grants: Grant[] = [];
  const attempts = requests.map((request) =>
    openAttempt(node, request, node.nextGrantId(), (grant) => void grants.push(grant)),
  );
  const granted = space.acquireAll(attempts);
  if (granted === undefined) return 'busy';
  attempts.forEach((attempt, index) => {
    const each = granted[index];
    if (each !== undefined) attempt.onGranted(each);
  });
  return grants;
}

function downgrade(space: LockSpace, node: LockNode, grant: Grant): Grant | undefined {
  const { grantId, resource } = grant;
  const reader = space.downgrade(resource, grantId);
  if (reader === undefined) return undefined;
  const next = grantOf(node, { grantId, resource, mode: 'shared' }, reader);
  // What the space tells, it tells the grant that it gave first.
  grant.onLost = (reason) => loseGrant(next, reason);
  grant.onWaiters = (waiters) => next.onWaiters?.(waiters);
  return next;
}

function grantOf(
  node: LockNode,
  names: Pick<Grant, 'grantId' | 'resource' | 'mode'>,
  { fencingToken, tokens, waiters, remainingMs: forMs }: SpaceGrant,
): Grant {
  return {
    grantId: names.grantId,
    resource: names.resource,
    mode: names.mode,
    fencingToken,
    tokens,
    validity: { since: instantOf(node.clock), forMs },
    waiters,
    loss: undefined,
    onLost: undefined,
    onWaiters: undefined,
  };
}

async function* list(
  space: LockSpace,
  prefix: string,
  { limit = Number.POSITIVE_INFINITY, signal }: ListCallOptions = {},
): AsyncGenerator<LockInspection> {
  let count = 0;
  for (const name of space.list(prefix)) {
    throwIfAborted(signal);
    if (count >= limit) return;
    const inspected = space.inspect(name);
    if (inspected.holders.length + inspected.waiters.length === 0) continue;
    count += 1;
    yield inspected;
  }
}

function endedError(
  resource: string,
  fencingToken: bigint | undefined,
  why = 'it was not renewed in time',
): CoordinationError {
  const message = `the grant of "${resource}" has ended: ${why}`;
  return new CoordinationError('LOCK_LOST', message, { resource, fencingToken });
}

function guaranteesOf(subject: string): Guarantees {
  return {
    subject,
    survives: 'none',
    promises: [
      'Mutual exclusion and service in order of arrival among the locks that share this driver object.',
      'Fencing tokens that increase strictly over the exclusive grants of a resource.',
      'All readers between two writers carry one token, also over a pause of up to an hour.',
    ],
    warnings: ['Other processes neither see these locks nor are kept out by them.'],
    settings: {},
  };
}
