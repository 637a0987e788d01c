import { onAbort } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { CoordinationError } from '../core/errors.js';
import type { Loader } from './cache.js';
import type { LocalValue } from './driver.js';
import type { Counters } from './stats.js';

/** What one caller of `getOrLoad` asks for. */
export interface FlightRequest {
  readonly loader: Loader<unknown>;
  readonly ttlMs: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** A value that was seen, and the last caller for whom it is fresh enough. */
export interface Sighting {
  /** Undefined: there is none. */
  readonly local: LocalValue | undefined;
  /** What {@link Flight.seal} gave just before the request that showed the value was sent. */
  readonly asOf: number;
}

/**
 * The callers that wait together for one key in this process.
 *
 * A value is only given to callers who were there before the request that showed it was sent: who
 * came later may have come after an invalidation was acknowledged, and gets the next one.
 */
export interface Flight {
  readonly key: string;
  /** Aborted when the last caller has gone without an answer. */
  readonly signal: AbortSignal;
  readonly callerCount: number;
  join(request: FlightRequest): Promise<LocalValue | undefined>;
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

interface Caller {
  readonly number: number;
  readonly request: FlightRequest;
  readonly resolve: (local: LocalValue | undefined) => void;
  readonly reject: (error: unknown) => void;
  readonly letGo: () => void;
  /** Looking in the tiers; waiting for somebody's load; the caller whose own loader was called. */
  state: 'looking' | 'waiting' | 'loading';
}

/** What a flight is part of. */
export interface FlightOptions {
  readonly key: string;
  readonly clock: Clock;
  readonly counters: Counters;
  /** Called once when the last caller has gone without an answer. */
  readonly onAbandoned: () => void;
}

/** A flight without callers; `join` makes the first. */
export function newFlight({ key, clock, counters, onAbandoned }: FlightOptions): Flight {
  const callers = new Set<Caller>();
  const abandoned = new AbortController();
  let callerNumber = 0;
  let isMissed = false;
  let offered: Sighting | undefined;

  const leave = (caller: Caller, isAnswered: boolean): void => {
    callers.delete(caller);
    caller.letGo();
    count(counters, caller.state, isAnswered);
  };
  const isFresh = (sighting: Sighting | undefined, caller: Caller): sighting is Sighting =>
    sighting !== undefined && caller.number <= sighting.asOf;
  const abandonIfEmpty = (reason: unknown): void => {
    if (callers.size > 0) return;
    onAbandoned();
    abandoned.abort(reason);
  };
  const giveUp = (caller: Caller, reason: unknown): void => {
    leave(caller, false);
    caller.reject(reason);
    abandonIfEmpty(reason);
  };
  const timeUp = (caller: Caller): void => {
    if (!isFresh(offered, caller)) {
      giveUp(caller, timeoutError(key, caller.request.timeoutMs));
      return;
    }
    leave(caller, true);
    caller.resolve(offered.local);
    abandonIfEmpty(undefined);
  };

  return {
    key,
    signal: abandoned.signal,
    get callerCount() {
      return callers.size;
    },
    join(request) {
      return new Promise((resolve, reject) => {
        callerNumber += 1;
        const cancel = clock.schedule(request.timeoutMs, () => timeUp(caller));
        let stop = (): void => {};
        const letGo = (): void => {
          cancel();
          stop();
        };
        const state = isMissed ? 'waiting' : 'looking';
        const caller: Caller = { number: callerNumber, request, resolve, reject, letGo, state };
        callers.add(caller);
        stop = onAbort(request.signal, () => giveUp(caller, request.signal?.reason));
      });
    },
    first: () => firstOf(callers)?.request,
    seal: () => callerNumber,
    miss() {
      isMissed = true;
      for (const caller of callers) if (caller.state === 'looking') caller.state = 'waiting';
    },
    load() {
      const caller = firstOf(callers);
      if (caller !== undefined) caller.state = 'loading';
    },
    offer(sighting) {
      offered = sighting;
    },
    land(sighting) {
      isMissed = false;
      for (const caller of Array.from(callers)) {
        if (!isFresh(sighting, caller)) continue;
        leave(caller, true);
        caller.resolve(sighting.local);
      }
    },
    fail(error) {
      for (const caller of Array.from(callers)) {
        leave(caller, false);
        caller.reject(error);
      }
      abandoned.abort(error);
    },
  };
}

/** A hit was answered before anybody had to load; who gave up while looking is a miss. */
function count(counters: Counters, state: Caller['state'], isAnswered: boolean): void {
  if (isAnswered && state === 'looking') counters.hitCount += 1;
  else counters.missCount += 1;
  if (state === 'waiting') counters.coalescedCount += 1;
}

function firstOf(callers: ReadonlySet<Caller>): Caller | undefined {
  const [first] = callers;
  return first;
}

function timeoutError(key: string, waitedMs: number): CoordinationError<'CACHE_TIMEOUT'> {
  const message =
    `no value for ${JSON.stringify(key)} within ${waitedMs} ms; ` +
    'allow more with timeoutMs, or make the loader faster';
  return new CoordinationError('CACHE_TIMEOUT', message, { key, waitedMs });
}
