import { type LazyAbort, lazyAbort, onAbort } from '../core/abort.js';
import type { Deadlines } from '../core/deadlines.js';
import { CoordinationError } from '../core/errors.js';
import type { WorkGate } from '../core/work-gate.js';
import type { Loader } from './cache.js';
import type { LocalValue } from './driver.js';
import { handOut } from './isolation.js';
import type { LoadScope } from './load-call.js';
import type { Counters } from './stats.js';

/** What one caller of `getOrLoad` asks for. */
export interface FlightRequest {
  readonly loader: Loader<unknown>;
  readonly ttlMs: number;
  readonly tags: readonly string[];
  readonly timeoutMs: number;
  /** What is left of that; default all of it. */
  readonly leftMs?: number | undefined;
  readonly signal: AbortSignal | undefined;
  /** The read sees what was acknowledged before it. */
  readonly isLinearizable: boolean;
  /** Called when it waits for the load of somebody else, for the time being. */
  readonly onWait?: (() => void) | undefined;
}

/** A value that was seen, and the last caller for whom it is fresh enough. */
export interface Sighting {
  /** Undefined: there is none. */
  readonly local: LocalValue | undefined;
  /** What {@link Flight.seal} gave just before the request that showed the value was sent. */
  readonly asOf: number;
  /** True: it is past its time; who is given it had a stale hit. */
  readonly isStale?: boolean | undefined;
}

/**
 * The callers that wait together for one key in this process.
 *
 * A value is only given to callers who were there before the request that showed it was sent: who
 * came later may have come after an invalidation was acknowledged, and gets the next one.
 */
export interface Flight {
  readonly key: string;
  /** What ends when the last caller has gone without an answer. */
  readonly scope: LoadScope;
  readonly callerCount: number;
  /** Whether one of the callers asks for what was acknowledged before it came. */
  readonly isLinearizable: boolean;
  /** Seats a caller, whose work has begun at the gate: it ends as he leaves. */
  join(request: FlightRequest, seat: Seat): void;
  /** The caller who has waited longest: whose loader is next. */
  first(): FlightRequest | undefined;
  /** The number of the newest caller so far. */
  seal(): number;
  /** Nothing was found: the callers that are there, and who comes until `land`, wait for a load. */
  miss(): void;
  /** The first caller's loader is about to be called. */
  load(): void;
  /** A value for callers whose time is up before a better one comes. */
  offer(sighting: Sighting): void;
  /** Answers the callers for whom the value is fresh. The others stay. */
  land(sighting: Sighting): void;
  /** One error to all, and the end of whatever goes on for them. */
  fail(error: unknown): void;
}

/** Where a caller waits: one promise. */
export interface Seat {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

interface Caller {
  readonly number: number;
  readonly request: FlightRequest;
  readonly seat: Seat;
  readonly letGo: () => void;
  /** Looking in the tiers; waiting for somebody's load; the caller whose own loader was called. */
  state: 'looking' | 'waiting' | 'loading';
}

/** What a flight is part of. */
export interface FlightOptions {
  readonly key: string;
  /** Of the callers; they keep the process running. */
  readonly deadlines: Deadlines;
  readonly counters: Counters;
  readonly gate: Pick<WorkGate, 'end'>;
  /** Called once when the last caller has gone without an answer. */
  readonly onAbandoned: () => void;
  /** Called when a caller was answered with what is stale because its time was up. */
  readonly onStale: () => void;
}

/** A flight without callers; `join` makes the first. */
export function newFlight(options: FlightOptions): Flight {
  return new SharedFlight(options);
}

/** A class, because each miss makes one: its methods and getters are made once. */
class SharedFlight implements Flight {
  readonly key: string;
  readonly scope: LazyAbort = lazyAbort();
  readonly callers = new Set<Caller>();
  readonly options: FlightOptions;
  callerNumber = 0;
  isMissed = false;
  offered: Sighting | undefined;

  constructor(options: FlightOptions) {
    this.options = options;
    this.key = options.key;
  }

  get callerCount(): number {
    return this.callers.size;
  }

  get isLinearizable(): boolean {
    for (const { request } of this.callers) if (request.isLinearizable) return true;
    return false;
  }

  join(request: FlightRequest, seat: Seat): void {
    join(this, request, seat);
  }

