import { AsyncLocalStorage } from 'node:async_hooks';
import { throwIfAborted } from '../core/abort.js';
import { defaultNodeId } from '../core/ids.js';
import {
  assertName,
  assertNodeId,
  assertNumber,
  assertResourceId,
  assertTtlMs,
  invalidArgument,
} from '../core/validate.js';
import { acquire, tryAcquire } from './acquire.js';
import { acquireClaim, assertWaitMs } from './claim.js';
import type { ListCallOptions, LockInspection } from './driver.js';
import { elect } from './election.js';
import type { HeldLease } from './lease.js';
import type { Lock } from './lock.js';
import { lockOffice } from './office.js';
import type {
  CloseLockOptions,
  ElectOptions,
  ForceReleaseOptions,
  ListOptions,
  LockCallOptions,
  LockOptions,
} from './options.js';
import type { LockSelf } from './self.js';
import { watch } from './watch.js';
import { type AnyBody, type AnyWithLockOptions, withLock } from './with-lock.js';

const TTL_MS = 30_000;
const WAIT_MS = 10_000;
const DRAIN_MS = 5_000;
const REASON_BYTES_MAX = 256;

/**
 * A lock on a backend: leases of named resources, exclusive ones with fencing tokens, over all
 * processes that use the same backend.
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
  const { backend } = office.context;
  const verbs = {
    nodeId,
    acquire: (resource: string | readonly string[], asked = {}) =>
      settled(acquire, self, resource, asked),
    tryAcquire: (resource: string | readonly string[], asked = {}) =>
      settled(tryAcquire, self, resource, asked),
    async withLock(
      resource: string | readonly string[],
      ...rest: [AnyWithLockOptions, AnyBody] | [AnyBody]
    ) {
      const [asked, body] = rest.length === 1 ? [{}, rest[0]] : rest;
      if (typeof body !== 'function') {
        throw invalidArgument('body', body, 'a function that works while the lease is held');
      }
      return office.run(() => withLock(self, resource, asked, body));
    },
    async inspect(resource: string, { signal }: LockCallOptions = {}) {
      assertResourceId(resource, 'resource');
      office.assertOpen();
      throwIfAborted(signal);
      return backend.inspect(resource, { signal });
    },
    list: (asked: ListOptions = {}) => list(self, asked),
    async forceRelease(resource: string, asked: ForceReleaseOptions) {
      assertResourceId(resource, 'resource');
      assertName('reason', asked?.reason, REASON_BYTES_MAX);
      office.assertOpen();
      throwIfAborted(asked.signal);
      return backend.forceRelease(resource, asked.reason, { signal: asked.signal });
    },
    watch(resource: string, { signal }: LockCallOptions = {}) {
      assertResourceId(resource, 'resource');
      office.assertOpen();
      return watch(office, resource, signal);
    },
    elect: (name: string, asked: ElectOptions) => openElection(self, name, asked),
    stats: () => office.context.recorder.stats(),
    async guarantees({ signal }: LockCallOptions = {}) {
      office.assertOpen();
      throwIfAborted(signal);
      return backend.guarantees({ signal });
    },
    async close({ drainMs = DRAIN_MS }: CloseLockOptions = {}) {
      assertNumber('drainMs', drainMs, { min: 0 });
      return office.close(drainMs);
    },
  };
  // The overloads of the interface say which lease comes of which options; acquireClaim sees to it.
  return verbs as unknown as Lock;
}

/** A verb that throws before it begins rejects instead. */
function settled<Options, T>(
  verb: (self: LockSelf, resource: string | readonly string[], options: Options) => Promise<T>,
  self: LockSelf,
  resource: string | readonly string[],
  options: Options,
): Promise<T> {
  try {
    return verb(self, resource, options);
  } catch (error) {
    return Promise.reject(error);
  }
}

function openSelf(options: LockOptions): LockSelf {
  if (typeof options?.driver?.open !== 'function') {
    throw invalidArgument('driver', options?.driver, 'a lock driver, such as memoryLock()');
  }
  const { nodeId = defaultNodeId(options.random), ttlMs = TTL_MS, waitMs = WAIT_MS } = options;
  const { localHandoffs = 0, retainMs = 0 } = options;
  assertNodeId(nodeId);
  assertTtlMs(ttlMs);
  assertWaitMs(waitMs, undefined);
  assertNumber('retainMs', retainMs, { min: 0 });
  assertNumber('localHandoffs', localHandoffs, { min: 0, integer: true });
  const office = lockOffice(nodeId, options);
  const around = new AsyncLocalStorage<readonly HeldLease[]>();
  return { nodeId, office, defaults: { ttlMs, waitMs, retainMs }, around };
}

async function* list(
  { office }: LockSelf,
  { prefix = '', limit, signal }: ListOptions,
): AsyncGenerator<LockInspection, void, undefined> {
  if (prefix !== '') assertResourceId(prefix, 'prefix');
  if (limit !== undefined) assertNumber('limit', limit, { min: 1, integer: true });
  office.assertOpen();
  throwIfAborted(signal);
  const asked: ListCallOptions = { limit, signal };
  yield* office.context.backend.list(prefix, asked);
}

function openElection(self: LockSelf, name: string, options: ElectOptions) {
  assertResourceId(name, 'name');
  const { onElected, ttlMs, signal } = options ?? {};
  if (typeof onElected !== 'function') {
    throw invalidArgument('onElected', onElected, 'a function that works while it leads');
  }
  const never = new AbortController();
  const endless = { ttlMs, waitMs: Number.POSITIVE_INFINITY, retainMs: 0 };
  const claim = acquireClaim({ ...endless, signal: signal ?? never.signal }, self.defaults);
  self.office.assertOpen();
  return elect(self, name, claim, options);
}
