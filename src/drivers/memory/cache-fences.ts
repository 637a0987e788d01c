import { FENCE_KEPT_MS, type FencedOff } from '../../cache/driver.js';
import { type Clock, elapsedMs, type Instant, instantOf } from '../../core/clock.js';

/** The newest fencing token of each key, as long as it is remembered. */
export interface FenceMemory {
  /** Remembers the token, or says why its write is refused. Without a token nothing happens. */
  refusal(key: string, fence: string | undefined): FencedOff | undefined;
}

/** Beyond so many keys the one that was written longest ago is forgotten. */
const KEYS_MAX = 100_000;

/** Nothing is remembered yet. */
export function fenceMemory(clock: Clock): FenceMemory {
  const newest = new Map<string, { readonly fence: string; readonly since: Instant }>();
  return {
    refusal(key, fence) {
      if (fence === undefined) return undefined;
      const seen = newest.get(key);
      const isRemembered = seen !== undefined && elapsedMs(clock, seen.since) < FENCE_KEPT_MS;
      if (isRemembered && seen.fence > fence) return { newest: seen.fence };
      newest.delete(key);
      newest.set(key, { fence, since: instantOf(clock) });
      const [oldest] = newest.size > KEYS_MAX ? newest.keys() : [];
      if (oldest !== undefined) newest.delete(oldest);
      return undefined;
    },
  };
}
