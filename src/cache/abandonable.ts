import { onAbort } from '../core/abort.js';

/** What a load is part of, and ends with. */
export interface LoadScope {
  readonly isEnded: boolean;
  /** Why it has ended. */
  readonly reason: unknown;
  /** Aborts with it. */
  readonly signal: AbortSignal;
  /** Calls the listener once when it has ended. Answers how to stop. */
  onEnd(listener: () => void): () => void;
}

/** A scope that is ended by a call. */
export interface Abandonable extends LoadScope {
  abort(reason: unknown): void;
}

/** A scope whose signal is made when somebody asks for it: few loaders do, and one costs as much as a load. */
export function abandonable(): Abandonable {
  const listeners = new Set<() => void>();
  let controller: AbortController | undefined;
  let isEnded = false;
  let reason: unknown;
  return {
    get isEnded() {
      return isEnded;
    },
    get reason() {
      return reason;
    },
    get signal() {
      controller ??= new AbortController();
      if (isEnded) controller.abort(reason);
      return controller.signal;
    },
    onEnd(listener) {
      if (isEnded) listener();
      else listeners.add(listener);
      return () => listeners.delete(listener);
    },
    abort(why) {
      if (isEnded) return;
      isEnded = true;
      controller?.abort(why);
      reason = controller?.signal.reason ?? why;
      for (const listener of Array.from(listeners)) listener();
      listeners.clear();
    },
  };
}

/** The scope that a signal is. */
export function signalScope(signal: AbortSignal): LoadScope {
  return {
    get isEnded() {
      return signal.aborted;
    },
    get reason() {
      return signal.reason;
    },
    signal,
    onEnd: (listener) => onAbort(signal, listener),
  };
}

/** Throws the reason if the scope has ended. */
export function throwIfEnded(scope: LoadScope): void {
  if (scope.isEnded) throw scope.reason;
}

/** Settles as the promise does, or rejects with the scope's reason, whichever is first. */
export function endedWith<T>(promise: Promise<T>, scope: LoadScope): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = scope.onEnd(() => reject(scope.reason));
    promise.then(
      (value) => {
        stop();
        resolve(value);
      },
      (error) => {
        stop();
        reject(error);
      },
    );
  });
}
