import type { Clock } from './clock.js';

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
export async function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  if (signal === undefined) return promise;
  promise.catch(() => {});
  throwIfAborted(signal);
  let stop = (): void => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = onAbort(signal, () => reject(signal.reason));
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    stop();
  }
}

/** An abort signal that ends by itself, with what must be let go afterwards. */
export interface Scope extends Disposable {
  readonly signal: AbortSignal;
  /** Aborts now. */
  abort(reason: unknown): void;
}

/**
 * A signal that follows any of `parents` and, with `timeoutMs`, aborts after that long with the
 * reason that `timeoutReason` makes. Disposing it removes its listeners and timer: unlike
 * `AbortSignal.any`, nothing stays behind on a parent that lives for long.
 */
export function abortScope(options: {
  readonly clock: Clock;
  readonly parents?: readonly (AbortSignal | undefined)[];
  readonly timeoutMs?: number | undefined;
  readonly timeoutReason?: () => unknown;
}): Scope {
  const { clock, parents = [], timeoutMs, timeoutReason } = options;
  const controller = new AbortController();
  const cleanups: (() => void)[] = [];
  const dispose = (): void => {
    for (const cleanup of cleanups.splice(0)) cleanup();
  };
  const abort = (reason: unknown): void => {
    dispose();
    controller.abort(reason);
  };
  for (const parent of parents) {
    if (controller.signal.aborted) break;
    cleanups.push(onAbort(parent, () => abort(parent?.reason)));
  }
  if (
    timeoutMs !== undefined &&
    timeoutMs !== Number.POSITIVE_INFINITY &&
    !controller.signal.aborted
  ) {
    const reason = (): unknown =>
      timeoutReason?.() ?? new DOMException(`timed out after ${timeoutMs} ms`, 'TimeoutError');
    cleanups.push(clock.schedule(timeoutMs, () => abort(reason())));
  }
  return { signal: controller.signal, abort, [Symbol.dispose]: dispose };
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
