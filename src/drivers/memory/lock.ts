import { onAbort, throwIfAborted } from '../../core/abort.js';
import { type Clock, instantOf, systemClock } from '../../core/clock.js';
import { deferred } from '../../core/deferred.js';
import { CoordinationError, closedError } from '../../core/errors.js';
import type { Guarantees } from '../../core/guarantees.js';
import type {
  Grant,
  GrantRequest,
  LockBackend,
  LockDriver,
  LockNode,
  RenewReply,
} from '../../lock/driver.js';
import { loseGrant } from '../../lock/lose-grant.js';
import { unsupportedVerbs } from '../../lock/unsupported-verbs.js';
import type { SpaceGrant } from './lock-resource.js';
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
  return {
    ...unsupportedVerbs('memory'),
    async acquire(request) {
      throwIfAborted(request.signal);
      if (closed) throw closedError(`the lock of node "${node.nodeId}"`);
      return contend(space, node, request);
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
    reserveTokens: async (grant, tokens) =>
      space.reserveTokens(grant.resource, grant.grantId, tokens),
    inspect: async (resource) => space.inspect(resource),
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
  const grantId = node.nextGrantId();
  const { resource, mode, ttlMs, signal } = request;
  const outcome = deferred<Grant | undefined>();
  let grant: Grant | undefined;
  let stop = (): void => {};
  const granted = ({ fencingToken, tokens, waiters, remainingMs: forMs }: SpaceGrant): void => {
    const validity = { since: instantOf(node.clock), forMs };
    const parts = { grantId, resource, mode, fencingToken, tokens, validity, waiters };
    grant = { ...parts };
    // From here on the grant is the caller's: an abort no longer takes it back.
    stop();
    outcome.resolve(grant);
  };
  const reply = space.acquire({
    ...request,
    grantId,
    onGranted: granted,
    onLost: () => {
      if (grant !== undefined) loseGrant(grant, expired(resource, grant.fencingToken));
    },
    onWaiters: (waiters) => grant?.onWaiters?.(waiters),
  });
  if (reply.state === 'granted') granted(reply.grant);
  if (reply.state !== 'queued') return reply.state === 'granted' ? outcome.promise : busy();
  stop = onAbort(signal, () => {
    space.cancel(resource, grantId, ttlMs);
    outcome.reject(signal.reason);
  });
  return outcome.promise;
}

const busy = async (): Promise<undefined> => undefined;

function expired(resource: string, fencingToken: bigint | undefined): CoordinationError {
  return new CoordinationError(
    'LOCK_LOST',
    `the grant of "${resource}" expired; it was not renewed in time`,
    { resource, fencingToken },
  );
}

function guaranteesOf(subject: string): Guarantees {
  return {
    subject,
    survives: 'none',
    promises: [
      'Mutual exclusion and service in order of arrival among the locks that share this driver object.',
      'Fencing tokens that increase strictly over the exclusive grants of a resource.',
    ],
    warnings: ['Other processes neither see these locks nor are kept out by them.'],
    settings: {},
  };
}
