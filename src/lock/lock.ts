import type { Clock } from '../core/clock.js';
import type { Guarantees } from '../core/guarantees.js';
import type { LockId } from '../core/ids.js';
import type { Random } from '../core/random.js';
import type { LockDriver, LockInspection } from './driver.js';
import type { LockStats } from './statistics.js';

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
}

/** Options of `Lock.acquire`. */
export interface AcquireOptions extends LeaseOptions {
  /**
   * How long to wait at most, in milliseconds; default the lock's `waitMs`. `Infinity` is allowed only
   * with a `signal`, because every wait has an end. With 0 it takes the resource only if it is free;
   * the backend's answer is then waited for as long as the lock's `waitMs`.
   */
  readonly waitMs?: number | undefined;
  /** A lease that the asking task already holds: asking for its resource again is LOCK_REENTRY. */
  readonly within?: Lease | undefined;
  /**
   * What to do when the task that asks holds the resource, as far as `withLock` or `within` tell:
   * refuse with LOCK_REENTRY (the default), or `wait`, which is right only for a task that outlives
   * the body in which it was started.
   */
  readonly reentry?: 'refuse' | 'wait' | undefined;
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

/** Options of calls that only talk to the backend. */
export interface LockCallOptions {
  /** Gives up the call. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `Lock.close`. */
export interface CloseLockOptions {
  /** How long to wait for leases and waiters to end by themselves, in milliseconds. Default 5,000. */
  readonly drainMs?: number | undefined;
}

/**
 * The right to a resource, for as long as it is renewed.
 *
 * A lease can be lost: the process was stopped too long, or the backend could not be reached. Then
 * `signal` aborts, no later than the moment from which somebody else may hold the resource. What the
 * signal comes too late for is the fencing token's to stop: pass it to the resource and let that
 * refuse a lower token than one it has seen.
 */
export interface Lease extends AsyncDisposable {
  /** The resource id that was asked for. */
  readonly resource: string;
  /** What stands in the backend: `lockId(resource, nodeId)`. */
  readonly owner: LockId;
  /** Strictly greater than the token of every lease of this resource that was held before. */
  readonly fencingToken: bigint;
  /**
   * Aborts when the lease is lost, at its local deadline at the latest, whatever the backend says;
   * the reason is a LOCK_LOST, or a CLOSED when the lock was closed. Not aborted by `release`.
   */
  readonly signal: AbortSignal;
  /** Whether it is held at this very moment, by the clock; false after `release` and after a loss. */
  readonly isHeld: boolean;
  /** How long it would still last without another renewal, in milliseconds; 0 when it is not held. */
  readonly remainingMs: number;
  /**
   * Throws LOCK_LOST (or CLOSED) unless it is held. Compares the clock first, so that code which was
   * suspended or stalled learns of the loss before any timer could run.
   */
  assertHeld(): void;
  /**
   * Renews it now, for `ttlMs` from now on (default: the TTL it has).
   *
   * @throws LOCK_LOST when it is not held any more; RESULT_UNKNOWN when no reply came: then it lasts
   * as long as before, or for `ttlMs` from the call on where that is shorter.
   */
  extend(ttlMs?: number): Promise<void>;
  /**
   * Ends it and hands the resource to the next in line. Harmless when repeated. Never rejects:
   * `lost` tells that it had ended before, so that the guarded work may have raced with another's.
   */
  release(): Promise<'released' | 'lost'>;
}

/**
 * Mutual exclusion over processes: whoever holds a lease of a resource is alone with it.
 *
 * First come, first served between processes, and within one. Made by `createLock`.
 */
export interface Lock {
  /** This process's name among those that contend. */
  readonly nodeId: string;
  /**
   * Waits for the resource and takes it.
   *
   * @throws LOCK_TIMEOUT after `waitMs`; the reason of `signal`; LOCK_REENTRY; CLOSED;
   * BACKEND_UNAVAILABLE; TypeError for bad arguments, before anything is sent.
   */
  acquire(resource: string, options?: AcquireOptions): Promise<Lease>;
  /**
   * Takes the resource if it is free and nobody waits for it; undefined otherwise.
   *
   * @throws LOCK_TIMEOUT when the backend has not answered within the lock's `waitMs`; the reason of `signal`; CLOSED; BACKEND_UNAVAILABLE; TypeError for bad arguments.
   */
  tryAcquire(resource: string, options?: LeaseOptions): Promise<Lease | undefined>;
  /**
   * Runs `body` while holding the resource, releases it, and answers as the body did. An error of the
   * body comes out as it is. The body is never abandoned: when the lease is lost, `lease.signal` says
   * so, and the body decides.
   *
   * @throws what `acquire` throws, and LOCK_LOST with `onLost: 'reject'`.
   */
  withLock<T>(resource: string, body: (lease: Lease) => T | Promise<T>): Promise<T>;
  /** The same, with options. */
  withLock<T>(
    resource: string,
    options: WithLockOptions,
    body: (lease: Lease) => T | Promise<T>,
  ): Promise<T>;
  /** Who holds the resource and who waits, as the backend sees it. */
  inspect(resource: string, options?: LockCallOptions): Promise<LockInspection>;
  /** What this lock has done since it was created. */
  stats(): LockStats;
  /** What the backend, as it is configured right now, promises. */
  guarantees(options?: LockCallOptions): Promise<Guarantees>;
  /**
   * Takes no new work, waits up to `drainMs` for leases, waiters and bodies of `withLock` to end, then
   * rejects the waiters and aborts the leases (with CLOSED), releases what is held, and ends all
   * background work, so that the process can exit. Clients that were passed in stay open. Never rejects for a backend that is
   * down; closing twice is harmless.
   */
  close(options?: CloseLockOptions): Promise<void>;
}
