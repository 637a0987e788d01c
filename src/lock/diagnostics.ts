import {
  type EventChannel,
  eventChannel,
  type OperationChannel,
  operationChannel,
} from '../core/diagnostics.js';
import type { LockId } from '../core/ids.js';
import type { LockMode } from './driver.js';
import type { AnyLease } from './leases.js';

/**
 * Published on the tracing channel `tricord:lock.acquire` for `acquire`, `tryAcquire`, `withLock`; once
 * for each resource where several are taken.
 */
export interface LockAcquireContext {
  /** The resource id. */
  readonly resource: string;
  /** The node that asks, as it would stand in the backend. */
  readonly owner: LockId;
  /** `memory`, `redis`, `zookeeper` or a driver of your own. */
  readonly backend: string;
  /** How it would share the resource. */
  readonly mode: LockMode;
  /** The TTL asked for, in milliseconds. */
  readonly ttlMs: number;
  /** How long it waits at most, in milliseconds; 0 for `tryAcquire`. */
  readonly waitMs: number;
  /** The lease, once it is granted (tracing channels add it); undefined when `tryAcquire` found it taken. */
  readonly result?: AnyLease | undefined;
  /** What it failed with (tracing channels add it). */
  readonly error?: unknown;
}

/** Published on the tracing channel `tricord:lock.release`. */
export interface LockReleaseContext {
  /** The resource id. */
  readonly resource: string;
  /** The node that held it. */
  readonly owner: LockId;
  /** `memory`, `redis`, `zookeeper` or a driver of your own. */
  readonly backend: string;
  /** How the resource was shared. */
  readonly mode: LockMode;
  /** The lease's token; undefined when counting. */
  readonly fencingToken: bigint | undefined;
  /** How it went (tracing channels add it). */
  readonly result?: 'released' | 'lost' | undefined;
}

/** Published on `tricord:lock.released`: a lease was released by its holder. */
export interface LockReleasedEvent {
  /** The resource id. */
  readonly resource: string;
  /** The node that held it. */
  readonly owner: LockId;
  /** How the resource was shared. */
  readonly mode: LockMode;
  /** The lease's token; undefined when counting. */
  readonly fencingToken: bigint | undefined;
  /** How long it was held, in milliseconds. */
  readonly heldMs: number;
}

/** Published on `tricord:lock.lost`: a lease ended before its holder released it. */
export interface LockLostEvent extends LockReleasedEvent {
  /** Why: LOCK_LOST, CLOSED, or what the driver gave as the reason. */
  readonly reason: unknown;
}

/**
 * Published on `tricord:lock.handed-over`: a task got the lock from another one of this node, or beside
 * other readers, or because it was retained; the backend was not asked.
 */
export interface LockHandedOverEvent {
  /** The resource id. */
  readonly resource: string;
  /** The node that holds it, before and after. */
  readonly owner: LockId;
  /** How the resource is shared. */
  readonly mode: LockMode;
  /** The next holder's token; undefined when counting. */
  readonly fencingToken: bigint | undefined;
  /** How long the next holder had waited, in milliseconds. */
  readonly waitedMs: number;
}

/** Published on `tricord:lock.downgraded`: a writer became a reader without letting go. */
export interface LockDowngradedEvent {
  /** The resource id. */
  readonly resource: string;
  /** The node that holds it. */
  readonly owner: LockId;
  /** The writer's token. */
  readonly fencingToken: bigint | undefined;
  /** What it and the readers beside it carry. */
  readonly epoch: bigint | undefined;
}

/** Published on `tricord:lock.retained`: this node keeps a lock that nobody holds. */
export interface LockRetainedEvent {
  /** The resource id. */
  readonly resource: string;
  /** The node that keeps it. */
  readonly owner: LockId;
  /** For how long at most, in milliseconds. */
  readonly retainMs: number;
}

/** Published on `tricord:lock.elected`: this node became the leader. */
export interface LockElectedEvent {
  /** The office: the resource id. */
  readonly resource: string;
  /** The node that was elected. */
  readonly nodeId: string;
  /** The token of its office. */
  readonly fencingToken: bigint;
}

/** Published on `tricord:lock.resigned`: this node is not the leader any more. */
export interface LockResignedEvent extends LockElectedEvent {
  /** Why: what `onElected` failed with, or the reason of the loss; undefined when it was given up. */
  readonly reason?: unknown;
}

/** The channels of one lock. Channels of one name are one channel in the whole process. */
export interface LockChannels {
  readonly acquire: OperationChannel<LockAcquireContext>;
  readonly release: OperationChannel<LockReleaseContext>;
  readonly released: EventChannel<LockReleasedEvent>;
  readonly lost: EventChannel<LockLostEvent>;
  readonly handedOver: EventChannel<LockHandedOverEvent>;
  readonly downgraded: EventChannel<LockDowngradedEvent>;
  readonly retained: EventChannel<LockRetainedEvent>;
  readonly elected: EventChannel<LockElectedEvent>;
  readonly resigned: EventChannel<LockResignedEvent>;
}

/** Looks up the channels by their names. */
export function lockChannels(): LockChannels {
  return {
    acquire: operationChannel('tricord:lock.acquire'),
    release: operationChannel('tricord:lock.release'),
    released: eventChannel('tricord:lock.released'),
    lost: eventChannel('tricord:lock.lost'),
    handedOver: eventChannel('tricord:lock.handed-over'),
    downgraded: eventChannel('tricord:lock.downgraded'),
    retained: eventChannel('tricord:lock.retained'),
    elected: eventChannel('tricord:lock.elected'),
    resigned: eventChannel('tricord:lock.resigned'),
  };
}
