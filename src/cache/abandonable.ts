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
  return new LazyScope();
}

/** A class, because each miss makes one: its getters are made once. */
class LazyScope implements Abandonable {
  isEnded = false;
  reason: unknown;
  #listeners: Set<() => void> | undefined;
  #controller: AbortController | undefined;

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.isEnded) this.#controller.abort(this.reason);
    return this.#controller.signal;
  }

  onEnd(listener: () => void): () => void {
    if (this.isEnded) {
      listener();
      return () => {};
    }
    this.#listeners ??= new Set();
    this.#listeners.add(listener);
    return () => this.#listeners?.delete(listener);
  }

  abort(why: unknown): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.#controller?.abort(why);
    this.reason = this.#controller?.signal.reason ?? why;
    for (const listener of Array.from(this.#listeners ?? [])) listener();
    this.#listeners = undefined;
  }
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
