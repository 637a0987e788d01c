import {
  type EventChannel,
  eventChannel,
  type OperationChannel,
  operationChannel,
} from '../core/diagnostics.js';
import type { LockId } from '../core/ids.js';
import type { Lease } from './lock.js';

/** Published on the tracing channel `tricord:lock.acquire` for `acquire`, `tryAcquire`, `withLock`. */
export interface LockAcquireContext {
  /** The resource id. */
  readonly resource: string;
  /** The node that asks, as it would stand in the backend. */
  readonly owner: LockId;
  /** `memory`, `redis`, `zookeeper` or a driver of your own. */
  readonly backend: string;
  /** The TTL asked for, in milliseconds. */
  readonly ttlMs: number;
  /** How long it waits at most, in milliseconds; 0 for `tryAcquire`. */
  readonly waitMs: number;
  /** The lease, once it is granted (tracing channels add it); undefined when `tryAcquire` found it taken. */
  readonly result?: Lease | undefined;
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
  /** The lease's token. */
  readonly fencingToken: bigint;
  /** How it went (tracing channels add it). */
  readonly result?: 'released' | 'lost' | undefined;
}

/** Published on `tricord:lock.released`: a lease was released by its holder. */
export interface LockReleasedEvent {
  /** The resource id. */
  readonly resource: string;
  /** The node that held it. */
  readonly owner: LockId;
  /** The lease's token. */
  readonly fencingToken: bigint;
  /** How long it was held, in milliseconds. */
  readonly heldMs: number;
}

/** Published on `tricord:lock.lost`: a lease ended before its holder released it. */
export interface LockLostEvent extends LockReleasedEvent {
  /** Why: LOCK_LOST, CLOSED, or what the driver gave as the reason. */
  readonly reason: unknown;
}

/** Published on `tricord:lock.handed-over`: the lock went from task to task inside this node. */
export interface LockHandedOverEvent {
  /** The resource id. */
  readonly resource: string;
  /** The node that holds it, before and after. */
  readonly owner: LockId;
  /** The next holder's token. */
  readonly fencingToken: bigint;
  /** How long the next holder had waited, in milliseconds. */
  readonly waitedMs: number;
}

/** The channels of one lock. Channels of one name are one channel in the whole process. */
export interface LockChannels {
  readonly acquire: OperationChannel<LockAcquireContext>;
  readonly release: OperationChannel<LockReleaseContext>;
  readonly released: EventChannel<LockReleasedEvent>;
  readonly lost: EventChannel<LockLostEvent>;
  readonly handedOver: EventChannel<LockHandedOverEvent>;
}

/** Looks up the channels by their names. */
export function lockChannels(): LockChannels {
  return {
    acquire: operationChannel('tricord:lock.acquire'),
    release: operationChannel('tricord:lock.release'),
    released: eventChannel('tricord:lock.released'),
    lost: eventChannel('tricord:lock.lost'),
    handedOver: eventChannel('tricord:lock.handed-over'),
  };
}
