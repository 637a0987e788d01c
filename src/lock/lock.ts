import type { Guarantees } from '../core/guarantees.js';
import type { LockInspection } from './driver.js';
import type { CountingLease, Lease, LeaseSet, SharedLease } from './leases.js';
import type {
  AcquireOptions,
  CloseLockOptions,
  CountingMode,
  ElectOptions,
  ExclusiveMode,
  ForceReleaseOptions,
  LeaseOptions,
  ListOptions,
  LockCallOptions,
  SharedMode,
  WatchOptions,
  WithLockOptions,
} from './options.js';
import type { LockStats } from './statistics.js';

/** What somebody does while a lease is held. */
export type LockBody<HeldLease, T> = (lease: HeldLease) => T | Promise<T>;

/** A resource as `watch` saw it. */
export interface LockEvent extends LockInspection {
  /** Whether anybody holds it. */
  readonly state: 'held' | 'free';
}

/** A candidature for an office, until it is closed. Made by `Lock.elect`. */
export interface Election extends AsyncDisposable {
  /** The office: the resource id. */
  readonly name: string;
  /** Whether this process is the leader at this very moment, by the clock. */
  readonly isLeader: boolean;
  /** The lease of the office, while this process is the leader. */
  readonly lease: Lease | undefined;
  /** Resolves when the candidature has ended, whether by `close`, by the signal or with the lock. */
  readonly closed: Promise<void>;
  /**
   * Stands no longer, and resigns: releases the lease, once `onElected` has settled or after 5,000
   * milliseconds. Its lease's signal is aborted at once, so that the work ends. Never rejects.
   */
  close(): Promise<void>;
}

/**
 * Exclusion over processes: whoever holds an exclusive lease of a resource is alone with it; readers
 * hold it together and keep writers out; a counted resource has so many permits.
 *
 * First come, first served between processes, and within one. Made by `createLock`.
 */
