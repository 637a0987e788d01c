import { type CancelTimer, type Clock, elapsedMs, type Instant, instantOf } from '../core/clock.js';
import { type Deferred, deferred } from '../core/deferred.js';
import type { LockContext } from './context.js';
import { lockTimeoutError } from './errors.js';
import type { Lease } from './lock.js';
import type { WaitEnding } from './statistics.js';

/** What one task wants of a resource. */
export interface Claim {
  /** False: refused when it is not free. */
  readonly wait: boolean;
  /** When the wait ends, or the wait for the answer that it is taken. */
  readonly waitMs: number;
  readonly ttlMs: number;
  readonly renew: boolean;
  readonly maxHoldMs: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Somebody who waits. */
export interface Visitor {
  readonly id: number;
  readonly claim: Claim;
  readonly outcome: Promise<Lease | undefined>;
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

/** Where the tasks of one node wait for one resource: their deadlines, signals and answers. */
export interface WaitingRoom {
  enter(claim: Claim): Visitor;
  claimOf(id: number): Claim | undefined;
  /** How long somebody has waited, in milliseconds. */
  waitedMs(id: number): number;
  /** Answers with a lease. */
  admit(id: number, lease: Lease, isHandedOver: boolean): void;
  /** Answers that it is taken. */
  refuse(id: number): void;
  /** Answers with an error. */
  fail(id: number, error: unknown): void;
  /** Sends everybody away. */
  dismiss(reason: unknown): void;
}

interface Seat extends Visitor {
  readonly since: Instant;
  readonly answer: Deferred<Lease | undefined>;
  readonly cleanups: (() => void)[];
}

/** The holder is looked up this part of the wait, and so long at most, before it ends. */
const LOOK_PART = 1 / 4;
const LOOK_MS_MAX = 100;

/** An empty room. */
export function waitingRoom(
  resource: string,
  { node: { clock }, recorder, onAbort }: LockContext,
  listeners: RoomListeners,
): WaitingRoom {
  const seats = new Map<number, Seat>();
  let visitorCount = 0;

  /** Frees the seat; undefined when it was free already: only the first answer counts. */
  const stand = (id: number): Seat | undefined => {
    const seat = seats.get(id);
    seats.delete(id);
    for (const cleanup of seat?.cleanups ?? []) cleanup();
    return seat;
  };
  const leave = (id: number, error: unknown, ending: WaitEnding): void => {
    const seat = stand(id);
    if (seat === undefined) return;
    recorder.gaveUp(ending);
    seat.answer.reject(error);
    listeners.onLeft(id);
  };
  const late = (seat: Seat): void => {
    const waitedMs = elapsedMs(clock, seat.since);
    leave(seat.id, lockTimeoutError(resource, waitedMs, listeners.holder()), 'timeout');
  };
  return {
    enter(claim) {
      visitorCount += 1;
      const id = visitorCount;
      const answer = deferred<Lease | undefined>();
      const visitor = { id, claim, outcome: answer.promise };
      const { signal, waitMs } = claim;
      const seat: Seat = { ...visitor, answer, since: instantOf(clock), cleanups: [] };
      seats.set(id, seat);
      recorder.waiting();
      seat.cleanups.push(
        onAbort(signal, () => leave(id, signal?.reason, 'aborted')),
        untilLate(clock, waitMs, listeners.onSoonLate, () => late(seat)),
      );
      return visitor;
    },
    claimOf: (id) => seats.get(id)?.claim,
    waitedMs(id) {
      const seat = seats.get(id);
      return seat === undefined ? 0 : elapsedMs(clock, seat.since);
    },
    admit(id, lease, isHandedOver) {
      const seat = stand(id);
      if (seat === undefined) return;
      recorder.granted(elapsedMs(clock, seat.since), isHandedOver);
      seat.answer.resolve(lease);
    },
    refuse(id) {
      const seat = stand(id);
      if (seat === undefined) return;
      recorder.gaveUp('refused');
      seat.answer.resolve(undefined);
    },
    fail: (id, error) => leave(id, error, 'failed'),
    dismiss(reason) {
      for (const id of Array.from(seats.keys())) leave(id, reason, 'aborted');
    },
  };
}

/** Calls `onSoon` shortly before `onLate`, which is after `waitMs`. Returns how to cancel both. */
function untilLate(
  clock: Clock,
  waitMs: number,
  onSoon: () => void,
  onLate: () => void,
): CancelTimer {
  if (waitMs === Number.POSITIVE_INFINITY) return () => {};
  const lookMs = Math.min(waitMs * LOOK_PART, LOOK_MS_MAX);
  let cancel = clock.schedule(waitMs - lookMs, () => {
    cancel = clock.schedule(lookMs, onLate);
    onSoon();
  });
  return () => cancel();
}
