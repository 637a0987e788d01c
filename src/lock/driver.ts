import type { Clock, Validity } from '../core/clock.js';
import type { Guarantees } from '../core/guarantees.js';
import type { LockId } from '../core/ids.js';
import type { Random } from '../core/random.js';

/**
 * The SPI of a lock's backend. `createLock` opens it once a lock; users only construct it.
 *
 * Every lock is a counting resource: exclusive is `capacity` 1; shared takes 1 of infinitely many
 * where a writer takes all; a semaphore takes `permits` of `capacity`. A request is granted when it
 * is first in line and fits; whoever is behind a waiting writer waits.
 *
 * A resource is of one kind while anybody holds it or waits for it: read and written (exclusive and
 * shared), or counted up to one capacity. A request of another kind, or with another capacity,
 * rejects with LOCK_CAPACITY_MISMATCH; the capacity of an exclusive or shared one counts as 1 there.
 *
 * A driver passes `lockDriverContract` of `tricord/testing` against a real backend.
 */
export interface LockDriver {
  /** Which backend, for messages and metrics: `memory`, `redis`, `zookeeper`. */
  readonly backend: string;
  /** Starts serving one lock of this process. Sends nothing yet; never rejects for a server that is down. */
  open(node: LockNode): LockBackend;
}

/** Who contends: one open lock of one process. */
export interface LockNode {
  /** The lock's `nodeId`. */
  readonly nodeId: string;
  /** Tells apart two live processes with one nodeId. 11 characters of `[A-Za-z0-9_-]`. */
  readonly incarnation: string;
  /** The lock's source of time. */
  readonly clock: Clock;
  /** The lock's source of chance. */
  readonly random: Random;
  /** A new grant id: the incarnation and a counter. A grant id is one attempt; after it ended, take another. */
  nextGrantId(): string;
}

/** How a request shares the resource. */
export type LockMode = 'exclusive' | 'shared' | 'counting';

/** What a node asks for. */
export interface GrantRequest {
  /** The resource id. */
  readonly resource: string;
  /** Stands in the backend as the holder: `lockId(resource, nodeId)`. */
  readonly owner: LockId;
  /** How it would share the resource. */
  readonly mode: LockMode;
  /** How many of `capacity`: 1 unless counting. */
  readonly permits: number;
  /** 1 when exclusive, Infinity when shared. */
  readonly capacity: number;
  /** For how long a grant lasts without renewal, in milliseconds. A session backend may use its own time-out. */
  readonly ttlMs: number;
  /** How many fencing tokens to reserve with an exclusive grant, for hand-over inside this node; at least 1. */
  readonly tokens: number;
  /** False: answer undefined at once when it does not fit now, and leave nothing in line. */
  readonly wait: boolean;
  /**
   * When the grant ends without a release (its TTL ran out, its session died), nobody else is granted
   * for so long after that, in milliseconds; 0 or left out for no delay. Kept with the holder in the
   * backend. A release and a forced release have no delay.
   */
  readonly lockDelayMs?: number | undefined;
  /**
   * Gives up the wait. The driver then leaves the line, and releases a grant that arrives all the same.
   * The engine makes it when it is first looked at, because a signal costs more than the rest of an
   * uncontended request here: look once the request has to wait, not before.
   */
  readonly signal: AbortSignal;
}

/** A grant as the backend gave it. */
export interface Grant {
  /** The attempt that won it. */
  readonly grantId: string;
  /** The resource id. */
  readonly resource: string;
  /** How it shares the resource. */
  readonly mode: LockMode;
  /**
   * The first of `tokens` consecutive fencing tokens, above every token of every earlier exclusive
   * grant of this resource. A shared grant carries the epoch: not below the tokens of the exclusive
   * grant before it, below the next writer's, and the same for all readers between two writers.
   * Undefined when counting.
   */
  readonly fencingToken: bigint | undefined;
  /** How many tokens, from `fencingToken` up, this grant owns. */
  readonly tokens: number;
  /**
   * Counts from before the request that won it was sent; the engine takes its own drift margin off it.
   * It may be shorter than the TTL (a provisional grant that was pushed to a waiter): the engine
   * renews at once what has less than two thirds of its TTL left when it arrives.
   */
  readonly validity: Validity;
  /** How many others wait elsewhere, as far as was known when it was granted. */
  readonly waiters: number;
  /**
   * That the grant is gone, and why: set by the driver, through `loseGrant`, as soon as it knows that a
   * session expired or that somebody forced the release. The reason is the error to show.
   */
  loss?:
    | {
        /** The error to show. */
        readonly reason: unknown;
      }
    | undefined;
  /** Called by the driver, through `loseGrant`, once. The engine sets it, and looks at `loss` before. */
  onLost?: ((reason: unknown) => void) | undefined;
  /**
   * Called by the driver when it hears that others wait for this grant. The engine sets it; a hint
   * that may be lost, because every renewal tells the number of waiters too.
   */
  onWaiters?: ((waiters: number) => void) | undefined;
}

/** The answer to the renewal of one grant. */
export type RenewReply =
  | {
      readonly state: 'held';
      readonly validity: Validity;
      readonly waiters: number;
    }
  | { readonly state: 'lost' }
  /** The reply did not come: it may have been renewed or not. The old validity stands. */
  | { readonly state: 'unknown'; readonly cause: unknown };

