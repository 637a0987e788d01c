import type { AsyncLocalStorage } from 'node:async_hooks';
import { throwIfAborted } from '../core/abort.js';
import type { LockId } from '../core/ids.js';
import { lockId } from '../core/ids.js';
import type { ClaimDefaults } from './claim.js';
import type { HeldLease } from './lease.js';
import type { LockOffice } from './office.js';
import type { Claim } from './waiting-room.js';

/** One lock, as its verbs share it. */
export interface LockSelf {
  readonly nodeId: string;
  readonly office: LockOffice;
  readonly defaults: ClaimDefaults;
  /** The leases of the `withLock` bodies around the running task, outermost first. */
  readonly around: AsyncLocalStorage<readonly HeldLease[]>;
}

/** Takes one resource; undefined only when the claim does not wait and it is taken. */
export function take(
  self: LockSelf,
  resource: string,
  claim: Claim,
): Promise<HeldLease | undefined> {
  const { office, nodeId } = self;
  office.assertOpen();
  throwIfAborted(claim.signal);
  const { acquire } = office.context.channels;
  const contender = office.contenderOf(resource);
  if (!acquire.isListened) return contender.claim(claim);
  const owner: LockId = lockId(resource, nodeId);
  const { mode, ttlMs, wait, waitMs } = claim;
  const backend = office.context.backendName;
  const context = { resource, owner, backend, mode, ttlMs, waitMs: wait ? waitMs : 0 };
  return acquire.trace(
    () => context,
    () => contender.claim(claim),
  );
}
