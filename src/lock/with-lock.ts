import { invalidArgument } from '../core/validate.js';
import { acquire, type Taken } from './acquire.js';
import type { AnyOptions } from './claim.js';
import { lockLostError } from './errors.js';
import { HeldLease } from './lease.js';
import type { WithLockOptions } from './options.js';
import type { LockSelf } from './self.js';

/** The options of `withLock`, of whatever mode. */
export type AnyWithLockOptions = AnyOptions<WithLockOptions>;
/** What is done while whatever lease is held. */
export type AnyBody = (lease: Taken) => unknown;

/** `Lock.withLock`: takes, works and releases. */
export async function withLock(
  self: LockSelf,
  resource: string | readonly string[],
  options: AnyWithLockOptions,
  body: AnyBody,
): Promise<unknown> {
  const { onLost = 'resolve' } = options ?? {};
  if (onLost !== 'resolve' && onLost !== 'reject') {
    throw invalidArgument('onLost', onLost, "'resolve' or 'reject'");
  }
  const lease = await acquire(self, resource, options);
  const leases = lease instanceof HeldLease ? [lease] : lease.leases;
  const around = self.around.getStore() ?? [];
  let value: unknown;
  try {
    value = await self.around.run([...around, ...leases], () => body(lease));
  } finally {
    await lease.release();
  }
  // The work is done either way; whoever must know that it may have raced asks for the rejection.
  const isLost = (await lease.release()) === 'lost';
  if (!isLost || onLost === 'resolve') return value;
  const lost = leases.find(({ signal }) => signal.aborted) ?? leases[0];
  const { resource: name = '', fencingToken, signal } = lost ?? {};
  throw lockLostError(name, fencingToken, 'it ended before its body did', signal?.reason);
}
