import type { Alarm } from '../core/alarms.js';
import { type Instant, instantOf } from '../core/clock.js';
import { FewMap } from '../core/few-map.js';
import type { LockContext } from './context.js';
import type { Grant, GrantRequest, LockMode } from './driver.js';
import { lockTimeoutError } from './errors.js';
import type { HeldLease } from './lease.js';
import type { WaitEnding } from './statistics.js';

/** What one task wants of a resource. */
export interface Claim {
  /** False: refused when it is not free. */
  readonly wait: boolean;
  /** When the wait ends, or the wait for the answer that it is taken. */
  readonly waitMs: number;
  readonly mode: LockMode;
  readonly permits: number;
  readonly capacity: number;
  readonly ttlMs: number;
  readonly renew: boolean;
  readonly maxHoldMs: number | undefined;
  readonly retainMs: number;
  readonly lockDelayMs: number;
  readonly signal: AbortSignal | undefined;
  /** Asks the backend in place of `LockBackend.acquire`: several resources in one step. */
  readonly ask?: ((request: GrantRequest) => Promise<Grant | undefined>) | undefined;
}

/** What the room needs to know from outside. */
export interface RoomListeners {
  /** Somebody left without a lease. */
  onLeft(id: number): void;
  /** Some wait will end soon: who holds it is worth knowing. */
  onSoonLate(): void;
  /** Who was seen holding it last. */
  holder(): string | undefined;
}

/** The holder is looked up this part of the wait, and so long at most, before it ends. */
const LOOK_PART = 1 / 4;
const LOOK_MS_MAX = 100;

/**
 * Where the tasks of one node wait for one resource: their deadlines, signals and answers. A class,
 * because one is made for most acquires.
 */
export class WaitingRoom {
  readonly #resource: string;
  readonly #context: LockContext;
  readonly #listeners: RoomListeners;
  readonly #seats = new FewMap<number, Seat>();
  #visitorCount = 0;

  constructor(resource: string, context: LockContext, listeners: RoomListeners) {
    this.#resource = resource;
    this.#context = context;
    this.#listeners = listeners;
  }

  /** Takes a seat, under the next id; `join` is told it unless the signal ended the wait already. */
  enter(claim: Claim, join: (id: number, now: Instant) => void): Promise<HeldLease | undefined> {
    const { recorder, node, onAbort } = this.#context;
    const id = this.nextId();
    return new Promise((resolve, reject) => {
      const now = instantOf(node.clock);
      const seat = new Seat(claim, now.monotonicMs, resolve, reject);
      this.#seats.set(id, seat);
      recorder.waiting();
      const { signal } = claim;
      if (signal !== undefined) {
        seat.stopListening = onAbort(signal, () => this.#leave(id, signal.reason, 'aborted'));
      }
      if (this.#seats.has(id)) join(id, now);
      // Whoever was served at once needs no deadline.
      if (seat.isTaken) this.#setDeadline(id, seat);
    });
  }

  /** The id of who comes next, also of one who need not wait. */
  nextId(): number {
    this.#visitorCount += 1;
    return this.#visitorCount;
  }

  claimOf(id: number): Claim | undefined {
    return this.#seats.get(id)?.claim;
  }

  /** Answers with a lease; tells how long it was waited for, in milliseconds. */
  admit(id: number, lease: HeldLease, isHandedOver: boolean, nowMs: number): number {
    const seat = this.#stand(id);
    if (seat === undefined) return 0;
    const waitedMs = nowMs - seat.sinceMs;
    this.#context.recorder.granted(seat.claim.mode, waitedMs, isHandedOver);
    seat.resolve(lease);
    return waitedMs;
  }

  /** Answers that it is taken. */
  refuse(id: number): void {
    const seat = this.#stand(id);
    if (seat === undefined) return;
    this.#context.recorder.gaveUp('refused');
    seat.resolve(undefined);
  }

  /** Answers with an error. */
  fail(id: number, error: unknown): void {
    this.#leave(id, error, 'failed');
  }

  /** Sends everybody away. */
  dismiss(reason: unknown): void {
    for (const id of Array.from(this.#seats.keys())) this.#leave(id, reason, 'aborted');
  }

  /** Frees the seat; undefined when it was free already: only the first answer counts. */
  #stand(id: number): Seat | undefined {
    const seat = this.#seats.get(id);
    if (seat === undefined) return undefined;
    this.#seats.delete(id);
    seat.isTaken = false;
    seat.stopListening?.();
    if (seat.onRing !== undefined) this.#context.waitEnds.clear(seat);
    return seat;
  }

  #leave(id: number, error: unknown, ending: WaitEnding): void {
    const seat = this.#stand(id);
    if (seat === undefined) return;
    this.#context.recorder.gaveUp(ending);
    seat.reject(error);
    this.#listeners.onLeft(id);
  }

  #setDeadline(id: number, seat: Seat): void {
    const { waitEnds } = this.#context;
    const { waitMs } = seat.claim;
    if (waitMs === Number.POSITIVE_INFINITY) return;
    const lookMs = Math.min(waitMs * LOOK_PART, LOOK_MS_MAX);
    const endMs = seat.sinceMs + waitMs;
    seat.atMs = endMs - lookMs;
    seat.onRing = () => {
      seat.atMs = endMs;
      seat.onRing = () => this.#endWait(id, seat);
      waitEnds.set(seat);
      this.#listeners.onSoonLate();
    };
    waitEnds.set(seat);
  }

  #endWait(id: number, { sinceMs }: Seat): void {
    const waitedMs = this.#context.node.clock.monotonicMs() - sinceMs;
    const error = lockTimeoutError(this.#resource, waitedMs, this.#listeners.holder());
    this.#leave(id, error, 'timeout');
  }
}

/** Where one task waits. */
class Seat implements Alarm {
  readonly claim: Claim;
  readonly sinceMs: number;
  readonly resolve: (lease: HeldLease | undefined) => void;
  readonly reject: (error: unknown) => void;
  isTaken = true;
  stopListening: (() => void) | undefined;
  atMs = 0;
  onRing: (() => void) | undefined;

  constructor(
    claim: Claim,
    sinceMs: number,
    resolve: (lease: HeldLease | undefined) => void,
    reject: (error: unknown) => void,
  ) {
    this.claim = claim;
    this.sinceMs = sinceMs;
    this.resolve = resolve;
    this.reject = reject;
  }

  ring(): void {
    this.onRing?.();
  }
}
