import { onAbort } from '../core/abort.js';

/** Who waits in this process for the end of a lease, by key. For drivers. */
export interface WakeList {
  /** Resolves at the next `wake` of the key, or when the signal aborts. Never rejects. */
  next(key: string, signal: AbortSignal): Promise<void>;
  wake(key: string): void;
  wakeAll(): void;
}

/** An empty list; it holds nothing for a key that nobody waits for. */
export function wakeList(): WakeList {
  const waiting = new Map<string, Set<() => void>>();
  const wake = (key: string): void => {
    for (const resolve of Array.from(waiting.get(key) ?? [])) resolve();
  };
  return {
    wake,
    wakeAll() {
      for (const key of Array.from(waiting.keys())) wake(key);
    },
    next: (key, signal) =>
      new Promise((resolve) => {
        let stop = (): void => {};
        const ofKey = waiting.get(key) ?? new Set();
        waiting.set(key, ofKey);
        const done = (): void => {
          stop();
          ofKey.delete(done);
          if (ofKey.size === 0) waiting.delete(key);
          resolve();
        };
        ofKey.add(done);
        stop = onAbort(signal, done);
      }),
  };
}
