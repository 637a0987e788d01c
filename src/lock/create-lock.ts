import { AsyncLocalStorage } from 'node:async_hooks';
import { throwIfAborted } from '../core/abort.js';
import { elapsedMs, instantOf } from '../core/clock.js';
import { defaultNodeId, lockId } from '../core/ids.js';
import {
  assertNodeId,
  assertNumber,
  assertResourceId,
  assertTtlMs,
  invalidArgument,
} from '../core/validate.js';
import { acquireClaim, assertWaitMs, type ClaimDefaults, tryClaim } from './claim.js';
import type { LockAcquireContext } from './diagnostics.js';
import { lockLostError, lockReentryError, lockTimeoutError } from './errors.js';
import type {
  AcquireOptions,
  CloseLockOptions,
  Lease,
  LeaseOptions,
  Lock,
  LockCallOptions,
  LockOptions,
  WithLockOptions,
} from './lock.js';
import { type LockOffice, lockOffice } from './office.js';
import type { Claim } from './waiting-room.js';

const TTL_MS = 30_000;
const WAIT_MS = 10_000;
const DRAIN_MS = 5_000;

/** What the functions below share. */
interface Self {
  readonly nodeId: string;
  readonly office: LockOffice;
  readonly defaults: ClaimDefaults;
  /** The leases of the `withLock` bodies around the running task, outermost first. */
  readonly around: AsyncLocalStorage<readonly Lease[]>;
}

/**
 * A lock on a backend: exclusive leases of named resources, with fencing tokens, over all processes
 * that use the same backend.
 *
 * Sends nothing before the first call. The *node* contends: its tasks queue here, first come, first
 * served, and a lease goes from task to task without a round trip as long as nobody else is wronged.
 * A lease is renewed at a third of its TTL, counts from before the request for it was sent, and is
 * given up 1 % and 2 ms before its end for drift (after Redlock's validity time).
 *
 * @throws TypeError (INVALID_ARGUMENT) for a bad option.
 */
export function createLock(options: LockOptions): Lock {
  const self = openSelf(options);
  const { office, nodeId } = self;
  return {
    nodeId,
    async acquire(resource, options = {}) {
      return acquire(self, resource, options);
    },
    async tryAcquire(resource, options = {}) {
      return tryAcquire(self, resource, options);
    },
    async withLock<T>(
      resource: string,
      ...rest: [WithLockOptions, Body<T>] | [Body<T>]
    ): Promise<T> {
      const [options, body] = rest.length === 1 ? [{}, rest[0]] : rest;
      if (typeof body !== 'function') {
        throw invalidArgument('body', body, 'a function that works while the lease is held');
      }
      return office.run(() => withLock(self, resource, options, body));
    },
    async inspect(resource, options: LockCallOptions = {}) {
      assertResourceId(resource, 'resource');
      office.assertOpen();
      throwIfAborted(options.signal);
      return office.context.backend.inspect(resource, options);
    },
    stats: () => office.context.recorder.stats(),
    async guarantees(options: LockCallOptions = {}) {
      office.assertOpen();
      throwIfAborted(options.signal);
      return office.context.backend.guarantees(options);
    },
    async close({ drainMs = DRAIN_MS }: CloseLockOptions = {}) {
      assertNumber('drainMs', drainMs, { min: 0 });
      return office.close(drainMs);
    },
  };
}

type Body<T> = (lease: Lease) => T | Promise<T>;

function openSelf(options: LockOptions): Self {
  if (typeof options?.driver?.open !== 'function') {
    throw invalidArgument('driver', options?.driver, 'a lock driver, such as memoryLock()');
  }
  const { nodeId = defaultNodeId(options.random), ttlMs = TTL_MS, waitMs = WAIT_MS } = options;
  const { localHandoffs = 0 } = options;
  assertNodeId(nodeId);
  assertTtlMs(ttlMs);
  assertWaitMs(waitMs, undefined);
  assertNumber('localHandoffs', localHandoffs, { min: 0, integer: true });
  const office = lockOffice(nodeId, options);
  return { nodeId, office, defaults: { ttlMs, waitMs }, around: new AsyncLocalStorage() };
}

async function acquire(self: Self, resource: string, options: AcquireOptions): Promise<Lease> {
  const claim = acquireClaim(resource, options, self.defaults);
  if (options.reentry !== 'wait') refuseReentry(self, resource, options.within);
  const since = instantOf(self.office.context.node.clock);
  const lease = await take(self, resource, claim);
  if (lease !== undefined) return lease;
  // Only waitMs: 0 comes here: it was taken, and there was no time to wait.
  const waitedMs = elapsedMs(self.office.context.node.clock, since);
  throw lockTimeoutError(resource, waitedMs, undefined);
}

async function tryAcquire(
  self: Self,
  resource: string,
  options: LeaseOptions,
): Promise<Lease | undefined> {
  return take(self, resource, tryClaim(resource, options, self.defaults));
}

function take(self: Self, resource: string, claim: Claim): Promise<Lease | undefined> {
  const { office, nodeId } = self;
  office.assertOpen();
  throwIfAborted(claim.signal);
  const context = (): LockAcquireContext => ({
    resource,
    owner: lockId(resource, nodeId),
    backend: office.context.backendName,
    ttlMs: claim.ttlMs,
    waitMs: claim.wait ? claim.waitMs : 0,
  });
  return office.context.channels.acquire.trace(context, () => office.claim(resource, claim));
}

async function withLock<T>(
  self: Self,
  resource: string,
  options: WithLockOptions,
  body: Body<T>,
): Promise<T> {
  const { onLost = 'resolve' } = options ?? {};
  if (onLost !== 'resolve' && onLost !== 'reject') {
    throw invalidArgument('onLost', onLost, "'resolve' or 'reject'");
  }
  const lease = await acquire(self, resource, options);
  const around = self.around.getStore() ?? [];
  let value: T;
  try {
    value = await self.around.run([...around, lease], () => body(lease));
  } finally {
    await lease.release();
  }
  // The work is done either way; whoever must know that it may have raced asks for the rejection.
  const isLost = (await lease.release()) === 'lost';
  if (!isLost || onLost === 'resolve') return value;
  throw lockLostError(resource, lease.fencingToken, 'it ended before its body did', lossOf(lease));
}

const lossOf = ({ signal }: Lease): unknown => (signal.aborted ? signal.reason : undefined);

/** A plain `acquire` leaves no trace in the task, so only these two ways of holding are known. */
function refuseReentry(self: Self, resource: string, within: Lease | undefined): void {
  const around = self.around.getStore() ?? [];
  const held = within === undefined ? around : [...around, within];
  const isHeld = held.some((lease) => lease.resource === resource && lease.isHeld);
  if (isHeld) throw lockReentryError(resource);
}
