import { setMaxListeners } from 'node:events';
import { type Alarm, type Alarms, alarms } from './alarms.js';
import { type CancelTimer, type Clock, systemClock } from './clock.js';
import { FewSet } from './few-map.js';

/** What can be listened to for an abort: every AbortSignal, and every {@link Scope} by itself. */
export interface AbortSource {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: 'abort', listener: AbortListener, options?: { once?: boolean }): void;
  removeEventListener(type: 'abort', listener: AbortListener): void;
}

type AbortListener = (() => void) | { handleEvent(): void };

/** Throws the signal's own reason, untouched, if it has been aborted. */
export function throwIfAborted(signal: AbortSource | undefined): void {
  if (signal?.aborted) throw signal.reason;
}

const NOTHING = (): void => {};

/** Calls `listener` once when the signal is or becomes aborted. Returns how to stop listening. */
export function onAbort(signal: AbortSource | undefined, listener: () => void): () => void {
  if (signal === undefined) return NOTHING;
  if (signal.aborted) {
    listener();
    return NOTHING;
  }
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/**
 * An {@link onAbort} that adds one listener to a signal, however many wait for it: a program that
 * passes one shutdown signal to hundreds of calls is not warned of a leak that is none.
 */
export function abortFanOut(): typeof onAbort {
  const audiences = new WeakMap<AbortSource, Audience>();
  return (signal, listener) => {
    if (signal === undefined || signal.aborted) return onAbort(signal, listener);
    const audience = audiences.get(signal) ?? gather(signal);
    audiences.set(signal, audience);
    const seat: Seat = { listener };
    audience.seats.add(seat);
    return () => {
      seat.listener = undefined;
      if (!audience.seats.delete(seat) || audience.seats.size > 0) return;
      // Whoever leaves last takes the listener along.
      audience.stop();
      audiences.delete(signal);
    };
  };
}

/** Tables that outlive it for a while lead to it, but not to who waited. */
interface Seat {
  listener: (() => void) | undefined;
}

interface Audience {
  readonly seats: FewSet<Seat>;
  readonly stop: () => void;
}

function gather(signal: AbortSource): Audience {
  const seats = new FewSet<Seat>();
  const stop = onAbort(signal, () => {
    for (const seat of Array.from(seats.keys())) if (seats.delete(seat)) seat.listener?.();
  });
  return { seats, stop };
}

/**
 * Settles as the promise does, or rejects with the signal's reason, whichever is first. The promise
 * that lost goes on; its rejection is observed, so it never counts as unhandled.
 */
export function abortable<T>(promise: Promise<T>, signal: AbortSource | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return abortableBy(promise, signal, (value) => value);
}

/** The same with what `convert` makes of the answer, which saves a promise. */
export function abortableBy<T, Answer>(
  promise: Promise<T>,
  signal: AbortSource | undefined,
  convert: (value: T) => Answer,
): Promise<Answer> {
  if (signal === undefined) return promise.then(convert);
  // One promise and one listener: every statement of every transaction comes through here.
  return new Promise<Answer>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort);
    promise.then(
      (value) => {
        signal.removeEventListener('abort', abort);
        try {
          resolve(convert(value));
        } catch (error) {
          reject(error);
        }
      },
      (error) => {
        signal.removeEventListener('abort', abort);
        reject(error);
      },
    );
  });
}

/**
 * What aborts when it is told, and is listened to like a signal; a real one, which costs Node much more
 * than the rest of a call, is made only for who asks for it.
 */
export interface LazyAbort extends AbortSource {
  readonly signal: AbortSignal;
  /** Aborts now. */
  abort(reason: unknown): void;
}

/** What ends by itself, with what must be let go afterwards. */
export interface Scope extends Disposable, LazyAbort {}

/** What a {@link Scope} follows. */
export interface ScopeOptions {
  readonly clock: Clock;
  readonly parents?: readonly (AbortSource | undefined)[];
  readonly timeoutMs?: number | undefined;
  /** Default a `TimeoutError`. */
  readonly timeoutReason?: (() => unknown) | undefined;
  /** Called once after the signal's own listeners. */
  readonly onAbort?: ((reason: unknown) => void) | undefined;
}

/**
 * A scope that follows any of `parents` and, with `timeoutMs`, aborts after that long with the
 * reason that `timeoutReason` makes. Disposing it removes its listeners and timer: unlike
 * `AbortSignal.any`, nothing stays behind on a parent that lives for long.
 */
export function abortScope(options: ScopeOptions): Scope {
  return new FollowingScope(options);
}

/** What only a call aborts. */
export function lazyAbort(): LazyAbort {
  return new ToldAbort();
}