/** A holder or waiter as `inspect` shows it. */
export interface LockParty {
  /** The owner, as `lockId` made it. */
  readonly owner: string;
  /** The attempt that holds or waits. */
  readonly grantId: string;
  /** How it shares the resource. */
  readonly mode: LockMode;
  /** How many of the capacity it takes. */
  readonly permits: number;
  /** Only of holders, and not when counting. */
  readonly fencingToken?: bigint | undefined;
  /** For how long it has held or waited, by the backend's clock, in milliseconds; undefined where it cannot tell. */
  readonly ageMs?: number | undefined;
  /** How long the grant lasts without renewal, by the backend's clock; undefined for a session backend. */
  readonly remainingMs?: number | undefined;
}

/** A resource as the backend sees it at one moment. */
export interface LockInspection {
  /** The resource id. */
  readonly resource: string;
  /** Who holds it; one when exclusive. */
  readonly holders: readonly LockParty[];
  /** In the order in which they will be served. */
  readonly waiters: readonly LockParty[];
}

/** Options of SPI calls that talk to the backend. */
export interface CallOptions {
  /** Gives up the call; it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link LockBackend.list}. */
export interface ListCallOptions extends CallOptions {
  /** So many resources at most. Default: all. */
  readonly limit?: number | undefined;
}

/**
 * One lock's connection to its backend. Every operation may be sent twice by the driver; a lost
 * reply is reconciled inside, and never reported as a failure or a success.
 *
 * A method that is optional here may be left out, where the backend cannot do it or a driver does not
 * yet: the engine then does without, more slowly.
 */
export interface LockBackend {
  /**
   * Contends for a grant and resolves when it is won; undefined only when `wait` is false and it
   * does not fit. Rejects with the signal's reason, or with a CoordinationError. After a rejection
   * nothing of this request is left behind: what could not be undone at once is undone in the
   * background, within the request's TTL at the latest.
   */
  acquire(request: GrantRequest): Promise<Grant | undefined>;
  /**
   * Takes several resources in one atomic step, all or nothing: never waits, and leaves nothing in
   * line. Answers the grants in the order of the requests; `busy` when they do not all fit now;
   * `unsupported` when these resources cannot be taken in one step, having taken none (other slots of
   * a cluster). Fails as `acquire` does. The engine then takes them one after another, in one order.
   */
  acquireAll?(
    requests: readonly GrantRequest[],
  ): Promise<readonly Grant[] | 'busy' | 'unsupported'>;
  /** Renews many grants, batched as the backend likes. Answers in the same order. Never rejects. */
  renew(grants: readonly Grant[], ttlMs: readonly number[]): Promise<readonly RenewReply[]>;
  /**
   * Ends a grant and hands over to the next in line. Idempotent: a second send tells the same.
   * 'lost' when it had already ended. Rejects with RESULT_UNKNOWN or BACKEND_UNAVAILABLE when no
   * reply came; the driver then goes on trying in the background until the grant must have ended.
   */
  release(grant: Grant, options?: CallOptions): Promise<'released' | 'lost'>;
  /**
   * Makes an exclusive grant a shared one without letting go in between, and grants the readers at
   * the head of the line in the same step. The new grant takes the place of the old one: the same
   * grant id, the last token that the old one reserved as its epoch, the same TTL, a validity of its
   * own; what the driver knows of the old (`onLost`, `onWaiters`) goes to the new one. Idempotent: a
   * second send tells the same. Undefined when the grant had ended. Rejects with RESULT_UNKNOWN or
   * BACKEND_UNAVAILABLE when no reply came: then the old grant stands, as one that may be either.
   */
  downgrade(grant: Grant, options?: CallOptions): Promise<Grant | undefined>;
  /** Reserves a further block of fencing tokens for a held exclusive grant; undefined when it was lost. */
  reserveTokens(grant: Grant, tokens: number, options?: CallOptions): Promise<bigint | undefined>;
  /**
   * Called when the engine begins to retain a grant that no task uses. From then on the driver calls
   * `grant.onWaiters` soon after anybody stands in line, also when somebody stands there already.
   * Left out where `onWaiters` is as prompt for every grant.
   */
  watchWaiters?(grant: Grant): void;
  /** Who holds and who waits. */
  inspect(resource: string, options?: CallOptions): Promise<LockInspection>;
  /**
   * Every resource whose id begins with `prefix` and that somebody holds or waits for, each at most
   * once, in no order. Each is consistent in itself; what begins or ends meanwhile may be missing.
   */
  list(prefix: string, options?: ListCallOptions): AsyncIterable<LockInspection>;
  /**
   * Ends every grant of a resource, but no wait, and hands over to the next in line. Answers how many
   * it ended. Their holders hear of it at once where they can be reached, else with their next
   * renewal, through `loseGrant` with a LOCK_LOST whose message has the reason, or as a `lost` reply.
   * Tokens go on increasing. A second send ends nothing that was granted after the first.
   */
  forceRelease(resource: string, reason: string, options?: CallOptions): Promise<number>;
  /**
   * Calls `changed` soon after the resource may have come into other hands, until the signal aborts.
   * A hint that may be lost or be wrong: the engine looks, and looks every second anyway.
   */
  watch?(resource: string, changed: () => void, signal: AbortSignal): void;
  /** Reads the backend's live configuration. */
  guarantees(options?: CallOptions): Promise<Guarantees>;
  /** Ends background work and releases what the driver opened; no client that was passed in. Never rejects. */
  close(): Promise<void>;
}
