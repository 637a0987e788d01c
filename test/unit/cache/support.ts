import { type Cache, type CacheOptions, createCache } from '../../../src/index.js';
import { memoryCache } from '../../../src/memory.js';
import { type VirtualClock, virtualClock } from '../../../src/testing.js';
import { type SharedMemory, sharedMemory } from './shared-memory.js';

/** Caches of one name over one shared tier, on a clock that stands still. */
export interface CacheBench {
  readonly clock: VirtualClock;
  readonly shared: SharedMemory;
  /** One more node: memory before the shared tier, unless the options say otherwise. */
  node<Value = string>(options?: Partial<CacheOptions<Value>>): Cache<Value>;
}

export function cacheBench(): CacheBench {
  const clock = virtualClock();
  const shared = sharedMemory(clock);
  return {
    clock,
    shared,
    node: <Value = string>(options?: Partial<CacheOptions<Value>>) =>
      createCache<Value>({
        name: 'bench',
        tiers: [memoryCache(), shared],
        ttlMs: 60_000,
        clock,
        ...options,
      }),
  };
}

/** A loader that can be watched, and answered by hand. */
export function heldLoader<Value>() {
  const calls: {
    signal: AbortSignal;
    resolve(value: Value): void;
    reject(error: unknown): void;
  }[] = [];
  const loader = ({ signal }: { signal: AbortSignal }): Promise<Value> =>
    new Promise((resolve, reject) => {
      calls.push({ signal, resolve, reject });
    });
  return { calls, loader };
}