export interface Lock {
  /** This process's name among those that contend. */
  readonly nodeId: string;
  /**
   * Waits for the resource and takes it.
   *
   * @throws LOCK_TIMEOUT after `waitMs`; the reason of `signal`; LOCK_REENTRY; LOCK_CAPACITY_MISMATCH;
   * CLOSED; BACKEND_UNAVAILABLE; TypeError for bad arguments, before anything is sent.
   */
  acquire(resource: string, options?: AcquireOptions & ExclusiveMode): Promise<Lease>;
  /** As a reader: together with other readers, and behind every writer who came before. */
  acquire(resource: string, options: AcquireOptions & SharedMode): Promise<SharedLease>;
  /** Some permits of a counted resource. */
  acquire(resource: string, options: AcquireOptions & CountingMode): Promise<CountingLease>;
  /**
   * Several resources, all or none, with one `waitMs` for all. Each is taken once, and every process
   * takes them in one order (by the bytes of the ids), so that nobody waits in a circle.
   */
  acquire(
    resources: readonly string[],
    options?: AcquireOptions & ExclusiveMode,
  ): Promise<LeaseSet>;
  /** Several resources as a reader. */
  acquire(
    resources: readonly string[],
    options: AcquireOptions & SharedMode,
  ): Promise<LeaseSet<SharedLease>>;
  /** So many permits of each of several resources. */
  acquire(
    resources: readonly string[],
    options: AcquireOptions & CountingMode,
  ): Promise<LeaseSet<CountingLease>>;
  /**
   * Takes the resource if it is free and nobody waits for it; undefined otherwise.
   *
   * @throws LOCK_TIMEOUT when the backend has not answered within the lock's `waitMs`; the reason of
   * `signal`; LOCK_CAPACITY_MISMATCH; CLOSED; BACKEND_UNAVAILABLE; TypeError for bad arguments.
   */
  tryAcquire(resource: string, options?: LeaseOptions & ExclusiveMode): Promise<Lease | undefined>;
  /** As a reader. */
  tryAcquire(
    resource: string,
    options: LeaseOptions & SharedMode,
  ): Promise<SharedLease | undefined>;
  /** Some permits. */
  tryAcquire(
    resource: string,
    options: LeaseOptions & CountingMode,
  ): Promise<CountingLease | undefined>;
  /** Several resources, all or none. */
  tryAcquire(
    resources: readonly string[],
    options?: LeaseOptions & ExclusiveMode,
  ): Promise<LeaseSet | undefined>;
  /** Several resources as a reader. */
  tryAcquire(
    resources: readonly string[],
    options: LeaseOptions & SharedMode,
  ): Promise<LeaseSet<SharedLease> | undefined>;
  /** So many permits of each of several resources. */
  tryAcquire(
    resources: readonly string[],
    options: LeaseOptions & CountingMode,
  ): Promise<LeaseSet<CountingLease> | undefined>;
  /**
   * Runs `body` while holding the resource, releases it, and answers as the body did. An error of the
   * body comes out as it is. The body is never abandoned: when the lease is lost, `lease.signal` says
   * so, and the body decides.
   *
   * @throws what `acquire` throws, and LOCK_LOST with `onLost: 'reject'`.
   */
  withLock<T>(resource: string, body: LockBody<Lease, T>): Promise<T>;
  /** The same, with options. */
  withLock<T>(
    resource: string,
    options: WithLockOptions & ExclusiveMode,
    body: LockBody<Lease, T>,
  ): Promise<T>;
  /** As a reader. */
  withLock<T>(
    resource: string,
    options: WithLockOptions & SharedMode,
    body: LockBody<SharedLease, T>,
  ): Promise<T>;
  /** With some permits. */
  withLock<T>(
    resource: string,
    options: WithLockOptions & CountingMode,
    body: LockBody<CountingLease, T>,
  ): Promise<T>;
  /** With several resources. */
  withLock<T>(resources: readonly string[], body: LockBody<LeaseSet, T>): Promise<T>;
  /** The same, with options. */
  withLock<T>(
    resources: readonly string[],
    options: WithLockOptions & ExclusiveMode,
    body: LockBody<LeaseSet, T>,
  ): Promise<T>;
  /** With several resources as a reader. */
  withLock<T>(
    resources: readonly string[],
    options: WithLockOptions & SharedMode,
    body: LockBody<LeaseSet<SharedLease>, T>,
  ): Promise<T>;
  /** With so many permits of each of several resources. */
  withLock<T>(
    resources: readonly string[],
    options: WithLockOptions & CountingMode,
    body: LockBody<LeaseSet<CountingLease>, T>,
  ): Promise<T>;
  /** Who holds the resource and who waits, as the backend sees it. */
  inspect(resource: string, options?: LockCallOptions): Promise<LockInspection>;
  /**
   * Every resource of this backend and namespace that somebody holds or waits for, each at most once,
   * in no order. Each is consistent in itself; what begins or ends meanwhile may be missing.
   */
  list(options?: ListOptions): AsyncIterable<LockInspection>;
  /**
   * Ends every lease of the resource, whoever holds it, and hands it to the next in line; answers how
   * many grants it ended. For operators. Those who held it lose their leases: at once where they can
   * be reached, and with their next renewal at the latest.
   *
   * @throws the reason of `signal`; CLOSED; BACKEND_UNAVAILABLE; RESULT_UNKNOWN; TypeError.
   */
  forceRelease(resource: string, options: ForceReleaseOptions): Promise<number>;
  /**
   * What is seen of the resource now, and then each time that other grants hold it, until the signal
   * aborts or the loop is left. Short holds may go unseen; the latest state is seen within a second.
   * Ends with CLOSED when the lock is closed; waits while the backend cannot be reached.
   */
  watch(resource: string, options?: WatchOptions): AsyncIterable<LockEvent>;
  /**
   * Stands for an office that one process at a time has, and goes on standing after it lost it, until
   * the candidature is closed. An office is a lock that is held for long; its name is a resource id.
   */
  elect(name: string, options: ElectOptions): Election;
  /** What this lock has done since it was created. */
  stats(): LockStats;
  /** What the backend, as it is configured right now, promises. */
  guarantees(options?: LockCallOptions): Promise<Guarantees>;
  /**
   * Takes no new work, waits up to `drainMs` for leases, waiters and bodies of `withLock` to end, then
   * rejects the waiters and aborts the leases (with CLOSED), releases what is held, and ends all
   * background work, so that the process can exit. What is retained is given up at once, and so are
   * candidatures. Clients that were passed in stay open. Never rejects for a backend that is down;
   * closing twice is harmless.
   */
  close(options?: CloseLockOptions): Promise<void>;
}
