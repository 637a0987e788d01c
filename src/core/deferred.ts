/** A promise with its two ends in hand. Its rejection never counts as unhandled. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(reason: unknown): void;
}

const NOTHING = (): void => {};

/** A value that comes once, with a promise of it only for who asks. The first value counts. */
export class Latch<T> {
  #value: { readonly value: T } | undefined = undefined;
  #promise: Promise<T> | undefined = undefined;
  #settle: ((value: T) => void) | undefined = undefined;

  get isSet(): boolean {
    return this.#value !== undefined;
  }

  resolve(value: T): void {
    if (this.#value !== undefined) return;
    this.#value = { value };
    this.#settle?.(value);
  }

  get promise(): Promise<T> {
    this.#promise ??= new Promise((resolve) => {
      if (this.#value === undefined) this.#settle = resolve;
      else resolve(this.#value.value);
    });
    return this.#promise;
  }
}

/** What `Promise.withResolvers` gives, which Node 20 does not have. */
export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  promise.catch(NOTHING);
  return { promise, resolve, reject };
}