/** As many may listen as like: it is let go with its call, so that none of them is a leak. */
function unwatchedController(): AbortController {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal);
  return controller;
}

/** A class, because nearly every call makes one. */
class ToldAbort implements LazyAbort {
  readonly #listeners = new FewSet<AbortListener>();
  #controller: AbortController | undefined;
  aborted = false;
  reason: unknown;

  get signal(): AbortSignal {
    this.#controller ??= unwatchedController();
    if (this.aborted) this.#controller.abort(this.reason);
    return this.#controller.signal;
  }

  addEventListener(_: 'abort', listener: AbortListener): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_: 'abort', listener: AbortListener): void {
    this.#listeners.delete(listener);
  }

  abort(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason ?? new DOMException('This operation was aborted', 'AbortError');
    this.#controller?.abort(this.reason);
    const listeners = this.#listeners.list();
    this.#listeners.clear();
    for (const listener of listeners) {
      if (typeof listener === 'function') listener();
      else listener.handleEvent();
    }
  }
}

/** Listens to all parents itself: a scope belongs to nearly every call, so it has to be cheap. */
class FollowingScope extends ToldAbort implements Scope, Ringing {
  readonly #options: ScopeOptions;
  readonly #followed: AbortSource[] = [];
  #cancel: CancelTimer | undefined;

  constructor(options: ScopeOptions) {
    super();
    this.#options = options;
    this.#follow();
  }

  handleEvent(): void {
    this.abort(this.#followed.find(({ aborted }) => aborted)?.reason);
  }

  ring(): void {
    this.abort(this.#timeoutReason());
  }

  override abort(reason: unknown): void {
    this[Symbol.dispose]();
    if (this.aborted) return;
    super.abort(reason);
    this.#options.onAbort?.(this.reason);
  }

  [Symbol.dispose](): void {
    for (const parent of this.#followed) parent.removeEventListener('abort', this);
    this.#followed.length = 0;
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #follow(): void {
    const { clock, parents = [], timeoutMs } = this.#options;
    for (const parent of parents) {
      if (parent === undefined || this.#followed.includes(parent)) continue;
      if (parent.aborted) {
        this.abort(parent.reason);
        return;
      }
      parent.addEventListener('abort', this);
      this.#followed.push(parent);
    }
    if (timeoutMs === undefined || timeoutMs === Number.POSITIVE_INFINITY) return;
    this.#cancel = alarmIn(clock, timeoutMs, this);
  }

  #timeoutReason(): unknown {
    const { timeoutMs, timeoutReason } = this.#options;
    const message = `timed out after ${timeoutMs} ms`;
    return timeoutReason?.() ?? new DOMException(message, 'TimeoutError');
  }
}

let ends: Alarms | undefined;

/**
 * Calls `ring` once, no sooner than `delayMs` from now, as {@link Clock.schedule} does: for bounds,
 * of which nearly all are called off. On the machine's own clock they share few timers.
 */
export function alarmAfter(clock: Clock, delayMs: number, ring: () => void): CancelTimer {
  return alarmIn(clock, delayMs, { ring });
}

interface Ringing {
  ring(): void;
}

/** Tables of alarms that outlive it for a while lead to it, but not to what it was for. */
class Bell implements Alarm {
  readonly atMs: number;
  #target: Ringing | undefined;

  constructor(atMs: number, target: Ringing) {
    this.atMs = atMs;
    this.#target = target;
  }

  ring(): void {
    this.#target?.ring();
  }

  silence(): void {
    this.#target = undefined;
  }
}

function alarmIn(clock: Clock, timeoutMs: number, target: Ringing): CancelTimer {
  if (clock !== systemClock) return clock.schedule(timeoutMs, () => target.ring());
  ends ??= alarms(clock, { keepAlive: true });
  const all = ends;
  const bell = new Bell(clock.monotonicMs() + timeoutMs, target);
  all.set(bell);
  return () => {
    bell.silence();
    all.clear(bell);
  };
}

/** Waits `delayMs`, or rejects with the signal's reason. */
export async function sleep(
  clock: Clock,
  delayMs: number,
  options?: {
    readonly signal?: AbortSource | undefined;
    readonly keepAlive?: boolean | undefined;
  },
): Promise<void> {
  throwIfAborted(options?.signal);
  let cleanup = (): void => {};
  try {
    await new Promise<void>((resolve, reject) => {
      const cancel = clock.schedule(delayMs, resolve, options);
      const stop = onAbort(options?.signal, () => reject(options?.signal?.reason));
      cleanup = () => {
        cancel();
        stop();
      };
    });
  } finally {
    cleanup();
  }
}