  first(): FlightRequest | undefined {
    return firstOf(this.callers)?.request;
  }

  seal(): number {
    return this.callerNumber;
  }

  miss(): void {
    this.isMissed = true;
    for (const caller of this.callers) if (caller.state === 'looking') caller.state = 'waiting';
  }

  load(): void {
    const caller = firstOf(this.callers);
    if (caller !== undefined) caller.state = 'loading';
  }

  offer(sighting: Sighting): void {
    this.offered = sighting;
  }

  land(sighting: Sighting): void {
    this.isMissed = false;
    for (const caller of this.callers) {
      if (isFresh(sighting, caller)) answered(this, caller, sighting);
    }
  }

  fail(error: unknown): void {
    for (const caller of this.callers) {
      leave(this, caller, undefined);
      caller.seat.reject(error);
    }
    this.scope.abort(error);
  }
}

type Self = SharedFlight;

function join(self: Self, request: FlightRequest, seat: Seat): void {
  self.callerNumber += 1;
  const letGo = untilEnd(self.options.deadlines, request, {
    onTimeUp: () => timeUp(self, caller),
    onAborted: () => giveUp(self, caller, request.signal?.reason),
  });
  const state = self.isMissed ? 'waiting' : 'looking';
  const caller: Caller = { number: self.callerNumber, request, seat, letGo, state };
  self.callers.add(caller);
}

function leave({ callers, options }: Self, caller: Caller, answer: Sighting | undefined): void {
  callers.delete(caller);
  caller.letGo();
  count(options.counters, caller.state, answer);
  options.gate.end();
}

/** The caller leaves with a value; with one of his own, where nobody else may share it. */
function answered(self: Self, caller: Caller, sighting: Sighting): void {
  leave(self, caller, sighting);
  const { local } = sighting;
  try {
    caller.seat.resolve(local && handOut(self.key, local));
  } catch (error) {
    caller.seat.reject(error);
  }
}

function isFresh(sighting: Sighting | undefined, caller: Caller): sighting is Sighting {
  return sighting !== undefined && caller.number <= sighting.asOf;
}

function timeUp(self: Self, caller: Caller): void {
  const { key, offered } = self;
  if (!isFresh(offered, caller)) {
    giveUp(self, caller, timeoutError(key, caller.request.timeoutMs));
    return;
  }
  if (offered.isStale) self.options.onStale();
  answered(self, caller, offered);
  abandonIfEmpty(self, undefined);
}

function giveUp(self: Self, caller: Caller, reason: unknown): void {
  leave(self, caller, undefined);
  caller.seat.reject(reason);
  abandonIfEmpty(self, reason);
}

function abandonIfEmpty({ callers, scope, options }: Self, reason: unknown): void {
  if (callers.size > 0) return;
  options.onAbandoned();
  scope.abort(reason);
}

/** Watches a caller's time and signal, which was not aborted before. Answers how to stop. */
export function untilEnd(
  deadlines: Deadlines,
  { timeoutMs, leftMs = timeoutMs, signal }: FlightRequest,
  listeners: { onTimeUp(): void; onAborted(): void },
): () => void {
  const cancel = deadlines.after(leftMs, listeners.onTimeUp);
  if (signal === undefined) return cancel;
  const stop = onAbort(signal, listeners.onAborted);
  return () => {
    cancel();
    stop();
  };
}

/**
 * A hit was answered before anybody had to load, or with what was there although it is stale; who gave
 * up while looking is a miss.
 */
function count(counters: Counters, state: Caller['state'], answer: Sighting | undefined): void {
  const isStale = answer?.isStale === true;
  if (isStale || (answer !== undefined && state === 'looking')) counters.hitCount += 1;
  else counters.missCount += 1;
  if (isStale) counters.staleCount += 1;
  else if (state === 'waiting') counters.coalescedCount += 1;
}

function firstOf(callers: ReadonlySet<Caller>): Caller | undefined {
  const [first] = callers;
  return first;
}

/** The caller's time is up. */
export function timeoutError(key: string, waitedMs: number): CoordinationError<'CACHE_TIMEOUT'> {
  const message =
    `no value for ${JSON.stringify(key)} within ${waitedMs} ms; ` +
    'allow more with timeoutMs, or make the loader faster';
  return new CoordinationError('CACHE_TIMEOUT', message, { key, waitedMs });
}
