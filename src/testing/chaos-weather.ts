import { onAbort, throwIfAborted } from '../core/abort.js';
import type { Clock } from '../core/clock.js';
import { deferred } from '../core/deferred.js';
import { CoordinationError } from '../core/errors.js';
import type { Random } from '../core/random.js';

/** What can happen to one call. */
export type ChaosFault =
  | 'delay'
  | 'refuse'
  | 'loseRequest'
  | 'loseReply'
  | 'duplicate'
  | 'loseHint';

/** How probable each fault of one operation is, 0 to 1 and each drawn for itself, 0 where left out. */
export interface ChaosFaults {
  /** The request, or its answer, or both are held back: calls overtake each other. */
  readonly delay?: number | undefined;
  /** For how long at most, each way, in milliseconds. Default 50. */
  readonly delayMsMax?: number | undefined;
  /** BACKEND_UNAVAILABLE at once, as when the connection is refused; nothing is sent. */
  readonly refuse?: number | undefined;
  /** RESULT_UNKNOWN; the backend never hears of it. */
  readonly loseRequest?: number | undefined;
  /** RESULT_UNKNOWN, although the backend has done it. */
  readonly loseReply?: number | undefined;
  /** It is sent twice, as a client does after a reconnect. Only where the contract allows that. */
  readonly duplicate?: number | undefined;
  /** A hint that may be lost is: `onWaiters`, `watch`, `changed`. */
  readonly loseHint?: number | undefined;
}

/** One call on its way through the weather. */
export interface WeatherCall<T> {
  readonly backend: string;
  readonly operation: string;
  send(): Promise<T>;
  /** Only read when the call is held back. */
  signal?(): AbortSignal | undefined;
  /** Whether it may be sent twice. */
  readonly isRepeatable?: boolean | undefined;
  /** Holds back no longer than this each way. */
  readonly delayMsMax?: number | undefined;
  /** The answer was lost on its way to a caller that will not ask again. */
  undo?(answer: T): void;
  /** The request was lost or refused; a driver would see to it in the background. */
  abandoned?(): void;
}

/** Decides what befalls each call. */
export interface Weather {
  readonly counts: Readonly<Record<ChaosFault, number>>;
  pass<T>(call: WeatherCall<T>): Promise<T>;
  /** What befalls the next call of an operation, for those that do not reject. */
  draw(operation: string): Plan;
  /** Holds back for so long, or until calm. */
  hold(ms: number, signal?: AbortSignal): Promise<void>;
  /** Whether a hint is lost. */
  losesHint(operation: string): boolean;
  isCalm: boolean;
  calm(): void;
}

/** What befalls one call. */
export interface Plan {
  readonly beforeMs: number;
  readonly afterMs: number;
  readonly isRefused: boolean;
  readonly isRequestLost: boolean;
  readonly isReplyLost: boolean;
  readonly isDuplicated: boolean;
}

const DELAY_MS_MAX = 50;

export function weatherOf(
  random: Random,
  clock: Clock,
  faultsOf: (operation: string) => ChaosFaults,
): Weather {
  const counts = { delay: 0, refuse: 0, loseRequest: 0, loseReply: 0, duplicate: 0, loseHint: 0 };
  const held = new Set<() => void>();
  const happens = (fault: ChaosFault, faults: ChaosFaults): boolean => {
    // Drawn in calm as well, so that a seed means the same calls whenever calm comes.
    const isDrawn = random.fraction() < (faults[fault] ?? 0);
    if (!isDrawn || self.isCalm) return false;
    counts[fault] += 1;
    return true;
  };
  const delay = (faults: ChaosFaults): number => {
    const ms = random.fraction() * (faults.delayMsMax ?? DELAY_MS_MAX);
    return happens('delay', faults) ? ms : 0;
  };
  const self: Weather = {
    counts,
    isCalm: false,
    draw(operation) {
      const faults = faultsOf(operation);
      return {
        beforeMs: delay(faults),
        afterMs: delay(faults),
        isRefused: happens('refuse', faults),
        isRequestLost: happens('loseRequest', faults),
        isReplyLost: happens('loseReply', faults),
        isDuplicated: happens('duplicate', faults),
      };
    },
    losesHint: (operation) => happens('loseHint', faultsOf(operation)),
    async hold(ms, signal) {
      if (!self.isCalm) await holdBack(clock, held, ms, signal);
    },
    pass: (call) => pass(self, call),
    calm() {
      self.isCalm = true;
      for (const letGo of held) letGo();
    },
  };
  return self;
}

async function pass<T>(weather: Weather, call: WeatherCall<T>): Promise<T> {
  const { backend, operation, isRepeatable = false, delayMsMax = Infinity } = call;
  const plan = weather.draw(operation);
  const bounded = (ms: number): number => Math.min(ms, delayMsMax);
  if (plan.beforeMs > 0) await weather.hold(bounded(plan.beforeMs), call.signal?.());
  if (plan.isRefused && !weather.isCalm) {
    call.abandoned?.();
    throw refused(backend, operation);
  }
  if (plan.isRequestLost && !weather.isCalm) {
    call.abandoned?.();
    throw unanswered(backend, operation);
  }
  if (plan.isDuplicated && isRepeatable) await call.send();
  const answer = await call.send();
  try {
    if (plan.afterMs > 0) await weather.hold(bounded(plan.afterMs), call.signal?.());
    if (plan.isReplyLost && !weather.isCalm) throw unanswered(backend, operation);
    return answer;
  } catch (error) {
    call.undo?.(answer);
    throw error;
  }
}

async function holdBack(
  clock: Clock,
  held: Set<() => void>,
  ms: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfAborted(signal);
  const isOver = deferred<void>();
  const letGo = (): void => isOver.resolve();
  held.add(letGo);
  const cancel = clock.schedule(ms, letGo);
  const stop = onAbort(signal, letGo);
  await isOver.promise;
  held.delete(letGo);
  cancel();
  stop();
  throwIfAborted(signal);
}

/** The request certainly did nothing. */
export function refused(backend: string, operation: string): CoordinationError {
  const message = `${backend} cannot be reached for ${operation}; chaos refused the connection`;
  return new CoordinationError('BACKEND_UNAVAILABLE', message, { backend, operation });
}

/** Nobody knows what the request did. */
export function unanswered(backend: string, operation: string): CoordinationError {
  const message = `${backend} did not answer ${operation}; chaos lost the request or its reply`;
  return new CoordinationError('RESULT_UNKNOWN', message, { backend, operation });
}
