export { createLock } from './create-lock.js';
export type {
  LockAcquireContext,
  LockHandedOverEvent,
  LockLostEvent,
  LockReleaseContext,
  LockReleasedEvent,
} from './diagnostics.js';
export type {
  CallOptions,
  Grant,
  GrantRequest,
  ListCallOptions,
  LockBackend,
  LockDriver,
  LockInspection,
  LockMode,
  LockNode,
  LockParty,
  RenewReply,
} from './driver.js';
export type {
  AcquireOptions,
  CloseLockOptions,
  Lease,
  LeaseOptions,
  Lock,
  LockCallOptions,
  LockOptions,
  WithLockOptions,
} from './lock.js';
export { loseGrant } from './lose-grant.js';
export type { LockStats } from './statistics.js';
