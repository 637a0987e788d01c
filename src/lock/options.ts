import type { Clock } from '../core/clock.js';
import type { Random } from '../core/random.js';
import type { LockDriver } from './driver.js';
import type { AnyLease, Lease, LeaseSet } from './leases.js';

/** Options of `createLock`. */
export interface LockOptions {
  /** Where the locks are kept: `memoryLock()`, `redisLock({ client })`, `zookeeperLock({ session })`. */
  readonly driver: LockDriver;
  /**
   * Names this process among those that contend, 1 to 256 UTF-8 bytes; it stands in the backend as
   * the owner. Default: host, process and a random part. Two live processes with one name are still
   * told apart.
   */
  readonly nodeId?: string | undefined;
  /** The TTL of leases that do not name one, in milliseconds. Default 30,000. */
  readonly ttlMs?: number | undefined;
  /** How long `acquire` waits when it does not say, in milliseconds. Default 10,000. */
  readonly waitMs?: number | undefined;
  /** The `retainMs` of leases that do not name one, in milliseconds. Default 0. */
  readonly retainMs?: number | undefined;
  /**
   * How many times a lock is handed from task to task inside this process, without asking the
   * backend, while other processes wait for it; they get their turn after half of a TTL at the
   * latest. 0 or more, default 16. With nobody waiting elsewhere there is no limit.
   */
  readonly localHandoffs?: number | undefined;
  /** The source of time. Default the machine's. */
  readonly clock?: Clock | undefined;
  /** The source of chance. Default cryptographically strong. */
  readonly random?: Random | undefined;
}

/** What a lease is asked for with. */
export interface LeaseOptions {
  /**
   * For how long the lease lasts without renewal, in milliseconds: after a crash the resource is free
   * again that much later. 1 or more; default the lock's `ttlMs`. ZooKeeper uses its session's time-out.
   */
  readonly ttlMs?: number | undefined;
  /** Gives up the wait, and nothing more: a lease that was granted is not ended by it. */
  readonly signal?: AbortSignal | undefined;
  /** False: the lease is never renewed and ends after `ttlMs`, or when it is extended. Default true. */
  readonly renew?: boolean | undefined;
  /** The lease is lost after that many milliseconds at the latest, however well renewals go. Default never. */
  readonly maxHoldMs?: number | undefined;
  /**
   * For how long this process keeps the resource after its last task released it, in milliseconds, so
   * that its next task gets it without asking the backend. Given up as soon as anybody else asks. The
   * price: if this process dies or freezes meanwhile, others wait for the rest of the TTL. Default
   * the lock's `retainMs`, which is 0.
   */
  readonly retainMs?: number | undefined;
  /**
   * If the process dies while it holds the lease, others wait for so long after the TTL ran out, in
   * milliseconds: a grace for what it had under way. A release has no delay. Default 0.
   */
  readonly lockDelayMs?: number | undefined;
}

/** How long to wait, and what to do when the task that asks holds the resource already. */
export interface AcquireOptions extends LeaseOptions {
  /**
   * How long to wait at most, in milliseconds; default the lock's `waitMs`. `Infinity` is allowed only
   * with a `signal`, because every wait has an end. With 0 it takes the resource only if it is free;
   * the backend's answer is then waited for as long as the lock's `waitMs`. Several resources share it.
   */
  readonly waitMs?: number | undefined;
  /** A lease that the asking task already holds: asking for its resource again is LOCK_REENTRY. */
  readonly within?: AnyLease | LeaseSet<AnyLease> | undefined;
  /**
   * What to do when the task that asks holds the resource, as far as `withLock` or `within` tell:
   * refuse with LOCK_REENTRY (the default), or `wait`, which is right only for a task that outlives
   * the body in which it was started.
   */
  readonly reentry?: 'refuse' | 'wait' | undefined;
  /**
   * True: a task that holds the resource, as far as `withLock` or `within` tell, gets one more lease of
   * the same grant at once, with the same token; the resource is free when the last of them was
   * released. A reader that asks to write gets LOCK_REENTRY all the same: it would wait for itself.
   * Default false.
   */
  readonly reentrant?: boolean | undefined;
}

/** Options of `Lock.withLock`. */
export interface WithLockOptions extends AcquireOptions {
  /**
   * What becomes of a body that succeeded although its lease was lost: `resolve` with its value (the
   * default: the work is done, and a fenced resource has refused what it had to), or `reject` with
   * LOCK_LOST.
   */
  readonly onLost?: 'resolve' | 'reject' | undefined;
}

/** Asks for a resource as a whole. */
export interface ExclusiveMode {
  /** `exclusive` is the default. */
  readonly mode?: 'exclusive' | undefined;
  /** Only of a counted resource. */
  readonly capacity?: undefined;
  /** Only of a counted resource. */
  readonly permits?: undefined;
}

/** Asks for a resource as one of its readers. */
export interface SharedMode {
  /** Readers hold a resource together; a writer is one who asks exclusively. */
  readonly mode: 'shared';
  /** Only of a counted resource. */
  readonly capacity?: undefined;
  /** Only of a counted resource. */
  readonly permits?: undefined;
}

/** Asks for some of a counted resource. */
export interface CountingMode {
  /** Told by the capacity. */
  readonly mode?: 'counting' | undefined;
  /**
   * How many permits the resource has, a whole number from 1 to 1,000,000; the same everywhere, or
   * LOCK_CAPACITY_MISMATCH.
   */
  readonly capacity: number;
  /** How many of them to take, from 1 to `capacity`. Default 1. */
  readonly permits?: number | undefined;
}

/** Options of calls that only talk to the backend. */
export interface LockCallOptions {
  /** Gives up the call. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `Lock.list`. */
export interface ListOptions extends LockCallOptions {
  /** What the resource ids begin with. Default: nothing, so all. */
  readonly prefix?: string | undefined;
  /** So many resources at most, a whole number from 1. Default: all. */
  readonly limit?: number | undefined;
}

/** Options of `Lock.forceRelease`. */
export interface ForceReleaseOptions extends LockCallOptions {
  /** Why, for those who lose their lease: it stands in their LOCK_LOST. 1 to 256 UTF-8 bytes. */
  readonly reason: string;
}

/** Options of `Lock.watch`. */
export interface WatchOptions {
  /** Ends the watch: the loop ends, without an error. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `Lock.elect`. */
export interface ElectOptions {
  /**
   * Called when this process was elected, with the lease of its office; not again before what it
   * answered has settled. Work until `lease.signal` aborts. To resign, release the lease. If it throws
   * or rejects, the office is given up, `tricord:lock.resigned` is published with the error, and this
   * process stands again, behind those who wait.
   */
  readonly onElected: (lease: Lease) => unknown;
  /** How soon others notice that a leader has died, in milliseconds. Default the lock's `ttlMs`. */
  readonly ttlMs?: number | undefined;
  /** Ends the candidature, like `close`. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `Lock.close`. */
export interface CloseLockOptions {
  /** How long to wait for leases and waiters to end by themselves, in milliseconds. Default 5,000. */
  readonly drainMs?: number | undefined;
}
