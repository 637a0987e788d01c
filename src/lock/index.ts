export { createLock } from './create-lock.js';
export type {
  LockAcquireContext,
  LockDowngradedEvent,
  LockElectedEvent,
  LockHandedOverEvent,
  LockLostEvent,
  LockReleaseContext,
  LockReleasedEvent,
  LockResignedEvent,
  LockRetainedEvent,
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
export type { AnyLease, CountingLease, Lease, LeaseSet, SharedLease } from './leases.js';
export type { Election, Lock, LockBody, LockEvent } from './lock.js';
export { loseGrant } from './lose-grant.js';
export type {
  AcquireOptions,
  CloseLockOptions,
  CountingMode,
  ElectOptions,
  ExclusiveMode,
  ForceReleaseOptions,
  LeaseOptions,
  ListOptions,
  LockCallOptions,
  LockOptions,
  SharedMode,
  WatchOptions,
  WithLockOptions,
} from './options.js';
export type { LockModeStats, LockStats } from './statistics.js';
