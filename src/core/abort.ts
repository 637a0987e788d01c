import type { CancelTimer, Clock } from './clock.js';

/** Throws the signal's own reason, untouched, if it has been aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason;
}

/** Calls `listener` once when the signal is or becomes aborted. Returns how to stop listening. */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    listener();
    return () => {};
  }
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/**
 * An {@link onAbort} that adds one listener to a signal, however many wait for it: a program that
 * passes one shutdown signal to hundreds of calls is not warned of a leak that is none.
 */
export function abortFanOut(): typeof onAbort {
  const audiences = new WeakMap<AbortSignal, Audience>();
  return (signal, listener) => {
    if (signal === undefined || signal.aborted) return onAbort(signal, listener);
    const audience = audiences.get(signal) ?? gather(signal);
    audiences.set(signal, audience);
    const seat = Symbol('seat');
    audience.seats.set(seat, listener);
    return () => {
      if (!audience.seats.delete(seat) || audience.seats.size > 0) return;
      // Whoever leaves last takes the listener along.
      audience.stop();
      audiences.delete(signal);
    };
  };
}

interface Audience {
  readonly seats: Map<symbol, () => void>;
  readonly stop: () => void;
}

function gather(signal: AbortSignal): Audience {
  const seats = new Map<symbol, () => void>();
  const stop = onAbort(signal, () => {
    for (const [seat, listener] of Array.from(seats)) if (seats.delete(seat)) listener();
  });
  return { seats, stop };
}

/**
 * Settles as the promise does, or rejects with the signal's reason, whichever is first. The promise
 * that lost goes on; its rejection is observed, so it never counts as unhandled.
 */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  // One promise and one listener: every statement of every transaction comes through here.
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort);
    promise.then(
      (value) => {
        signal.removeEventListener('abort', abort);
        resolve(value);
      },
      (error) => {
        signal.removeEventListener('abort', abort);
        reject(error);
      },
    );
  });
}

/** An abort signal that ends by itself, with what must be let go afterwards. */
export interface Scope extends Disposable {
  readonly signal: AbortSignal;
  /** Aborts now. */
  abort(reason: unknown): void;
}

/** What a {@link Scope} follows. */
export interface ScopeOptions {
  readonly clock: Clock;
  readonly parents?: readonly (AbortSignal | undefined)[];
  readonly timeoutMs?: number | undefined;
  /** Default a `TimeoutError`. */
  readonly timeoutReason?: (() => unknown) | undefined;
  /** Called once after the signal's own listeners. */
  readonly onAbort?: ((reason: unknown) => void) | undefined;
}

/**
 * A signal that follows any of `parents` and, with `timeoutMs`, aborts after that long with the
 * reason that `timeoutReason` makes. Disposing it removes its listeners and timer: unlike
 * `AbortSignal.any`, nothing stays behind on a parent that lives for long.
 */
export function abortScope(options: ScopeOptions): Scope {
  return new FollowingScope(options);
}

/** Listens to all parents itself: a scope belongs to nearly every call, so it has to be cheap. */
class FollowingScope implements Scope {
  readonly #controller = new AbortController();
  readonly #options: ScopeOptions;
  readonly #followed: AbortSignal[] = [];
  #cancel: CancelTimer | undefined;
  readonly signal: AbortSignal = this.#controller.signal;

  constructor(options: ScopeOptions) {
    this.#options = options;
    this.#follow();
  }

  handleEvent({ target }: Event): void {
    this.abort((target as AbortSignal).reason);
  }

  abort(reason: unknown): void {
    this[Symbol.dispose]();
    if (this.signal.aborted) return;
    this.#controller.abort(reason);
    this.#options.onAbort?.(reason);
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
    this.#cancel = clock.schedule(timeoutMs, () => this.abort(this.#timeoutReason()));
  }

  #timeoutReason(): unknown {
    const { timeoutMs, timeoutReason } = this.#options;
    const message = `timed out after ${timeoutMs} ms`;
    return timeoutReason?.() ?? new DOMException(message, 'TimeoutError');
  }
}

/** Waits `delayMs`, or rejects with the signal's reason. */
export async function sleep(
  clock: Clock,
  delayMs: number,
  options?: {
    readonly signal?: AbortSignal | undefined;
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
